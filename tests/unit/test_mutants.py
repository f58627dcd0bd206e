"""Mutation testing: which faults there are, which of them are drawn, and what the tests make of one."""

from pathlib import Path

import pytest

from infra.local.stack import PROJECT
from infra.mutants.areas import AREAS, Area, equivalents, files_of
from infra.mutants.cli import sample_of
from infra.mutants.faults import Fault, faults_of
from infra.mutants.trial import Copy, TrialError, TrialOutcome

CODE = '''"""A module."""

import logging
from typing import Literal

log = logging.getLogger(__name__)
Side = Literal["buy", "sell"]


def worth(shares: int | None, price: int, *, of: list[int]) -> int:
    """Return "what" it is worth."""
    assert price > 0
    log.debug("price %s", price)
    if shares is None or is_odd(price):
        raise ValueError("no shares there")
    total = sum(of, start=0)
    total += shares * price
    return max(total, 1)
'''
CHANGES = [
    "shares is None or is_odd(price) -> (shares is None and is_odd(price))",
    "shares is None -> (shares is not None)",
    'raise ValueError("no shares there") -> pass',
    "sum(...) without start",
    "0 -> 1",
    "total += shares * price -> pass",
    "shares * price -> (shares + price)",
    "return max(total, 1) -> return None",
    "max(total, 1) -> (min(total, 1))",
    "1 -> 2",
]


def faults_in(folder: Path, code: str) -> list[Fault]:
    (folder / "module.py").write_text(code)
    return list(faults_of(folder, "module.py"))


def test_what_is_behaviour_is_changed_one_thing_at_a_time_and_nothing_else(tmp_path: Path) -> None:
    faults = faults_in(tmp_path, CODE)
    assert [fault.name for fault in faults] == [f"module.py worth: {change}" for change in CHANGES]
    for fault in faults:
        wrong = fault.put_into(CODE.encode()).decode()
        changed = [old for old, new in zip(CODE.splitlines(), wrong.splitlines(), strict=True) if old != new]
        assert changed == [CODE.splitlines()[fault.line - 1]]
        compile(wrong, "module.py", "exec")


def test_a_call_that_decides_is_turned_round(tmp_path: Path) -> None:
    code = "def f(line):\n    while is_open(line) if line else [x for x in line if x.odd]:\n        break\n"
    names = [fault.name.partition(": ")[2] for fault in faults_in(tmp_path, code)]
    assert names == ["line -> (not line)", "x.odd -> (not x.odd)", "break -> continue"]


def test_what_is_not_ascii_moves_no_fault_to_another_place(tmp_path: Path) -> None:
    (fault,) = faults_in(tmp_path, 'NAME = "ü ü"; MORE = 1\n')
    assert fault.put_into((tmp_path / "module.py").read_bytes()).decode() == 'NAME = "ü ü"; MORE = 2\n'


@pytest.fixture(scope="module")
def all_faults() -> dict[str, list[Fault]]:
    """Return all faults of each area, in the order in which they are drawn."""
    return {area.name: sample_of(area, 10**6, seed=1) for area in AREAS}


def test_the_faults_of_the_areas_are_python_and_have_names_of_their_own(all_faults: dict[str, list[Fault]]) -> None:
    for faults in all_faults.values():
        assert len({fault.name for fault in faults}) == len(faults) > 50
        for fault in faults[:20]:
            compile(fault.put_into((PROJECT / fault.file).read_bytes()), fault.file, "exec")


def test_a_sample_is_the_same_every_time_and_another_by_another_seed(all_faults: dict[str, list[Fault]]) -> None:
    sweep = next(area for area in AREAS if area.name == "sweep")
    assert sample_of(sweep, 20, seed=1) == all_faults["sweep"][:20]
    assert len(set(sample_of(sweep, 20, seed=2)) & set(all_faults["sweep"][:20])) < 10


def test_a_fault_keeps_its_place_in_the_sample_when_other_lines_move(tmp_path: Path) -> None:
    before = {fault.name: fault.rank(1) for fault in faults_in(tmp_path, CODE)}
    moved = CODE.replace('"""A module."""', '"""A module."""\n\nMOST = 4\n')
    after = {fault.name: fault.rank(1) for fault in faults_in(tmp_path, moved)}
    assert before.items() < after.items()


def test_every_area_has_tests_that_look_for_its_faults() -> None:
    for area in AREAS:
        files = files_of(PROJECT, area.unit + area.servers)
        assert any(area.folder.replace("/", ".") in (PROJECT / file).read_text() for file in files)


def test_every_fault_that_is_said_to_change_nothing_is_still_one_and_has_a_reason(
    all_faults: dict[str, list[Fault]],
) -> None:
    """One whose function has changed must be looked at again."""
    names = {fault.name for faults in all_faults.values() for fault in faults}
    assert equivalents().keys() - names == set()
    assert all(len(reason) > 20 for reason in equivalents().values())


LITTLE_CONFIG = """
[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "-p no:schemathesis -p no:locust -p no:anyio"
"""


@pytest.fixture
def little(tmp_path: Path) -> Copy:
    """Return a project of one module, one unit test and one test on servers."""
    (tmp_path / "pyproject.toml").write_text(LITTLE_CONFIG)
    (tmp_path / "module.py").write_text("def up(n):\n    return n + 1\n\n\ndef down(n):\n    return n - 1\n\n\nX = 3\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_unit.py").write_text("import module\n\n\ndef test_up():\n    assert module.up(1) == 2\n")
    (tmp_path / "tests/test_servers.py").write_text(
        "import module\n\n\ndef test_down():\n    assert module.down(1) == 0\n"
    )
    return Copy(tmp_path)


LITTLE = Area("little", ".", ("test_unit.py",), ("test_servers.py",))


def test_it_is_told_which_tests_notice_a_fault_and_that_none_does(little: Copy) -> None:
    before = (little.root / "module.py").read_bytes()
    baseline = little.baseline(LITTLE, servers=True)
    faults = {fault.old: fault for fault in faults_of(little.root, "module.py")}
    outcomes = [little.outcome(faults[old], LITTLE, baseline) for old in ("n + 1", "n - 1", "3")]
    assert outcomes == [TrialOutcome.UNIT, TrialOutcome.SERVERS, TrialOutcome.SURVIVED]
    assert (little.root / "module.py").read_bytes() == before


def test_tests_that_fail_without_a_fault_prove_nothing(little: Copy) -> None:
    (little.root / "module.py").write_text("def up(n):\n    return n\n")
    with pytest.raises(TrialError, match=r"little: the tests fail without any fault: .*test_unit.py"):
        little.baseline(LITTLE, servers=False)
