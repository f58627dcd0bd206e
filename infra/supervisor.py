"""Start parts in order, watch them, stop them in reverse: one thread, and signals as something it waits for."""

import signal
import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from infra import parts
from infra.parts import Part, RunningPart

_WATCH_SECONDS = 0.2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(Exception):
    """Somebody asked the process to stop: Ctrl-C, SIGTERM, or the terminal is gone."""


class StopSignals:
    """Within it, a signal to stop interrupts nothing: it waits until `pause` takes it.

    So there is no moment at which a signal could come between starting a process and knowing of it.
    """

    def __enter__(self) -> Self:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while signal.sigtimedwait(_STOP_SIGNALS, 0) is not None:
            pass  # asked again while it was stopping: it has stopped
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def pause(self, seconds: float) -> None:
        """Wait; raises StopRequestedError when a signal to stop has come."""
        if signal.sigtimedwait(_STOP_SIGNALS, seconds) is not None:
            raise StopRequestedError


class Supervisor:
    """The parts that run. Use it from one thread only: the parts die with the thread that starts them."""

    def __init__(self, logs: Path, signals: StopSignals, keep_open: Collection[int] = ()) -> None:
        self._logs = logs
        self._signals = signals
        self._keep_open = keep_open
        self._running: list[RunningPart] = []

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part that was started."""
        return {part.name: part.pid for part in self._running}

    def start(self, part: Part) -> None:
        """Start a part and wait until it serves.

        Raises PartDiedError when it, or one before it, has ended, PartNotReadyError, or StopRequestedError.
        """
        running = parts.start(part, self._logs, self._keep_open)
        self._running.append(running)
        running.wait_until_ready(self._pause_watching)

    def watch(self) -> None:
        """Watch the parts until one ends (PartDiedError) or a signal to stop comes (StopRequestedError)."""
        while True:
            self._pause_watching(_WATCH_SECONDS)
            for part in self._running:
                part.bound_log()

    def _pause_watching(self, seconds: float) -> None:
        self._signals.pause(seconds)
        for part in self._running:
            if part.has_ended():
                raise part.died()

    def stop(self) -> None:
        """Stop all parts, the last one first, each by force when it takes too long.

        Asked again while at it (a second Ctrl-C), it kills what is left at once.
        """
        while self._running:
            part = self._running[-1]
            try:
                if not part.stop(self._signals.pause):
                    seconds = part.part.stop_seconds
                    print(f"{part.name} did not stop within {seconds:g} s and was killed", file=sys.stderr)
                self._running.pop()
            except StopRequestedError:
                self._kill()

    def _kill(self) -> None:
        while self._running:
            self._running[-1].kill()
            self._running.pop()
