"""Bounds on time: how long a command may be tried again, and how long it waits for its turn."""

import logging
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from chalicelib.domain.errors import StoreUnavailableError

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.002
LONGEST_PAUSE_SECONDS = 0.25


class Deadline:
    """The time one command has; its tries are spaced by exponential backoff with full jitter."""

    def __init__(self, limit_ms: int) -> None:
        self._end = time.monotonic() + limit_ms / 1000
        self._last: Exception | None = None

    def remaining_seconds(self) -> float:
        """Return what is left, 0 when the time is up."""
        return max(0.0, self._end - time.monotonic())

    def tries(self) -> Iterator[int]:
        """Yield 1, 2, ... with pauses between, at least once, until the time is up."""
        longest, number = FIRST_PAUSE_SECONDS, 1
        while True:
            yield number
            if not self.remaining_seconds():
                return
            time.sleep(min(random.uniform(0, longest), self.remaining_seconds()))  # noqa: S311  # jitter, no secret
            longest, number = min(longest * 2, LONGEST_PAUSE_SECONDS), number + 1

    def note(self, error: Exception) -> None:
        """Remember why a try failed, for the log."""
        self._last = error

    def store_unavailable(self) -> StoreUnavailableError:
        """Return the error for a command that ran out of time, its reason logged and not shown to the client."""
        log.warning("the database did not confirm a command in time: %s", self._last or "lost every race")
        return StoreUnavailableError("the database did not confirm the command in time; send it again")


class Turns:
    """Locks shared by users: those of one user wait for each other, now and then those of two."""

    def __init__(self, stripes: int = 1024) -> None:
        self._locks = [Lock() for _ in range(stripes)]

    @contextmanager
    def of(self, user: str, deadline: Deadline) -> Iterator[None]:
        """Hold the turn of a user; raises StoreUnavailableError when it does not come in time."""
        lock = self._locks[zlib.crc32(user.encode()) % len(self._locks)]
        if not lock.acquire(timeout=deadline.remaining_seconds()):
            raise StoreUnavailableError("earlier commands of this user took too long; send it again")
        try:
            yield
        finally:
            lock.release()
