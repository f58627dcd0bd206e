"""What must hold of a run, and whether it does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.bench.record import figure
from loadgen.results.tables import print_whole

LEAST_RATE = 1_800
MOST_P50_MS = 10
MOST_CHANGE = 0.25


@dataclass(frozen=True, slots=True)
class Verdict:
    """One demand; `passed` is None when the run did not measure what it takes."""

    demand: str
    found: str
    passed: bool | None

    @property
    def word(self) -> str:
        """Return the verdict in a word."""
        return {True: "holds", False: "does not hold", None: "not measured"}[self.passed]


def judge(record: Mapping[str, Any]) -> list[Verdict]:
    """Return the verdicts on a run, by the medians of its rounds."""
    return list(_judge(record))


def _judge(record: Mapping[str, Any]) -> Iterator[Verdict]:
    sizes = record["settings"]["sizes"]
    users = sizes["users"]
    rate = _median(record, "replay", f"rate.{users}")
    demand = f"the replay of {users} users runs at {LEAST_RATE:,} commands/s or more"
    yield _verdict(demand, rate, lambda found: (f"{found:,.0f}/s", found >= LEAST_RATE))
    floor = _median(record, "floor", "rate.single")
    ratio = rate / floor if rate is not None and floor else None
    demand = "and at no less than the floor's rate, one update a command, in the same run"
    yield _verdict(demand, ratio, lambda found: (f"{found:.2f} of {floor:,.0f}/s", found >= 1))
    p50 = _median(record, "latency", "p50.all")
    demand = f"p50 is under {MOST_P50_MS} ms at half the top rate"
    yield _verdict(demand, p50, lambda found: (f"{found:.2f} ms", found < MOST_P50_MS))
    rates = [_median(record, "replay", f"rate.{population}") for population, _ in sizes["populations"]]
    known = [one for one in rates if one is not None]
    change = 1 - min(known) / max(known) if len(known) == len(rates) else None
    few, many = (choose(population for population, _ in sizes["populations"]) for choose in (min, max))
    demand = f"from {few:,} to {many:,} users the rate changes by less than {MOST_CHANGE:.0%}"
    yield _verdict(demand, change, lambda found: (f"{found:.1%}", found < MOST_CHANGE))


def _verdict(demand: str, value: float | None, judged: Any) -> Verdict:
    return Verdict(demand, "-", None) if value is None else Verdict(demand, *judged(value))


def _median(record: Mapping[str, Any], section: str, key: str) -> float | None:
    found = figure(record, section, key)
    return None if found is None else float(found["median"])


def print_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the verdicts as a table."""
    table = Table(title="What must hold, by the medians of the rounds")
    for column in ("demand", "found", "verdict"):
        table.add_column(column)
    for one in verdicts:
        style = {True: "green", False: "red", None: "dim"}[one.passed]
        table.add_row(one.demand, one.found, one.word, style=style)
    print_whole(console, table)
