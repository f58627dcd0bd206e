"""What is tested by mutation, and the tests that must notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
"""Equivalent mutants, which no test can notice, each with the reason."""


@dataclass(frozen=True, slots=True)
class Area:
    """A folder of modules, its unit tests, and tests on real servers for what those miss.

    Tests are patterns below `tests`, the fastest first; each file runs once. `also` names modules outside the folder.
    """

    name: str
    folder: str
    unit: tuple[str, ...]
    servers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


AREAS = (
    Area(
        "domain",
        "chalicelib/domain",
        (
            "unit/test_rules*.py",
            "unit/test_triggers.py",
            "unit/test_positions.py",
            "unit/test_history.py",
            "unit/test_money.py",
            "unit/test_names.py",
            "unit/test_problems.py",
            "unit/test_audit_events.py",
            "unit/test_conservation.py",
        ),
    ),
    Area(
        "service",
        "chalicelib/service",
        (
            "unit/test_account_write.py",
            "unit/test_t*.py",
            "unit/test_user_queue.py",
            "unit/test_service*.py",
            "faults/test_simulation.py",
        ),
        (
            "integration/test_races.py",
            "integration/test_clocks.py",
            "integration/test_http_reads.py",
            "integration/test_store*.py",
            "integration/test_trading_hits.py",
            "faults/test_late_requests.py",
        ),
    ),
    Area(
        "store",
        "chalicelib/store",
        ("unit/test_k*.py", "unit/test_recent.py", "unit/test_store*.py"),
        (
            "faults/test_store_contract.py",
            "integration/test_store*.py",
            "integration/test_writers.py",
            "integration/test_groups.py",
            "integration/test_races.py",
            "integration/test_http_reads.py",
            "integration/test_sweep.py",
        ),
    ),
    Area(
        "quotes",
        "chalicelib/quotes",
        ("unit/test_quotes_*.py",),
        ("integration/test_quotes_*.py",),
        also=("chalicelib/circuit_breaker.py",),
    ),
    Area("sweep", "chalicelib/sweep", ("unit/test_sweep*.py",), ("integration/test_sweep*.py",)),
    Area(
        "judge",
        "loadgen/verify",
        ("unit/loadgen/test_model.py", "unit/loadgen/test_prices.py", "unit/loadgen/test_verify*.py"),
    ),
)


def files_of(root: Path, patterns: tuple[str, ...]) -> list[str]:
    """Return the test files that match, in the order of the patterns."""
    found = (path for pattern in patterns for path in sorted((root / "tests").glob(pattern)))
    return list(dict.fromkeys(str(path.relative_to(root)) for path in found))


def equivalents() -> dict[str, str]:
    """Return the names of equivalent mutants, and why they are equivalent."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", [])
    return {one["fault"]: one["reason"] for one in listed}
