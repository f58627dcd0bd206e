"""Waiting for a signal that is blocked."""

import signal
import time
from collections.abc import Collection

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_OR_HANG_UP = (*STOP_SIGNALS, signal.SIGHUP)
"""Also when the terminal goes: for what somebody starts by hand."""

_LOOK_SECONDS = 0.05


def is_pending(numbers: Collection[signal.Signals]) -> bool:
    """Return whether one of these signals, which are blocked, has come and was not taken."""
    return not signal.sigpending().isdisjoint(numbers)


def comes(numbers: Collection[signal.Signals], seconds: float) -> bool:
    """Return whether one of these signals comes within the time; it is then taken.

    All threads of the process must have blocked them, so they are blocked before the first thread is started: one that
    has not would get the signal, and its default action.

    Not by `signal.sigtimedwait`: when the process stands still for longer than the time (SIGSTOP, Ctrl-Z) and goes on,
    that of CPython 3.11 returns as if a signal had come, with what happens to be in memory in its place.
    """
    end = time.monotonic() + seconds
    while not is_pending(numbers):
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _LOOK_SECONDS))
    signal.sigwait(numbers)
    return True
