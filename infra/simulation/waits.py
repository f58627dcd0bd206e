"""Synchronization primitives in virtual time: replace those of `chalicelib.concurrency` and `chalicelib.clock`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple, Self
from unittest import mock

from chalicelib import clock, concurrency
from infra.simulation.scheduler import NS, Actor, Scheduler

Token = tuple[Actor, int]


def _limit_ns(timeout: float | None) -> int | None:
    return None if timeout is None or timeout < 0 else round(timeout * NS)


class Semaphore:
    """A semaphore; waiters get it in order of arrival."""

    def __init__(self, scheduler: Scheduler, value: int = 1) -> None:
        self._scheduler = scheduler
        self._free = value
        self._waiting: deque[Token] = deque()

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Acquire it; return False if that was not possible in time."""
        if self._free:
            self._free -= 1
            return True
        if not blocking:
            return False
        token = self._scheduler.token()
        self._waiting.append(token)
        if self._scheduler.wait(_limit_ns(timeout)):
            return True
        if token in self._waiting:
            self._waiting.remove(token)
            return False
        return True  # it was handed over at that very moment

    def release(self) -> None:
        """Hand it to the next waiter."""
        while self._waiting:
            token = self._waiting.popleft()
            if not token[0].is_done and token[0].turn == token[1]:
                self._scheduler.wake(token, given=True)
                return
        self._free += 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Lock(Semaphore):
    """A lock."""

    def locked(self) -> bool:
        """Return whether it is held."""
        return not self._free


class Condition:
    """Wakes those who wait for a change."""

    def __init__(self, scheduler: Scheduler, lock: Lock | None = None) -> None:
        self._scheduler = scheduler
        self._lock = lock or Lock(scheduler)
        self._waiting: list[Token] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait for a notification, and acquire it again; return whether there was one."""
        token = self._scheduler.token()
        self._waiting.append(token)
        self._lock.release()
        told = bool(self._scheduler.wait(_limit_ns(timeout)))
        if token in self._waiting:
            self._waiting.remove(token)
        self._lock.acquire()
        return told

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until a predicate holds; return whether it does."""
        end_ns = None if timeout is None else self._scheduler.now_ns + round(timeout * NS)
        while not predicate():
            left = None if end_ns is None else (end_ns - self._scheduler.now_ns) / NS
            if left is not None and left <= 0:
                return False
            self.wait(left)
        return True

    def notify(self, n: int = 1) -> None:
        """Wake some of the waiters."""
        told, self._waiting = self._waiting[:n], self._waiting[n:]
        for token in told:
            self._scheduler.wake(token, given=True)

    def notify_all(self) -> None:
        """Wake all waiters."""
        self.notify(len(self._waiting))


class VirtualEvent:
    """An event that is set once."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False
        self._waiting: list[Token] = []

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it."""
        self._is_set = True
        for token in self._waiting:
            self._scheduler.wake(token, given=True)
        self._waiting.clear()

    def note_done(self, _: "Future[Any]") -> None:
        """Set it; called by a future."""
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it is."""
        if not self._is_set:
            self._waiting.append(self._scheduler.token())
            self._scheduler.wait(_limit_ns(timeout))
        return self._is_set


class Thread:
    """An actor in the process of the one that starts it."""

    def __init__(
        self,
        scheduler: Scheduler,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        name: str = "thread",
        *,
        daemon: bool = True,  # noqa: ARG002 (none of them keeps a process)
    ) -> None:
        self._scheduler = scheduler
        self._name = name
        self._work = partial(target, *args)

    def start(self) -> None:
        """Start the actor."""
        actor = self._scheduler.current
        assert actor is not None
        self._scheduler.begin(f"{self._name} of {actor.name}", actor.process, self._work)


class NumberedFuture(Future[Any]):
    """A future with a stable place in sets, the same in every run."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def __hash__(self) -> int:
        """Return its number."""
        return self._number

    __eq__ = object.__eq__


class ThreadPoolExecutor:
    """Runs a limited number of calls at a time, in order of submission."""

    def __init__(self, scheduler: Scheduler, max_workers: int, thread_name_prefix: str = "") -> None:
        self._scheduler = scheduler
        self._room = Semaphore(scheduler, max_workers)
        self._name = thread_name_prefix
        self._futures: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _wait_for_all(self._scheduler, self._futures)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Submit a call."""
        future = NumberedFuture(len(self._futures))
        self._futures.append(future)

        def carry_out() -> None:
            with self._room:
                try:
                    future.set_result(work(*arguments))
                except Exception as error:  # noqa: BLE001 (whoever wants the result gets it)
                    future.set_exception(error)

        Thread(self._scheduler, carry_out, name=self._name).start()
        return future

    def map(self, work: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        """Submit a call for each item, and yield the results in order."""
        futures = [self.submit(work, *arguments) for arguments in zip(*items, strict=True)]
        for future in futures:
            _wait_for_all(self._scheduler, [future])
            yield future.result(0)


class Waited(NamedTuple):
    """The futures that are done, and the others."""

    done: set["Future[Any]"]
    not_done: set["Future[Any]"]


def _wait_for_all(scheduler: Scheduler, futures: Iterable["Future[Any]"]) -> None:
    for future in futures:
        if not future.done():
            event = VirtualEvent(scheduler)
            future.add_done_callback(event.note_done)
            event.wait()


def _wait(
    scheduler: Scheduler, futures: Iterable["Future[Any]"], timeout: float | None = None, return_when: str = ""
) -> Waited:
    every = list(futures)
    end_ns = None if timeout is None else scheduler.now_ns + round(timeout * NS)
    while True:
        open_ones = [future for future in every if not future.done()]
        left = None if end_ns is None else (end_ns - scheduler.now_ns) / NS
        some = return_when == FIRST_COMPLETED and len(open_ones) < len(every)
        if not open_ones or some or (left is not None and left <= 0):
            return Waited(set(every) - set(open_ones), set(open_ones))
        event = VirtualEvent(scheduler)
        for future in open_ones:
            future.add_done_callback(event.note_done)
        event.wait(left)


@contextmanager
def in_virtual_time(scheduler: Scheduler) -> Iterator[None]:
    """Let all shipped code wait and read clocks by a scheduler while the block runs."""

    def wall_ns() -> int:
        actor = scheduler.current
        return scheduler.now_ns + (0 if actor is None else actor.process.offset_ns)

    replaced: list[tuple[object, str, Any]] = [
        (concurrency, "Lock", partial(Lock, scheduler)),
        (concurrency, "Semaphore", partial(Semaphore, scheduler)),
        (concurrency, "Condition", partial(Condition, scheduler)),
        (concurrency, "Event", partial(VirtualEvent, scheduler)),
        (concurrency, "Thread", partial(Thread, scheduler)),
        (concurrency, "ThreadPoolExecutor", partial(ThreadPoolExecutor, scheduler)),
        (concurrency, "wait", partial(_wait, scheduler)),
        (concurrency, "sleep", lambda seconds: scheduler.sleep(round(seconds * NS))),
        (clock, "wall_ns", wall_ns),
        (clock, "steady_ns", lambda: scheduler.now_ns),
    ]
    with ExitStack() as stack:
        for module, name, value in replaced:
            stack.enter_context(mock.patch.object(module, name, value))
        yield
