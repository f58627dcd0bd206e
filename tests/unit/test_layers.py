"""The domain knows nothing of the outside, and what ships knows nothing of the tools around it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bson
import pymongo
import pytest

ROOT = Path(__file__).parents[2]
OURS = [
    ROOT / "app.py",
    *(path for name in ("chalicelib", "infra", "loadgen", "tests") for path in (ROOT / name).rglob("*.py")),
]
PURE = {"collections", "dataclasses", "decimal", "enum", "re", "typing", "chalicelib"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "chalicelib/domain").glob("*.py")), ids=lambda path: path.name)
def test_the_domain_imports_no_driver_framework_clock_or_environment(path: Path) -> None:
    for name in imported(path):
        assert name.split(".")[0] in PURE, f"{path.name} imports {name}"
        assert not name.startswith("chalicelib") or name.startswith("chalicelib.domain"), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "chalicelib").rglob("*.py")), ids=lambda path: path.name)
def test_what_ships_does_not_import_the_tools_around_it(path: Path) -> None:
    assert not {name for name in imported(path) if name.split(".")[0] in {"infra", "loadgen", "tests"}}


@pytest.mark.parametrize("path", sorted((ROOT / "loadgen").rglob("*.py")), ids=lambda path: path.name)
def test_the_load_generator_shares_nothing_with_the_system(path: Path) -> None:
    assert not {name for name in imported(path) if name.split(".")[0] in {"chalicelib", "infra", "app"}}


REPLACEABLE = {"concurrent.futures", "threading", "time"}
CLOCKLESS = {"concurrent.futures.Future", "concurrent.futures.FIRST_COMPLETED", "time.perf_counter"}


def replaceable_names(path: Path) -> Iterator[str]:
    """Yield what a file takes of the modules that threads, waiting and time come from, by import and as attribute."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in REPLACEABLE:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name for alias in node.names if alias.name in REPLACEABLE and (alias.asname or "." in alias.name)
            )
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in REPLACEABLE:
            yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", sorted((ROOT / "chalicelib").rglob("*.py")), ids=lambda path: path.name)
def test_threads_waiting_and_time_come_from_one_place(path: Path) -> None:
    """A simulation may put its own there. How long something took, for the logs, may be looked at anywhere."""
    if path in {ROOT / "chalicelib/concurrency.py", ROOT / "chalicelib/clock.py"}:
        return
    assert set(replaceable_names(path)) <= CLOCKLESS


def names_taken(path: Path) -> Iterator[str]:
    """Yield the names that a file takes from others: by import, as an attribute, as an option."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


def test_no_private_name_of_the_driver_is_used() -> None:
    """Neither those that it marks as its own, nor the modules that its documentation does not have."""
    driver = "\n".join(
        path.read_text() for module in (pymongo, bson) for path in Path(module.__path__[0]).rglob("*.py")
    )
    of_driver = set(re.findall(r"\b_[a-z]\w+", driver))
    of_ours = {
        name
        for path in OURS
        for name in re.findall(r"(?:def |self\.|^\s*|class )(_[a-z]\w+)", path.read_text(), re.MULTILINE)
    }
    of_driver -= of_ours | {"_exit", "_replace"}  # documented: the operating system's, and that of named tuples
    assert "_op_msg" in of_driver
    for path in OURS:
        modules = imported(path)
        if not any(name.split(".")[0] in {"bson", "pymongo"} for name in modules):
            continue  # what of others it looks into, the linter sees
        assert not of_driver & set(names_taken(path)), path
        internal = r"pymongo\.(synchronous|network_layer|pool|message|helpers_shared|topology|_\w+)\b"
        assert not {name for name in modules if re.match(internal, name)}, path


def test_a_cold_start_does_not_import_what_groups_writes() -> None:
    """Nor anything that makes the gateway's connections."""
    program = (
        "import sys\nfrom chalicelib.connections import connect_database\n"
        "from chalicelib.store.grouping import make_writer\n"
        "from infra.local.part_settings import settings_with\n"
        "import app\ndatabase = connect_database(settings_with(MONGO_URI='mongodb://127.0.0.1:1/?connect=false'), 1)\n"
        "make_writer(database, {limit}, 5.0)\nprint([name for name in sys.modules if name.startswith({names})])"
    )
    names = ("chalicelib.store.grouped", "gevent", "greenlet", "chalicelib.observe.tracing")
    found = []
    for limit in (1, 128):
        command = [sys.executable, "-c", program.format(limit=limit, names=names)]
        found.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip())
    assert found[0] == "[]"
    assert "chalicelib.store.grouped.writer" in found[1]
    assert "gevent" not in found[1]


ARROWS = [
    # (what must not import, what it must not know)
    ("chalicelib/runtime.py", "chalicelib.http"),  # http takes the runtime
    ("chalicelib/access", "chalicelib.http"),
    ("chalicelib/access", "chalicelib.runtime"),
    ("chalicelib/access", "chalicelib.quotes"),
    ("chalicelib/audit", "chalicelib.http"),
    ("chalicelib/audit", "chalicelib.runtime"),
    ("chalicelib/service", "chalicelib.http"),
    ("chalicelib/service", "chalicelib.runtime"),
    ("chalicelib/sweep", "chalicelib.runtime"),
    ("chalicelib/store", "chalicelib.http"),
    ("chalicelib/store", "chalicelib.service"),
    ("chalicelib/quotes", "chalicelib.http"),
    ("chalicelib/audit/places.py", "chalicelib.audit"),  # what a folder and a bucket have in common knows neither
    ("chalicelib/audit/folder.py", "chalicelib.audit.s3"),
    ("chalicelib/audit/s3.py", "chalicelib.audit.folder"),
]


@pytest.mark.parametrize(("importer", "unknown"), ARROWS, ids=lambda name: name)
def test_each_arrow_between_modules_has_one_direction(importer: str, unknown: str) -> None:
    path = ROOT / importer
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    assert files
    for file in files:
        wrong = {name for name in imported(file) if name == unknown or name.startswith(f"{unknown}.")}
        assert not wrong, f"{file.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


INDEPENDENT = {"Account", "Command", "RejectedError"}
"""The load generator has its own: what it proves, it must not have from the system."""


def test_a_public_class_name_stands_for_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for folder in ("chalicelib", "loadgen", "infra"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in INDEPENDENT} == {}
