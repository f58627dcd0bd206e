"""Living with a part that is away: not waiting for it again and again, and not filling the log with it."""

import logging
from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import monotonic_seconds

Monotonic = Callable[[], float]
"""Returns seconds that only ever go up."""

FAILURES_TO_BREAK = 3
"""One slow answer is no outage. So many in a row, over all threads, are one; calls that overlap fail as one."""

MINUTE_SECONDS = 60.0


class CircuitBreaker:
    """Keeps callers from a part that failed several times in a row, but for one of them every `pause_seconds`.

    So an outage costs one time-out a pause and not one a request, and the part is in use again within a pause of its
    return.
    """

    def __init__(self, pause_seconds: float, monotonic: Monotonic = monotonic_seconds) -> None:
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._failures = 0
        self._changed = 0.0
        self._next_try = 0.0

    def begin(self) -> float | None:
        """Return when the caller begins to use the part, None if it must not; it must tell how that went."""
        began = self._monotonic()
        if self._failures < FAILURES_TO_BREAK:  # without the lock: this is the way of every request on a good day
            return began
        with self._lock:
            if began < self._next_try:
                return None
            self._next_try = began + self._pause_seconds
            return began

    def failed(self, began: float) -> None:
        """Note that the part failed a caller that began to use it at `began`.

        A call that was under way when another one failed, or ended an outage, says nothing that is not known: one
        stall of a second meets every thread there is, and the last to learn of an outage must not begin the next one.
        """
        with self._lock:
            if began < self._changed:
                return
            self._failures += 1
            self._changed = self._monotonic()
            self._next_try = self._changed + self._pause_seconds

    def succeeded(self) -> bool:
        """Note that the part did its work; return whether that ends an outage."""
        if not self._failures:
            return False
        with self._lock:
            was_out, self._failures = self._failures >= FAILURES_TO_BREAK, 0
            self._changed = self._monotonic()
            return was_out


class SeldomLog:
    """Warns of one kind of trouble at most once a minute, and says how often it was not said in between."""

    def __init__(self, log: logging.Logger, monotonic: Monotonic = monotonic_seconds) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._silent_until: float | None = None
        self._unsaid = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Warn, unless it was done less than a minute ago."""
        with self._lock:
            now = self._monotonic()
            if self._silent_until is not None and now < self._silent_until:
                self._unsaid += 1
                return
            unsaid, self._unsaid = self._unsaid, 0
            self._silent_until = now + MINUTE_SECONDS
        if unsaid:
            message, arguments = f"{message} (and %d more like it before)", (*arguments, unsaid)
        self._log.warning(message, *arguments)
