"""One process of the stack: start it, wait until it is ready, read the end of its log, stop it reliably."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.host import guard

_POLL_SECONDS = 0.05
_TAIL_BYTES = 16_384
_STANDS_SECONDS = 5.0
_STANDS_POLL_SECONDS = 0.001
_KILLED_SECONDS = 10.0
LOG_LIMIT_BYTES = 32 * 1024 * 1024
"""A longer log is rotated while its part runs; at most two files of this size are kept for each part."""


class PartError(Exception):
    """A part does not work. Has the end of its log, which usually says why.

    Subclasses: PartDiedError if its process has ended, PartNotReadyError if it runs but did not become ready in time.
    """

    def __init__(self, message: str, log: Path, tail: Sequence[str]) -> None:
        said = "".join(f"\n  | {line}" for line in tail) or " nothing"
        super().__init__(f"{message}\nlast lines of {log}:{said}")


class PartDiedError(PartError):
    """A part's process has ended without being stopped."""


class PartNotReadyError(PartError):
    """A part runs but did not become ready in time."""


@dataclass(frozen=True)
class Part:
    """What to run, and how to know that it works.

    `why_not_ready` returns None when the part is ready, else the reason in a few words; it is polled and must return
    within a second or two. `environment` is the process's whole environment. The process is pinned to the `processors`
    (the kernel's numbers), if any.

    Any part of a `group` may fail: the others do its work. `why_not_back` replaces `why_not_ready` for a part that was
    restarted in a running stack. `why_not_left` returns None once the part may be asked to stop, after keeping new work
    away from it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    why_not_ready: Callable[[], str | None]
    ready_seconds: float = 90.0
    stop_seconds: float = 20.0
    folder: Path = field(default_factory=Path.cwd)
    processors: Collection[int] = ()
    group: str | None = None
    why_not_back: Callable[[], str | None] | None = None
    why_not_left: Callable[[], str | None] | None = None


class RunningPart:
    """A part's process. It dies with the thread that started it (see `infra.host.guard`)."""

    def __init__(self, part: Part, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.part = part
        self.log = log
        self._process = process

    @property
    def name(self) -> str:
        """The part's name."""
        return self.part.name

    @property
    def pid(self) -> int:
        """The process id; also the id of its process group."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def died(self) -> PartDiedError:
        """Return an error that says how the process ended, with the end of its log."""
        return PartDiedError(f"{self.name} died ({_describe(self._process.wait())})", self.log, log_tail(self.log))

    def wait_until_ready(self, pause: Callable[[float], None] = time.sleep) -> None:
        """Return when the part is ready; raises PartDiedError or PartNotReadyError. `pause` waits some seconds."""
        deadline = time.monotonic() + self.part.ready_seconds
        while (reason := self.part.why_not_ready()) is not None:
            if self.has_ended():
                raise self.died()
            if time.monotonic() > deadline:
                message = f"{self.name} is not ready after {self.part.ready_seconds:g} s: {reason}"
                raise PartNotReadyError(message, self.log, log_tail(self.log))
            pause(_POLL_SECONDS)

    def ending(self) -> str:
        """Return how the process ended."""
        return _describe(self._process.wait())

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the part's own process, which tells what it started; one that is paused goes on first."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        self.resume()

    def pause(self) -> None:
        """Suspend the process group (SIGSTOP).

        A signal takes a moment: this returns when the kernel says that the process is stopped or has ended, or after
        some seconds in which a disk operation prevents it.
        """
        self._signal_group(signal.SIGSTOP)
        deadline = time.monotonic() + _STANDS_SECONDS
        with contextlib.suppress(ChildProcessError):
            how = os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG
            while os.waitid(os.P_PID, self.pid, how) is None and time.monotonic() < deadline:
                time.sleep(_STANDS_POLL_SECONDS)

    def resume(self) -> None:
        """Resume the process group."""
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill the process group at once, and wait until the process is gone."""
        self._signal_group(signal.SIGKILL)
        self._process.wait(_KILLED_SECONDS)

    def stop(self, pause: Callable[[float], None] = time.sleep) -> bool:
        """Stop the part, by force after its `stop_seconds`; return whether it ended on its own."""
        self.ask_to_stop()
        deadline = time.monotonic() + self.part.stop_seconds
        while not self.has_ended() and time.monotonic() < deadline:
            pause(_POLL_SECONDS)
        by_itself = self.has_ended()
        self.kill()  # also whatever a part that ended on its own has left in its group
        return by_itself

    def bound_log(self) -> None:
        """Rotate the log if it is too long; the part continues to write to the same, now empty, file."""
        if self.log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(self.log, _previous(self.log))
            os.truncate(self.log, 0)  # under its writer, which is safe: the file is open for appending


def start(part: Part, logs: Path, keep_open: Collection[int] = ()) -> RunningPart:
    """Start the part's process, with its output in the folder `logs`; the previous log is kept.

    The process gets its own session, so a Ctrl-C in the terminal reaches only the stack, which then stops its parts in
    order. It inherits the file descriptors `keep_open`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{part.name}.log"
    if log.exists():
        log.replace(_previous(log))
    on = ["--on", ",".join(map(str, part.processors))] if part.processors else []
    with log.open("ab") as output:
        process = subprocess.Popen(
            guard.guarded(*on, *part.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(part.environment),
            cwd=part.folder,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
    return RunningPart(part, process, log)


def log_tail(log: Path, lines: int = 20) -> list[str]:
    """Return the last lines of a log; empty if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _previous(log: Path) -> Path:
    return log.with_suffix(".log.1")


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
