"""Commands of one user run one after the other within a process, first come, first served."""

from collections import deque

from chalicelib import concurrency
from chalicelib.service.deadline import Deadline


class UserQueues:
    """A queue for each user with a command in progress; thread-safe."""

    def __init__(self) -> None:
        self._lock = concurrency.Lock()
        self._waiting: dict[str, deque[concurrency.Event]] = {}  # the commands waiting behind the running one, by user

    def turn(self, user: str, deadline: Deadline) -> "_Turn":
        """Return a context manager that holds the user's turn; its value says whether others had it in between.

        Entering it raises TooLateError if the turn does not come in time.
        """
        return _Turn(self, user, deadline)

    def take(self, user: str, deadline: Deadline) -> bool:
        """Wait for the user's turn and take it; return whether others had it in between. Raises TooLateError."""
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

    def pass_on(self, user: str) -> None:
        """Pass the user's turn to the next command."""
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
        if not is_still_waiting:  # the turn came at that very moment
            self.pass_on(user)


class _Turn:
    """A user's turn, held from `with` to its end."""

    __slots__ = ("_deadline", "_queues", "_user")

    def __init__(self, queues: UserQueues, user: str, deadline: Deadline) -> None:
        self._queues = queues
        self._user = user
        self._deadline = deadline

    def __enter__(self) -> bool:
        return self._queues.take(self._user, self._deadline)

    def __exit__(self, *_: object) -> None:
        self._queues.pass_on(self._user)
