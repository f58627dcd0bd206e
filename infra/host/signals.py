"""Waits for blocked signals."""

import signal
import time
from collections.abc import Collection

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_OR_HANG_UP = (*STOP_SIGNALS, signal.SIGHUP)
"""Also when the terminal closes: for programs started by hand."""

_LOOK_SECONDS = 0.05


def is_pending(numbers: Collection[signal.Signals]) -> bool:
    """Return whether one of these blocked signals is pending."""
    return not signal.sigpending().isdisjoint(numbers)


def comes(numbers: Collection[signal.Signals], seconds: float) -> bool:
    """Return whether one of these signals comes in time; it is then consumed.

    All threads of the process must have blocked them, so they are blocked before the first thread starts: a thread that
    has not would get the signal, and its default action.

    `signal.sigtimedwait` is not used: if the process is stopped for longer than the time-out (SIGSTOP, Ctrl-Z), CPython
    3.11's returns as if a signal had come, with whatever is in memory.
    """
    end = time.monotonic() + seconds
    while not is_pending(numbers):
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _LOOK_SECONDS))
    signal.sigwait(numbers)
    return True
