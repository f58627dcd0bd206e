"""Batching: items that wait at the same time are sent together, and each caller gets its own result."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from chalicelib import concurrency
from chalicelib.domain.errors import PermanentError
from chalicelib.store.errors import StoreError, UnknownOutcomeError

Item = TypeVar("Item")
Result = TypeVar("Result")

Failure = StoreError | PermanentError

Send = Callable[[Sequence[Item]], Sequence[Result | Failure]]
"""Sends a batch and returns the result or failure of each item, in order. Raises if it knows of none."""


class Batcher(Generic[Item, Result]):
    """Sends waiting items in batches of up to `limit`, at most `at_once` batches at a time.

    A batch is sent when it has its share of the recent number of concurrent items. With 45 clients that each wait for
    an answer, two batches of about twenty keep both server and database busy; with one of 45 they would take turns. A
    smaller batch is sent only if none is in flight and every caller that could join has had the chance to: a message
    has its price, and the batch in flight will return soon (Nagle's algorithm).

    The last caller to join a batch leads it: it sends the batch for all of them.
    """

    def __init__(self, send: Send[Item, Result], limit: int, at_once: int) -> None:
        self._send = send
        self._limit = limit
        self._at_once = at_once
        self._lock = concurrency.Lock()
        self._landed = concurrency.Condition(self._lock)
        self._pending: list[_Waiting[Item, Result]] = []
        self._is_gathering = False  # a caller lets others join before it takes a batch
        self._batches_under_way = 0
        self._items_under_way = 0
        self._crowd = 0
        self._closed = False

    def submit(self, item: Item) -> Result:
        """Return the result of an item; raises its failure."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._lock:
            if self._closed:
                raise UnknownOutcomeError("the server is stopping")
            self._pending.append(mine)
            batches = self._take_batches() if len(self._pending) >= self._share() else []
            gathers = bool(self._pending) and not self._is_gathering
            self._is_gathering = self._is_gathering or gathers
        _wake_leaders(batches)
        if gathers:
            concurrency.sleep(0)
            with self._lock:
                self._is_gathering = False
                batches = self._take_batches()
            _wake_leaders(batches)
        mine.turn.wait()
        if mine.batch.leader is mine:
            self._carry_out(mine.batch)
        result = mine.batch.results[mine.place]
        if isinstance(result, Failure):
            raise result
        return result

    def close(self) -> None:
        """Wait until everything has been sent and answered; nothing is accepted afterwards."""
        with self._lock:
            self._closed = True
            self._landed.wait_for(lambda: not self._pending and not self._batches_under_way)

    def _share(self) -> int:
        return max(1, min(self._limit, -(-self._crowd // self._at_once)))

    def _take_batches(self) -> "list[_Batch[Item, Result]]":
        """Take the batches that are to be sent now; called with the lock held."""
        batches: list[_Batch[Item, Result]] = []
        while self._pending and self._batches_under_way < self._at_once:
            if self._batches_under_way and len(self._pending) < self._share():
                break
            batches.append(self._take_batch())
        return batches

    def _take_batch(self) -> "_Batch[Item, Result]":
        # Follows a growing load at once, a shrinking one within a few batches.
        self._crowd = max(len(self._pending) + self._items_under_way, self._crowd - self._crowd // 8 - 1)
        share = self._share()
        batch, self._pending = _Batch(self._pending[:share]), self._pending[share:]
        self._batches_under_way += 1
        self._items_under_way += len(batch.members)
        return batch

    def _carry_out(self, batch: "_Batch[Item, Result]") -> None:
        """Send a batch, tell its members the results, and let the next batch go."""
        try:
            batch.results = self._send([one.item for one in batch.members])
        except BaseException as error:  # a member that is not told would wait for ever
            batch.results = [UnknownOutcomeError(str(error))] * len(batch.members)
            if not isinstance(error, Exception):
                raise
        finally:
            self._note_landed(batch)
            for one in batch.members:
                one.turn.set()

    def _note_landed(self, batch: "_Batch[Item, Result]") -> None:
        """Make room for the next batch, which is sent before this one's results are delivered: no idle database."""
        with self._lock:
            self._batches_under_way -= 1
            self._items_under_way -= len(batch.members)
            batches = self._take_batches()
            if self._closed:  # only `close` waits; under gevent a notification yields, here with the lock held
                self._landed.notify_all()
        _wake_leaders(batches)


MakeBatcher = Callable[[Callable[[Sequence[Any]], Sequence[Any]], int, int], Batcher[Any, Any]]
"""Makes a batcher from a batch sender, a limit, and a number of batches at once."""


def untold(_operation: str, _size: int) -> None:
    """Ignore a group."""


class _Waiting(Generic[Item, Result]):
    """An item in flight, and its caller's signal: to lead its batch, or that the result is there."""

    __slots__ = ("batch", "item", "place", "turn")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = concurrency.Event()
        self.batch: _Batch[Item, Result]
        self.place: int


class _Batch(Generic[Item, Result]):
    """Items sent together by the last of them."""

    __slots__ = ("leader", "members", "results")

    def __init__(self, members: Sequence[_Waiting[Item, Result]]) -> None:
        self.members = members
        self.leader = members[-1]
        self.results: Sequence[Result | Failure] = ()
        for place, member in enumerate(members):
            member.batch, member.place = self, place


def _wake_leaders(batches: Sequence[_Batch[Item, Result]]) -> None:
    for batch in batches:
        batch.leader.turn.set()
