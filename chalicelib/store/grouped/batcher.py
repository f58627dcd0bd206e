"""Batching: items that wait at the same time are sent together, and each caller gets its own result."""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Generic, TypeVar

from chalicelib import concurrency
from chalicelib.clock import monotonic_seconds
from chalicelib.domain.errors import PermanentError
from chalicelib.store.errors import StoreError, UnknownOutcomeError

Item = TypeVar("Item")
Result = TypeVar("Result")

Failure = StoreError | PermanentError

WAIT_SECONDS = 5.0
"""By default the longest wait for a batch, like that for an answer (MONGO_TIMEOUT_MS)."""

Send = Callable[[Sequence[Item]], Sequence[Result | Failure]]
"""Sends a batch and returns the result or failure of each item, in order. Raises if it knows of none."""


class Batcher(Generic[Item, Result]):
    """Sends waiting items in batches of up to `limit`, one batch at a time.

    What arrives while a batch is in flight makes the next one, so batches grow with the load: a message has its price,
    which more items share. The first caller of a batch leads it: it sends the batch for all of them. If nothing is in
    flight, it first lets others join.

    While the database does not answer, every batch ahead takes its own time-out. So an item that has waited
    `wait_seconds` when a batch has ended fails.
    """

    def __init__(self, send: Send[Item, Result], limit: int, wait_seconds: float) -> None:
        self._send = send
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._lock = concurrency.Lock()
        self._idle = concurrency.Condition(self._lock)
        self._pending: list[_Waiting[Item, Result]] = []
        self._is_led = False
        self._closed = False

    def submit(self, item: Item) -> Result:
        """Return the result of an item; raises its failure."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            if self._closed:
                raise UnknownOutcomeError("the server is stopping")
            self._pending.append(mine)
            mine.leads, self._is_led = not self._is_led, True
        if mine.leads:
            concurrency.sleep(0)
        else:
            mine.turn.wait()
        if mine.leads:
            self._lead()
            concurrency.sleep(0)  # the next leader sends before this one's answer is made
        if isinstance(mine.result, Failure):
            raise mine.result
        return mine.result

    def close(self) -> None:
        """Wait until everything has been sent and answered; nothing is accepted afterwards."""
        with self._lock:
            self._closed = True
            self._idle.wait_for(lambda: not self._is_led)

    def _lead(self) -> None:
        """Send the next batch, let the one after it go, and tell the members their results."""
        with self._lock:
            batch, self._pending = self._pending[: self._limit], self._pending[self._limit :]
        results: Sequence[Result | Failure]
        try:
            results = self._send([one.item for one in batch])
        except BaseException as error:  # a member that is not told would wait for ever
            results = [UnknownOutcomeError(str(error))] * len(batch)
            if not isinstance(error, Exception):
                raise
        finally:
            self._hand_over()  # before the results are delivered: no idle database
            for one, result in zip(batch, results, strict=True):
                one.result = result
                one.turn.set()

    def _hand_over(self) -> None:
        """Fail those who have waited too long, and let the first of the others lead the next batch."""
        latest = monotonic_seconds() - self._wait_seconds
        with self._lock:
            overdue = list(takewhile(lambda one: one.since <= latest, self._pending))
            del self._pending[: len(overdue)]
            leader = self._pending[0] if self._pending else None
            self._is_led = leader is not None
            if self._closed:  # only `close` waits; under gevent a notification yields, here with the lock held
                self._idle.notify_all()
        if leader is not None:
            leader.leads = True
            leader.turn.set()
        for one in overdue:
            one.result = UnknownOutcomeError(f"not sent: the database was busy for {self._wait_seconds:g} s")
            one.turn.set()


MakeBatcher = Callable[[Callable[[Sequence[Any]], Sequence[Any]], int, float], Batcher[Any, Any]]
"""Makes a batcher from a batch sender, a limit, and the longest wait in seconds."""


def untold(_operation: str, _size: int) -> None:
    """Ignore a group."""


class _Waiting(Generic[Item, Result]):
    """An item, and its caller's signal: to lead the next batch, or that the result is there."""

    __slots__ = ("item", "leads", "result", "since", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = concurrency.Event()
        self.leads = False
        self.since = monotonic_seconds()
        self.result: Result | Failure
