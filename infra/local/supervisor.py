"""Starts parts in order, watches them, stops them in reverse: one thread, which polls for signals.

While the stack runs, any part can be stopped, killed, paused and restarted (`infra.local.control`). None of that
blocks: each check advances every part by one step, and the same thread always starts the parts, because they die with
the thread that starts them.
"""

import signal
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.host.signals import STOP_OR_HANG_UP, comes
from infra.local import process as parts
from infra.local.process import Part, RunningPart, log_tail

_WATCH_SECONDS = 0.1
_LEAVE_SECONDS = 15.0


class StopRequestedError(Exception):
    """The process was asked to stop: Ctrl-C, SIGTERM, or the terminal closed."""


class NoSuchPartError(Exception):
    """There is no part with that name, or it cannot do that now."""


class StopSignals:
    """Blocks the signals to stop: one that comes waits until `pause` takes it.

    So no signal can come between starting a process and recording it. Enter it before other threads are started: they
    then block the signals too.
    """

    def __enter__(self) -> Self:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_OR_HANG_UP)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while comes(STOP_OR_HANG_UP, 0):
            pass  # another signal while it was stopping: it has stopped
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def pause(self, seconds: float) -> None:
        """Wait; raises StopRequestedError if a signal to stop has come."""
        if comes(STOP_OR_HANG_UP, seconds):
            raise StopRequestedError


class State(StrEnum):
    """What a part is doing."""

    STARTING = "starting"
    """It runs but is not ready yet."""
    RUNNING = "running"
    PAUSED = "paused"
    LEAVING = "leaving"
    """It finishes its requests and gets no new ones."""
    STOPPING = "stopping"
    """It was asked to stop."""
    STOPPED = "stopped"
    """It has ended because it was asked to."""
    DEAD = "dead"
    """It has ended on its own, and others do its work."""


GONE = frozenset({State.STOPPED, State.DEAD})


@dataclass(frozen=True, slots=True)
class PartStatus:
    """A part's current status; `detail` is what it waits for, or how it ended."""

    name: str
    state: State
    pid: int | None
    detail: str


class _Watched:
    """A part and what is being done to it."""

    def __init__(self, running: RunningPart) -> None:
        self.running = running
        self.state = State.STARTING
        self.detail = ""
        self.again = False
        self.deadline = 0.0

    @property
    def part(self) -> Part:
        return self.running.part

    def goes(self, state: State, detail: str = "", seconds: float = 0.0) -> None:
        self.state, self.detail = state, detail
        self.deadline = time.monotonic() + seconds

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def status(self) -> PartStatus:
        pid = None if self.state in GONE else self.running.pid
        return PartStatus(self.running.name, self.state, pid, self.detail)


