"""Schedules without any server: what ships, from the command down to its statements, in the worst weather."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from infra.local.stack import PROJECT
from infra.simulation.cli import main
from infra.simulation.judge import findings
from infra.simulation.redis import RedisServer
from infra.simulation.schedule import SimulatedSchedule, Size
from infra.simulation.scheduler import Scheduler
from infra.simulation.server import START_MS

SCHEDULES = 300
"""`python -m infra.simulation` does as many as one likes; its seeds are these and those after them."""

UNTIL_FOUND = 5_000
SECONDS = 600.0
PLANTED = Path(__file__).parent / "planted"


def simulate(tree: Path, count: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra.simulation", "--count", str(count), "--processes", "2"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_nothing_is_lost_or_done_twice_in_any_schedule() -> None:
    ended = simulate(PROJECT, SCHEDULES)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{SCHEDULES} schedules of ")


@pytest.mark.parametrize("patch", sorted(PLANTED.glob("*.patch")), ids=lambda patch: patch.stem)
def test_a_fault_that_is_put_into_the_code_is_found(patch: Path, tmp_path: Path) -> None:
    for package in ("chalicelib", "infra"):
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "apply", str(patch)], cwd=tmp_path, check=True, capture_output=True)
    ended = simulate(tmp_path, UNTIL_FOUND)
    assert ended.returncode == 1, ended.stdout
    assert "again: python -m infra.simulation --seed " in ended.stderr


def test_the_weather_is_as_bad_as_it_says() -> None:
    """Each kind of trouble happens: a simulation of calm weather would prove nothing."""
    said: list[str] = []
    for seed in range(60):
        SimulatedSchedule(seed, say=said.append).run()
    text = "\n".join(said)
    for trouble in (
        "crashes",
        "stands still",
        "the clock of server",
        "another member becomes primary",
        "a primary is deposed and does not know",
        "the quote source falls silent",
        "the cache loses everything",
        "somebody writes to",
        "CrashedError",
        "ClockSkewError",
        "StoreUnavailableError",
        "TooLateError",
        "QuoteUnavailableError",
        "sweep on server",
        "look at user0",
    ):
        assert trouble in text, trouble


def test_a_schedule_is_the_same_again() -> None:
    for seed in (1, 2, 3):
        runs: list[list[str]] = []
        for _ in range(2):
            said: list[str] = []
            SimulatedSchedule(seed, say=said.append).run()
            runs.append(said)
        assert runs[0] == runs[1]


def test_a_seed_is_shown_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "7", "--users", "1", "--commands", "3", "--servers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "user0 ADD [1] on server 1 begins" in shown
    assert shown.endswith("all is well\n")


def test_long_schedules_are_survived_as_well() -> None:
    for seed in range(5):
        schedule = SimulatedSchedule(seed, Size(users=1, commands=150, servers=3))
        schedule.run()
        assert findings(schedule) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_modelled_redis_does_what_a_real_one_does(redis_url: str, seed: int) -> None:
    """Commands drawn at random, of those that the quotes use, on few keys: also on those of the wrong type."""
    model = RedisServer(Scheduler(START_MS))
    draw = random.Random(seed)
    claim = "local owner = redis.pcall('GET', KEYS[1])\nif type(owner) == 'string' then return 0 end\nreturn ARGV[1]"
    with Redis.from_url(redis_url) as real:
        for _ in range(300):
            key = f"k{draw.randrange(3)}"
            number = draw.randrange(6)
            command: tuple[Any, ...] = draw.choice(
                [
                    ("GET", key),
                    ("SET", key, number, "PX", 10_000_000),
                    ("SET", key, number),
                    ("DEL", key),
                    ("ZADD", key, number, f"m{draw.randrange(4)}"),
                    ("ZREMRANGEBYSCORE", key, number, number + 1),
                    ("ZREMRANGEBYRANK", key, 0, -number - 1),
                    ("ZRANGE", key, number, "+inf", "BYSCORE"),
                    ("PEXPIRE", key, 20_000_000),
                    ("EVAL", claim, 1, key, "token"),
                ]
            )
            assert _outcome(model.do, command) == _outcome(real.execute_command, command), command
            assert (model.do("PTTL", key) > 0) == (real.pttl(key) > 0), command


def _outcome(do: Any, command: tuple[Any, ...]) -> Any:
    try:
        found = do(*command)
    except ResponseError as error:
        return "WRONGTYPE" if "WRONGTYPE" in str(error) else str(error)
    return "OK" if command[0] == "SET" and found in (True, "OK", b"OK") else found
