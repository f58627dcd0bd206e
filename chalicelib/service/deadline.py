"""The time limit of a command, and the pauses between its tries."""

import logging
import random
from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import Clock, monotonic_seconds, now_ms
from chalicelib.domain.errors import StoreUnavailableError, TooLateError, UnavailableError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.25


class Deadline:
    """The time limit of one command, counted from the arrival of its request (docs/rules.md section 7).

    `arrived_ms` is when the first server received the request; if it is missing or in the future, it is now. The time
    is up when either the wall clock or the monotonic clock says so: a suspended process may see only one of them
    advance.
    """

    def __init__(
        self,
        limit_ms: int,
        arrived_ms: int | None = None,
        clock: Clock = now_ms,
        timer: Callable[[], float] = monotonic_seconds,
    ) -> None:
        now = clock()
        arrived = now if arrived_ms is None else min(arrived_ms, now)
        self._limit_ms = limit_ms
        self._clock = clock
        self._timer = timer
        self._end_ms = arrived + limit_ms
        self._end_seconds = timer() + (self._end_ms - now) / 1000
        self._longest_pause = FIRST_PAUSE_SECONDS

    def remaining_seconds(self) -> float:
        """Return the time left, 0 when it is up."""
        return max(0.0, min(self._end_seconds - self._timer(), (self._end_ms - self._clock()) / 1000))

    def pause(self) -> bool:
        """Wait before another try: exponential backoff with full jitter. Return False, at once, if the time is up.

        The last pause ends at the deadline, so that the outcome of a try is still looked up.
        """
        remaining = self.remaining_seconds()
        if not remaining:
            return False
        concurrency.sleep(min(random.uniform(0, self._longest_pause), remaining))  # noqa: S311  # jitter, no secret
        self._longest_pause = min(self._longest_pause * 2, LONGEST_PAUSE_SECONDS)
        return True

    def too_late(self) -> TooLateError:
        """Return the error for a command that was not begun in time."""
        return TooLateError(f"the command was not begun within {self._limit_ms / 1000:g} s of its arrival")

    def failure(self, last: Exception | None) -> UnavailableError:
        """Return the error for a command that ran out of time, given the error of its last failed try.

        `last` is None for a command that lost every race: it changed nothing.
        """
        if last is None:
            return self.too_late()
        log.warning("the database did not confirm a command in time: %s", last)  # the reason is not for the client
        return StoreUnavailableError("the database did not confirm the command in time")
