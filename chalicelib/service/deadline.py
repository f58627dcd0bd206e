"""Bounds on time: how long a command may be tried again, and how long it waits for its turn."""

import logging
import random
import time
from collections import deque
from collections.abc import Iterator

from chalicelib import concurrency
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
            concurrency.sleep(min(random.uniform(0, longest), self.remaining_seconds()))  # noqa: S311  # jitter, no secret
            longest, number = min(longest * 2, LONGEST_PAUSE_SECONDS), number + 1

    def note(self, error: Exception) -> None:
        """Remember why a try failed, for the log."""
        self._last = error

    def store_unavailable(self) -> StoreUnavailableError:
        """Return the error for a command that ran out of time, its reason logged and not shown to the client."""
        log.warning("the database did not confirm a command in time: %s", self._last or "lost every race")
        return StoreUnavailableError("the database did not confirm the command in time")


class Turns:
    """Lets those who ask for one user's turn have it one after the other, first come, first served."""

    def __init__(self) -> None:
        self._lock = concurrency.Lock()
        self._queues: dict[str, deque[concurrency.Event]] = {}  # of each user whose turn somebody has: who waits for it

    def of(self, user: str, deadline: Deadline) -> "_Turn":
        """Return what holds the turn of a user as long as it is entered.

        To enter it raises StoreUnavailableError when the turn does not come in time.
        """
        return _Turn(self, user, deadline)

    def take(self, user: str, deadline: Deadline) -> None:
        """Have the turn of a user from now on; raises StoreUnavailableError when it does not come in time."""
        mine: concurrency.Event | None = None
        with self._lock:
            queue = self._queues.get(user)
            if queue is None:
                self._queues[user] = deque()
            else:
                mine = concurrency.Event()
                queue.append(mine)
        if mine is not None and not mine.wait(deadline.remaining_seconds()):
            self._give_up(user, mine)
            raise StoreUnavailableError("earlier commands of this user took too long")

    def pass_on(self, user: str) -> None:
        """Let the next one have the turn of a user."""
        with self._lock:
            queue = self._queues[user]
            following = queue.popleft() if queue else None
            if following is None:
                del self._queues[user]
        if following is not None:
            following.set()

    def _give_up(self, user: str, mine: concurrency.Event) -> None:
        with self._lock:
            queue = self._queues[user]
            is_still_waiting = mine in queue
            if is_still_waiting:
                queue.remove(mine)
        if not is_still_waiting:  # it came at that very moment
            self.pass_on(user)


class _Turn:
    """The turn of a user, held from `with` to its end."""

    __slots__ = ("_deadline", "_turns", "_user")

    def __init__(self, turns: Turns, user: str, deadline: Deadline) -> None:
        self._turns = turns
        self._user = user
        self._deadline = deadline

    def __enter__(self) -> None:
        self._turns.take(self._user, self._deadline)

    def __exit__(self, *_: object) -> None:
        self._turns.pass_on(self._user)
