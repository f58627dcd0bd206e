"""A circuit breaker for a service that is down, and a log that does not repeat itself."""

import logging
from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import monotonic_seconds

Monotonic = Callable[[], float]
"""Returns seconds of a monotonic clock."""

FAILURES_TO_BREAK = 3
"""One slow call is no outage; this many in a row, over all threads, are. Overlapping calls count as one failure."""

MINUTE_SECONDS = 60.0


class CircuitBreaker:
    """Stops calls to a service that failed several times in a row, except for one every `pause_seconds`.

    An outage then costs one time-out per pause instead of one per request, and the service is used again within a pause
    of its return.
    """

    def __init__(self, pause_seconds: float, monotonic: Monotonic = monotonic_seconds) -> None:
        self._pause_seconds = pause_seconds
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._failures = 0
        self._changed = 0.0
        self._next_try = 0.0

    def begin(self) -> float | None:
        """Return the start time of a call, or None if it must not be made. The caller must report the outcome."""
        began = self._monotonic()
        if self._failures < FAILURES_TO_BREAK:  # without the lock: every request passes here while all is well
            return began
        with self._lock:
            if began < self._next_try:
                return None
            self._next_try = began + self._pause_seconds
            return began

    def failed(self, began: float) -> None:
        """Record that a call begun at `began` failed.

        A call that began before the last failure, or before an outage ended, is ignored: one stall of a second hits
        every thread, and the last to notice must not begin another outage.
        """
        with self._lock:
            if began < self._changed:
                return
            self._failures += 1
            self._changed = self._monotonic()
            self._next_try = self._changed + self._pause_seconds

    def succeeded(self) -> bool:
        """Record a success; return whether it ends an outage."""
        if not self._failures:
            return False
        with self._lock:
            was_out, self._failures = self._failures >= FAILURES_TO_BREAK, 0
            self._changed = self._monotonic()
            return was_out


class SeldomLog:
    """Logs one kind of warning at most once a minute, and says how many were suppressed."""

    def __init__(self, log: logging.Logger, monotonic: Monotonic = monotonic_seconds) -> None:
        self._log = log
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._silent_until: float | None = None
        self._unsaid = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, unless one was logged less than a minute ago."""
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