class Supervisor:
    """The running parts. Use it from one thread only: the parts die with the thread that starts them."""

    def __init__(self, logs: Path, signals: StopSignals, keep_open: Collection[int] = ()) -> None:
        self._logs = logs
        self._signals = signals
        self._keep_open = keep_open
        self._watched: list[_Watched] = []

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each running part."""
        return {one.running.name: one.running.pid for one in self._watched if one.state not in GONE}

    def status(self) -> list[PartStatus]:
        """Return the status of every part, in order of their start."""
        return [one.status() for one in self._watched]

    def start(self, part: Part) -> None:
        """Start a part and wait until it is ready.

        Raises PartDiedError if it or an earlier part has ended, PartNotReadyError, or StopRequestedError.
        """
        watched = _Watched(parts.start(part, self._logs, self._keep_open))
        self._watched.append(watched)
        watched.running.wait_until_ready(self._pause_watching)
        watched.goes(State.RUNNING)

    def watch(self, look: Callable[[], None] = lambda: None) -> None:
        """Watch the parts until a required one ends (PartDiedError) or a signal to stop comes (StopRequestedError).

        The end of a part whose group has others is reported, and the rest goes on. `look` is called at every check, and
        may call the methods below.
        """
        while True:
            self._signals.pause(_WATCH_SECONDS)
            look()
            for one in self._watched:
                self._move_on(one)

    def stop_part(self, name: str) -> None:
        """Begin to stop a part; raises NoSuchPartError."""
        one = self._find(name)
        one.again = False
        if one.state not in GONE:
            self._begin_to_stop(one)

    def kill_part(self, name: str) -> None:
        """End a part at once (SIGKILL), as a crash would; raises NoSuchPartError."""
        one = self._find(name)
        one.again = False
        if one.state not in GONE:
            one.running.kill()
            one.goes(State.STOPPED, one.running.ending())

    def restart_part(self, name: str) -> None:
        """Begin to stop a part, unless it has ended, and to restart it; raises NoSuchPartError."""
        one = self._find(name)
        if one.state in GONE:
            self._start_again(one)
        else:
            one.again = True
            self._begin_to_stop(one)

    def pause_part(self, name: str) -> None:
        """Suspend a part (SIGSTOP) until it is resumed; raises NoSuchPartError."""
        one = self._find(name)
        if one.state is not State.RUNNING:
            raise NoSuchPartError(f"{name} is {one.state}")
        one.running.pause()
        one.goes(State.PAUSED)

    def resume_part(self, name: str) -> None:
        """Resume a paused part (SIGCONT); raises NoSuchPartError."""
        one = self._find(name)
        if one.state is not State.PAUSED:
            raise NoSuchPartError(f"{name} is {one.state}, not paused")
        one.running.resume()
        one.goes(State.RUNNING)

    def _find(self, name: str) -> _Watched:
        for one in self._watched:
            if one.running.name == name:
                return one
        raise NoSuchPartError(f"no part {name}: there are {', '.join(one.running.name for one in self._watched)}")

    def _begin_to_stop(self, one: _Watched) -> None:
        if one.part.why_not_left is not None and one.state is not State.STOPPING:
            one.goes(State.LEAVING, seconds=_LEAVE_SECONDS)
        else:
            self._ask_to_stop(one)

    @staticmethod
    def _ask_to_stop(one: _Watched) -> None:
        one.running.ask_to_stop()
        one.goes(State.STOPPING, seconds=one.part.stop_seconds)

    def _start_again(self, one: _Watched) -> None:
        one.again = False
        one.running = parts.start(one.part, self._logs, self._keep_open)
        one.goes(State.STARTING, seconds=one.part.ready_seconds)

    def _move_on(self, one: _Watched) -> None:
        """Check a part, and take its next step."""
        match one.state:
            case State.STOPPED | State.DEAD:
                return
            case State.STOPPING | State.LEAVING if one.running.has_ended():
                self._has_stopped(one)
                return
            case State.STOPPING if one.is_late:
                _say(f"{one.running.name} did not stop within {one.part.stop_seconds:g} s and was killed")
                self._has_stopped(one)
                return
            case State.LEAVING:
                assert one.part.why_not_left is not None
                one.detail = one.part.why_not_left() or ""
                if not one.detail or one.is_late:
                    self._ask_to_stop(one)
            case State.STARTING | State.RUNNING | State.PAUSED if one.running.has_ended():
                self._has_died(one)
                return
            case State.STARTING:
                one.detail = (one.part.why_not_back or one.part.why_not_ready)() or ""
                if not one.detail:
                    one.goes(State.RUNNING)
        one.running.bound_log()

    def _has_stopped(self, one: _Watched) -> None:
        one.running.kill()  # also whatever a part that ended on its own has left in its group
        one.goes(State.STOPPED, one.running.ending())
        if one.again:
            self._start_again(one)

    def _has_died(self, one: _Watched) -> None:
        others = [other for other in self._watched if other is not one and other.part.group == one.part.group]
        if one.part.group is None or all(other.state in GONE for other in others):
            raise one.running.died()
        one.running.kill()
        one.goes(State.DEAD, one.running.ending())
        said = "".join(f"\n  | {line}" for line in log_tail(one.running.log, lines=5))
        _say(f"{one.running.name} died ({one.detail}); the stack goes on without it{said}")

    def _pause_watching(self, seconds: float) -> None:
        self._signals.pause(seconds)
        for one in self._watched:
            if one.running.has_ended():
                raise one.running.died()

    def stop(self) -> None:
        """Stop all parts, the last one first, each by force if it takes too long.

        After another signal meanwhile (a second Ctrl-C) it kills the rest at once.
        """
        while self._watched:
            running = self._watched[-1].running
            try:
                if not running.stop(self._signals.pause):
                    _say(f"{running.name} did not stop within {running.part.stop_seconds:g} s and was killed")
                self._watched.pop()
            except StopRequestedError:
                self._kill()

    def _kill(self) -> None:
        while self._watched:
            self._watched[-1].running.kill()
            self._watched.pop()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
