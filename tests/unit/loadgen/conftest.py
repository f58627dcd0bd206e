"""A stub server for each test that asks for one; a test that leaves a thread behind fails."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadgen.cli import main
from tests.unit.loadgen.story import STORY, Verified
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


@pytest.fixture
def recorded(run: Run, tmp_path: Path) -> Path:
    """Replay the story and return the record of its answers."""
    answers = tmp_path / "answers.jsonl"
    assert run(STORY, "--answers", str(answers)) == 0
    return answers


@pytest.fixture
def verified(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Verified:
    """Return a function that verifies a record, and returns the exit code and the output."""

    def check(answers: Path, *options: str, lines: str = STORY) -> tuple[int, str]:
        path = write_workload(lines)
        capsys.readouterr()
        arguments = ["verify", str(path), "--answers", str(answers), "--url", stub.url, "--token", "t", *options]
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out + said.err

    return check
