"""The domain knows nothing of the outside, and what ships knows nothing of the tools around it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
