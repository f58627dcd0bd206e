"""Processes of the stack: what happens when they start, die, hang, and when the one who started them dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.local import process as parts
from infra.local.process import Part, PartDiedError, PartNotReadyError, RunningPart
from infra.local.stack import PROJECT
from infra.local.supervisor import StopRequestedError, StopSignals, Supervisor

SECONDS = 60.0
OBSTINATE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
WAIT = "import signal; signal.pause()"


def ready() -> None:
    """Say that a part is ready at once."""


def python(name: str, code: str, why_not_ready: Callable[[], str | None] = ready, **more: float) -> Part:
    """Return a part that runs Python code."""
    return Part(name, [sys.executable, "-u", "-c", code], os.environ, why_not_ready, **more)  # type: ignore[arg-type]


def says(log: Path, word: str) -> Callable[[], str | None]:
    """Return a readiness check: the log holds the word."""
    return lambda: None if log.exists() and word in log.read_text() else f"no {word!r} yet"


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with StopSignals() as signals:
        supervisor = Supervisor(tmp_path, signals)
        yield supervisor
        supervisor.stop()


def test_a_part_is_started_when_it_says_that_it_is_ready(tmp_path: Path, supervisor: Supervisor) -> None:
    part = python("one", f"print('serving'); {WAIT}", says(tmp_path / "one.log", "serving"))
    supervisor.start(part)
    assert psutil.pid_exists(supervisor.pids["one"])
    supervisor.stop()
    assert supervisor.pids == {}


def test_parts_stop_in_reverse_order(tmp_path: Path, supervisor: Supervisor) -> None:
    stopped = tmp_path / "stopped"
    for name in ("first", "second", "third"):
        code = (
            "import signal, sys\n"
            f"def stop(*_): open({str(stopped)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, stop); print('up'); signal.pause()"
        )
        supervisor.start(python(name, code, says(tmp_path / f"{name}.log", "up")))
    supervisor.stop()
    assert stopped.read_text().split() == ["third", "second", "first"]


def test_a_part_that_dies_is_reported_with_its_last_words(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.start(python("steady", WAIT))
    code = "import time\nfor n in range(100): print('line', n)\ninput_ = time.sleep(0.3); raise SystemExit(7)"
    supervisor.start(python("frail", code))
    with pytest.raises(PartDiedError) as caught:
        supervisor.watch()
    message = str(caught.value)
    assert message.startswith(f"frail died (exit status 7)\nlast lines of {tmp_path / 'frail.log'}:")
    assert "| line 80\n" in message
    assert "| line 99" in message
    assert "| line 79\n" not in message


def test_a_part_that_is_killed_is_reported_by_the_signals_name(supervisor: Supervisor) -> None:
    supervisor.start(python("victim", WAIT))
    os.kill(supervisor.pids["victim"], signal.SIGKILL)
    with pytest.raises(PartDiedError, match=r"victim died \(killed by SIGKILL\)"):
        supervisor.watch()


def test_a_part_that_dies_while_another_starts_ends_the_wait(supervisor: Supervisor) -> None:
    supervisor.start(python("frail", "import time; time.sleep(0.3)"))
    with pytest.raises(PartDiedError, match="frail died"):
        supervisor.start(python("slow", WAIT, lambda: "never ready"))


def test_a_program_that_is_not_there_is_reported(supervisor: Supervisor) -> None:
    with pytest.raises(PartDiedError, match="no-such-program: No such file or directory"):
        supervisor.start(Part("gone", ["no-such-program"], os.environ, lambda: "not ready"))


def test_a_part_that_never_gets_ready_is_reported_with_the_reason(supervisor: Supervisor) -> None:
    part = python("slow", WAIT, lambda: "the moon is not full", ready_seconds=0.2)
    with pytest.raises(PartNotReadyError, match=r"slow is not ready after 0\.2 s: the moon is not full"):
        supervisor.start(part)


def test_a_part_that_does_not_stop_is_killed(
    tmp_path: Path, supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"{OBSTINATE} print('deaf')\nwhile True: signal.pause()"
    supervisor.start(python("deaf", code, says(tmp_path / "deaf.log", "deaf"), stop_seconds=0.2))
    pid = supervisor.pids["deaf"]
    supervisor.stop()
    assert not psutil.pid_exists(pid)
    assert "deaf did not stop within 0.2 s and was killed" in capsys.readouterr().err


def test_what_a_part_leaves_in_its_group_is_killed_with_it(tmp_path: Path, supervisor: Supervisor) -> None:
    code = (
        "import subprocess, sys, signal\n"
        f"child = subprocess.Popen([sys.executable, '-c', {OBSTINATE + WAIT!r}])\n"
        "print('child', child.pid); signal.pause()"
    )
    log = tmp_path / "parent.log"
    supervisor.start(python("parent", code, says(log, "child")))
    child = psutil.Process(int(log.read_text().split()[1]))
    supervisor.stop()
    psutil.wait_procs([child], timeout=SECONDS)
    assert not child.is_running()


def test_asked_twice_to_stop_it_kills_at_once(tmp_path: Path, supervisor: Supervisor) -> None:
    code = f"{OBSTINATE} print('deaf')\nwhile True: signal.pause()"
    for name in ("one", "two"):
        supervisor.start(python(name, code, says(tmp_path / f"{name}.log", "deaf"), stop_seconds=SECONDS * 10))
    pids = supervisor.pids.values()
    # To this thread: another one of the test run may not hold signals back, and would take it as a Ctrl-C.
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    with pytest.raises(StopRequestedError):
        supervisor.watch()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    supervisor.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_parts_log_of_the_time_before_is_kept(tmp_path: Path) -> None:
    for word in ("first", "second", "third"):
        part = parts.start(python("part", f"print('{word}'); {WAIT}", says(tmp_path / "part.log", word)), tmp_path)
        part.wait_until_ready()
        part.kill()
    assert (tmp_path / "part.log").read_text() == "third\n"
    assert (tmp_path / "part.log.1").read_text() == "second\n"


def test_a_log_that_grows_too_long_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LOG_LIMIT_BYTES", 100)
    log = tmp_path / "wordy.log"
    code = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('again'))\nprint('x' * 200)\n"
    part = parts.start(python("wordy", code + "while True: signal.pause()", says(log, "\n")), tmp_path)
    try:
        part.wait_until_ready()
        part.bound_log()
        assert log.read_text() == ""
        assert log.with_suffix(".log.1").read_text() == "x" * 200 + "\n"
        os.kill(part.pid, signal.SIGUSR1)
        eventually(log.read_text)
        assert log.read_text() == "again\n"
    finally:
        part.kill()


def test_a_part_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even when that one is killed and cannot stop anything."""
    code = f"""
import os, sys, signal
from infra.local import process as parts
from infra.local.process import Part
part = Part("child", [sys.executable, "-c", {OBSTINATE + WAIT!r}], os.environ, lambda: None)
print(parts.start(part, __import__("pathlib").Path({str(tmp_path)!r})).pid, flush=True)
signal.pause()
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    child = psutil.Process(int(starter.stdout.readline()))
    assert child.is_running()
    starter.kill()
    starter.communicate()
    psutil.wait_procs([child], timeout=SECONDS)
    assert not child.is_running()


def test_a_running_part_is_known_by_name_and_process(tmp_path: Path) -> None:
    part: RunningPart = parts.start(python("named", WAIT), tmp_path)
    try:
        assert (part.name, psutil.Process(part.pid).is_running(), part.has_ended()) == ("named", True, False)
    finally:
        part.kill()
    assert part.has_ended()


WAITS = """
import signal
from infra.local.supervisor import StopRequestedError, StopSignals
with StopSignals() as signals:
    print("waits", flush=True)
    try:
        while True:
            signals.pause(0.05)
    except StopRequestedError:
        print("asked to stop", flush=True)
"""


def test_standing_still_is_no_request_to_stop() -> None:
    """As after Ctrl-Z and fg."""
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "waits\n"
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            time.sleep(0.2)
            process.send_signal(signal.SIGCONT)
            eventually(lambda: psutil.Process(process.pid).status() != psutil.STATUS_STOPPED)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "asked to stop\n"


@pytest.mark.parametrize("count", [0, 1])
def test_a_part_stays_on_its_processors(tmp_path: Path, supervisor: Supervisor, count: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    wanted = allowed[:count]
    code = f"import os; print('on', *sorted(os.sched_getaffinity(0))); {WAIT}"
    part = python("one", code, says(tmp_path / "one.log", "on"))
    supervisor.start(replace(part, processors=wanted))
    eventually(lambda: (tmp_path / "one.log").read_text().endswith("\n"))
    assert (tmp_path / "one.log").read_text().split()[1:] == [str(number) for number in wanted or allowed]
