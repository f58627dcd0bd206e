"""A bounded number of threads that work through any number of ordered streams.

A stream is in the hands of one thread at a time: so its items are done one after another, in their order. Which stream
is next, and when, is the rota's business: `Turns` serves all evenly and as fast as it goes, `Timetable` keeps to a
schedule.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

Worker = TypeVar("Worker")
Item = TypeVar("Item")

_LOOK_UP_S = 0.1
"""How often a thread that waits for a moment looks whether the run is stopping."""


class Rota(Protocol[Item]):
    """Streams in the order of their turns, for any number of threads."""

    def __len__(self) -> int:
        """Return how many streams wait."""

    def take(self, stopping: threading.Event) -> tuple[Item, Iterator[Item]] | None:
        """Return the next item and the stream it is from, when its time has come; None when nothing is left to take.

        Nothing left means that every stream that is not at its end is in another thread's hands.
        """

    def give_back(self, stream: Iterator[Item]) -> None:
        """Take back a stream whose item was done."""


class Turns(Generic[Item]):
    """All streams in turn: one that was served goes to the end of the queue."""

    def __init__(self, streams: Iterable[Iterable[Item]]) -> None:
        self._ready = deque(iter(stream) for stream in streams)

    def __len__(self) -> int:
        return len(self._ready)

    def take(self, stopping: threading.Event) -> tuple[Item, Iterator[Item]] | None:
        """Return the next item and its stream."""
        while not stopping.is_set():
            try:
                stream = self._ready.popleft()
            except IndexError:
                return None
            for item in stream:
                return item, stream
        return None

    def give_back(self, stream: Iterator[Item]) -> None:
        """Take back a stream."""
        self._ready.append(stream)


class Timetable(Generic[Item]):
    """The stream whose next item is due first; an item is not taken before it is due.

    `due_ns` gives the time of an item on the clock of `time.perf_counter_ns`.
    """

    def __init__(self, streams: Iterable[Iterable[Item]], due_ns: Callable[[Item], int]) -> None:
        self._due_ns = due_ns
        self._changed = threading.Condition(threading.Lock())
        self._heap: list[tuple[int, int, Item, Iterator[Item]]] = []
        self._number = 0
        self._watcher: object = None
        """The thread that waits for the first item's time; the others wait to be told."""
        for stream in streams:
            self._push(iter(stream))

    def __len__(self) -> int:
        return len(self._heap)

    def take(self, stopping: threading.Event) -> tuple[Item, Iterator[Item]] | None:
        """Return the next item and its stream, when the item is due."""
        with self._changed:
            while self._heap and not stopping.is_set():
                wait_s = (self._heap[0][0] - time.perf_counter_ns()) / 1e9
                if wait_s <= 0:
                    _, _, item, stream = heapq.heappop(self._heap)
                    self._changed.notify()
                    return item, stream
                if self._watcher is not None:
                    self._changed.wait()
                else:
                    self._watch(min(wait_s, _LOOK_UP_S))
            self._changed.notify_all()
            return None

    def give_back(self, stream: Iterator[Item]) -> None:
        """Take back a stream."""
        with self._changed:
            if self._push(stream):
                self._watcher = None  # it waits for a later item: whoever wakes waits for this one
                self._changed.notify()

    def _watch(self, wait_s: float) -> None:
        me = self._watcher = threading.get_ident()
        self._changed.wait(wait_s)
        if self._watcher == me:
            self._watcher = None

    def _push(self, stream: Iterator[Item]) -> bool:
        """Put in a stream; return whether its item is now the first."""
        for item in stream:
            self._number += 1
            entry = (self._due_ns(item), self._number, item, stream)
            heapq.heappush(self._heap, entry)
            return self._heap[0] is entry
        return False


def work_through(
    workers: Sequence[Worker],
    rota: Rota[Item],
    perform: Callable[[Worker, Item], None],
    stopping: threading.Event,
) -> None:
    """Perform every item of a rota, with one thread for each worker; return when all is done.

    Once `stopping` is set, no further item is begun. The first exception of `perform` sets it and is raised here.
    """
    failures: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            while (turn := rota.take(stopping)) is not None:
                item, stream = turn
                perform(worker, item)
                rota.give_back(stream)
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            failures.append(error)
            stopping.set()

    threads = [
        threading.Thread(target=work, args=(worker,), name=f"replay-{number}", daemon=True)
        for number, worker in enumerate(workers[: len(rota)], 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
