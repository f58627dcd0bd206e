"""A bounded number of threads that work through any number of ordered streams.

Only one thread at a time has a stream, so its items are processed in order. The queue decides which stream is next, and
when: `RoundRobin` serves all evenly and as fast as possible, `DueQueue` keeps to a schedule.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

Worker = TypeVar("Worker")
Item = TypeVar("Item")

NEVER_NS = 2**63

_LOOK_UP_S = 0.1
"""How often a waiting thread checks whether the run is stopping."""


class Turn(NamedTuple, Generic[Item]):
    """An item, its stream, and what it waited for. Times are those of `time.perf_counter_ns`.

    It was due at `due_ns`. At `ready_ns` the item before it was done or, if it is the `first`, its stream arrived.
    Until `free_ns` no thread was free. Without a schedule the times are zero.
    """

    item: Item
    stream: Iterator[Item]
    due_ns: int = 0
    ready_ns: int = 0
    free_ns: int = 0
    first: bool = False


class WorkQueue(Protocol[Item]):
    """Streams in the order of their turns, for any number of threads."""

    def __len__(self) -> int:
        """Return how many streams wait."""

    def take(self, stopping: threading.Event) -> Turn[Item] | None:
        """Return the next turn when its time has come; None if nothing is left to take, or the time is over.

        Nothing is left when every unfinished stream is with another thread.
        """

    def give_back(self, stream: Iterator[Item]) -> None:
        """Return a stream whose item was done."""


class RoundRobin(Generic[Item]):
    """All streams in turn: after its turn a stream goes to the end of the queue. Nothing is taken after `ends_ns`."""

    def __init__(self, streams: Iterable[Iterable[Item]], ends_ns: int = NEVER_NS) -> None:
        self._ready = deque(iter(stream) for stream in streams)
        self._ends_ns = ends_ns

    def __len__(self) -> int:
        return len(self._ready)

    def take(self, stopping: threading.Event) -> Turn[Item] | None:
        """Return the next turn."""
        if self._ends_ns != NEVER_NS and time.perf_counter_ns() >= self._ends_ns:
            return None
        while not stopping.is_set():
            try:
                stream = self._ready.popleft()
            except IndexError:
                return None
            for item in stream:
                return Turn(item, stream)
        return None

    def give_back(self, stream: Iterator[Item]) -> None:
        """Return a stream."""
        self._ready.append(stream)


class _Waiting(NamedTuple, Generic[Item]):
    """An entry of the heap, ordered by due time, then by arrival."""

    due_ns: int
    number: int
    turn: Turn[Item]


class DueQueue(Generic[Item]):
    """The stream whose next item is due first. No item is taken before it is due, and none after `ends_ns`.

    `due_ns` gives an item's time on the clock of `time.perf_counter_ns`.
    """

    def __init__(
        self, streams: Iterable[Iterable[Item]], due_ns: Callable[[Item], int], ends_ns: int = NEVER_NS
    ) -> None:
        self._due_ns = due_ns
        self._ends_ns = ends_ns
        self._changed = threading.Condition(threading.Lock())
        self._heap: list[_Waiting[Item]] = []
        self._number = 0
        self._idle = 0
        """How many threads wait for an item."""
        self._watcher: object = None
        """The thread that waits for the first item's time; the others wait to be notified."""
        now_ns = time.perf_counter_ns()
        for stream in streams:
            self._push(iter(stream), now_ns, first=True)

    def __len__(self) -> int:
        return len(self._heap)

    def take(self, stopping: threading.Event) -> Turn[Item] | None:
        """Return the next turn when its item is due."""
        free_ns = time.perf_counter_ns()
        with self._changed:
            if self._idle:
                free_ns = 0  # others were free before this thread
            self._idle += 1
            turn = self._wait_for_turn(stopping)
            self._idle -= 1
            if turn is None:
                self._changed.notify_all()
                return None
            self._changed.notify()
            return turn._replace(free_ns=free_ns)

    def give_back(self, stream: Iterator[Item]) -> None:
        """Return a stream."""
        now_ns = time.perf_counter_ns()
        with self._changed:
            if self._push(stream, now_ns, first=False):
                self._watcher = None  # it waits for a later item: the next thread to wake waits for this one
                self._changed.notify()

    def _wait_for_turn(self, stopping: threading.Event) -> Turn[Item] | None:
        while self._heap and not stopping.is_set():
            due_ns, now_ns = self._heap[0].due_ns, time.perf_counter_ns()
            if max(due_ns, now_ns) >= self._ends_ns:
                return None
            wait_s = (due_ns - now_ns) / 1e9
            if wait_s <= 0:
                return heapq.heappop(self._heap).turn
            if self._watcher is not None:
                self._changed.wait()
            else:
                self._watch(min(wait_s, _LOOK_UP_S))
        return None

    def _watch(self, wait_s: float) -> None:
        me = self._watcher = threading.get_ident()
        self._changed.wait(wait_s)
        if self._watcher == me:
            self._watcher = None

    def _push(self, stream: Iterator[Item], ready_ns: int, *, first: bool) -> bool:
        """Add a stream; return whether its item is now the first."""
        for item in stream:
            self._number += 1
            due_ns = self._due_ns(item)
            entry = _Waiting(due_ns, self._number, Turn(item, stream, due_ns, ready_ns, 0, first))
            heapq.heappush(self._heap, entry)
            return self._heap[0] is entry
        return False


def work_through(
    workers: Sequence[Worker],
    queue: WorkQueue[Item],
    perform: Callable[[Worker, Turn[Item]], None],
    stopping: threading.Event,
) -> None:
    """Process every item of a queue, with one thread per worker; return when all is done.

    Once `stopping` is set, no further item is begun. The first exception of `perform` sets it and is raised here.
    """
    failures: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            while (turn := queue.take(stopping)) is not None:
                perform(worker, turn)
                queue.give_back(turn.stream)
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            failures.append(error)
            stopping.set()

    threads = [
        threading.Thread(target=work, args=(worker,), name=f"replay-{number}", daemon=True)
        for number, worker in enumerate(workers[: len(queue)], 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
