"""Commands of one user within a process run one after the other, first come, first served."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib import concurrency
from chalicelib.service.deadline import Deadline


class UserQueues:
    """A queue for each user who has a command under way; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = concurrency.Lock()
        self._waiting: dict[str, deque[concurrency.Event]] = {}  # those behind the command that runs, by user

    @contextmanager
    def turn(self, user: str, deadline: Deadline) -> Iterator[bool]:
        """Hold the user's turn; the value is whether others had it in between.

        Raises TooLateError when the turn does not come in time.
        """
        waited = self._take(user, deadline)
        try:
            yield waited
        finally:
            self._pass_on(user)

    def _take(self, user: str, deadline: Deadline) -> bool:
        with self._lock:
            queue = self._waiting.get(user)
            if queue is None:
                self._waiting[user] = deque()
                return False
            mine = concurrency.Event()
            queue.append(mine)
        if not mine.wait(deadline.remaining_seconds()):
            self._leave(user, mine)
            raise deadline.too_late()
        return True

    def _pass_on(self, user: str) -> None:
        with self._lock:
            queue = self._waiting[user]
            following = queue.popleft() if queue else None
            if following is None:
                del self._waiting[user]
        if following is not None:
            following.set()

    def _leave(self, user: str, mine: concurrency.Event) -> None:
        with self._lock:
            queue = self._waiting[user]
            is_still_waiting = mine in queue
            if is_still_waiting:
                queue.remove(mine)
        if not is_still_waiting:  # it came at that very moment
            self._pass_on(user)
