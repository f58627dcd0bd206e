"""A bounded number of threads that work through any number of ordered streams.

A stream is in the hands of one thread at a time and goes back to the end of the queue after each item: so its items
are done one after another, in their order, and all streams make progress evenly.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Worker = TypeVar("Worker")
Item = TypeVar("Item")


def work_through(
    workers: Sequence[Worker],
    streams: Iterable[Iterator[Item]],
    perform: Callable[[Worker, Item], None],
    stopping: threading.Event,
) -> None:
    """Perform every item of every stream, with one thread for each worker; return when all is done.

    Once `stopping` is set, no further item is begun. The first exception of `perform` sets it and is raised here.
    """
    ready = deque(streams)
    failures: list[BaseException] = []

    def work(worker: Worker) -> None:
        try:
            # Nothing ready means that each stream left is in another thread's hands: this one is not needed.
            while ready and not stopping.is_set():
                try:
                    stream = ready.popleft()
                except IndexError:
                    return
                for item in stream:
                    perform(worker, item)
                    ready.append(stream)
                    break
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            failures.append(error)
            stopping.set()

    threads = [
        threading.Thread(target=work, args=(worker,), name=f"replay-{number}", daemon=True)
        for number, worker in enumerate(workers[: len(ready)], 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
