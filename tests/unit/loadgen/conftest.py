"""A stub server for each test that asks for one; threads that a test leaves behind fail it."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadgen.cli import main
from tests.unit.loadgen.stub import StubServer, running

WriteWorkload = Callable[[str], Path]
Run = Callable[..., int]


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [thread for thread in threading.enumerate() if thread not in before]:
        assert time.monotonic() < deadline, f"threads left behind: {left}"
        time.sleep(0.01)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubServer]:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    with running(dumps) as server:
        yield server


@pytest.fixture
def write_workload(tmp_path: Path) -> WriteWorkload:
    """Return a function that writes a workload file: its lines are given without numbers, these are added."""

    def write(lines: str) -> Path:
        path = tmp_path / "workload"
        numbered = (f"[{number}] {line.strip()}\n" for number, line in enumerate(lines.strip().splitlines(), 1))
        path.write_text("".join(numbered))
        return path

    return write


@pytest.fixture
def run(stub: StubServer, write_workload: WriteWorkload) -> Run:
    """Return a function that replays lines against the stub and returns the exit code."""

    def replay(lines: str, *options: str) -> int:
        path = write_workload(lines)
        return main(["replay", str(path), "--url", stub.url, "--token", "good", "--quiet", *options])

    return replay
