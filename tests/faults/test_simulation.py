"""Thousands of schedules without any server: what the domain and the way of a command make of the worst weather."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from chalicelib.store.errors import LostRaceError
from chalicelib.store.record import Record
from chalicelib.store.user_journal import Found
from infra.local.stack import PROJECT
from infra.simulation.cli import main
from infra.simulation.judge import findings
from infra.simulation.model import ModelStore
from infra.simulation.schedule import SimulatedSchedule, Size, no_pauses

SCHEDULES = 400
"""`python -m infra.simulation` does as many as one likes; its seeds are these and those after them."""

UNTIL_CAUGHT = 300
SECONDS = 200.0


@pytest.fixture(autouse=True)
def _no_pauses() -> Iterator[None]:
    with no_pauses():
        yield


def first_wrong(make: Callable[[int], SimulatedSchedule]) -> list[str]:
    """Return what the judge says of the first schedule that it finds wrong."""
    for seed in range(1, UNTIL_CAUGHT):
        schedule = make(seed)
        schedule.run()
        if wrong := findings(schedule):
            return wrong
    return []


def test_nothing_is_lost_or_done_twice_in_any_schedule() -> None:
    command = [sys.executable, "-m", "infra.simulation", "--count", str(SCHEDULES), "--processes", "2"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{SCHEDULES} schedules of ")


def test_long_schedules_are_survived_as_well() -> None:
    for seed in range(25):
        schedule = SimulatedSchedule(seed, Size(users=1, commands=100, servers=3))
        schedule.run()
        assert findings(schedule) == []


def test_the_weather_is_as_bad_as_it_says() -> None:
    """Each kind of trouble happens: a simulation of calm weather would prove nothing."""
    said: list[str] = []
    for seed in range(40):
        SimulatedSchedule(seed, say=said.append).run()
    text = "\n".join(said)
    for trouble in (
        "crashes",
        "stands still",
        "goes on",
        "arrives: False",
        "arrives: True",
        "CrashedError",
        "sweep of",
    ):
        assert trouble in text
    assert "waits for its turn" in text


def test_a_schedule_is_the_same_again() -> None:
    for seed in (1, 2, 3):
        runs: list[list[str]] = []
        for _ in range(2):
            said: list[str] = []
            schedule = SimulatedSchedule(seed, say=said.append)
            schedule.run()
            runs.append(said)
        assert runs[0] == runs[1]


def test_a_failing_seed_is_shown_with_the_command_that_shows_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--users", "1", "--commands", "3", "--servers", "1"]) == 0
    assert capsys.readouterr().out.endswith("all is well\n")


def test_a_store_without_its_guard_is_caught() -> None:
    wrong = first_wrong(lambda seed: SimulatedSchedule(seed, guarded=False))
    assert any("carried out" in line or "added were" in line or "the journal" in line for line in wrong), wrong


class ForgetsKeys(ModelStore):
    def find_key(self, record: Record, key: str) -> Found | None:
        return None


class ForgetsAttempts(ModelStore):
    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        return None


class TakesLossesForWrites(ModelStore):
    """Believes that a write which lost its race was its own."""

    def save(self, record, account, entry, attempt):  # type: ignore[no-untyped-def]  # noqa: ANN001
        try:
            return super().save(record, account, entry, attempt)
        except LostRaceError:
            return record


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (ForgetsKeys, "was carried out 2 times"),
        (ForgetsAttempts, "was carried out 2 times"),
        (TakesLossesForWrites, "was acknowledged and is not in the journal"),
    ],
)
def test_a_broken_store_is_caught(broken: type[ModelStore], says: str) -> None:
    wrong = first_wrong(lambda seed: SimulatedSchedule(seed, make_store=broken))
    assert any(says in line for line in wrong), wrong
