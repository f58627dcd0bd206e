"""How the thread that serves a request waits: it stands still, or it serves others meanwhile.

In Lambda and on most servers each request has a thread of its own, and whatever waits may simply wait. On a server that
serves many requests on one thread, nothing may ever hold that thread up. So code that a request runs through says here
what it waits for, and what stands still is decided once a thread, by the server that made it (`use`).
"""

import math
import select
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Baton(Protocol):
    """Given once, by any thread, and waited for once."""

    def wait(self, seconds: float | None = None) -> bool:
        """Return whether it was given within the time, None for however long it takes."""

    def give(self, *others: "Baton") -> None:
        """Let the one who waits go on, or not begin to wait; and those who wait for other batons with it."""


class Waiting(Protocol):
    """What waiting is on a thread."""

    def baton(self) -> Baton:
        """Return a new baton, to be waited for on this thread."""

    def aside(self, call: Callable[[], T]) -> T:
        """Return what a call returns, or raise what it raises, that may wait for others: a database, a disk, a lock."""

    def until_ready(self, descriptor: int, *, to_write: bool, seconds: float | None) -> bool:
        """Wait until a socket can be read from, or written to; return whether it can within the time."""

    def soon(self, call: Callable[[], None]) -> None:
        """Make a call that waits for nothing, once those who can go on now have done so."""


class _ThreadBaton:
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the cheapest thing a thread can wait for
        self._lock.acquire()

    def wait(self, seconds: float | None = None) -> bool:
        return self._lock.acquire(timeout=-1 if seconds is None else seconds)

    def give(self, *others: Baton) -> None:
        self._lock.release()
        for other in others:
            other.give()


class ThreadWaiting:
    """The thread has nothing else to do."""

    def baton(self) -> Baton:
        """Return what holds the thread up."""
        return _ThreadBaton()

    def aside(self, call: Callable[[], T]) -> T:
        """Make the call here and now."""
        return call()

    def until_ready(self, descriptor: int, *, to_write: bool, seconds: float | None) -> bool:
        """Stand still."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
        return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))

    def soon(self, call: Callable[[], None]) -> None:
        """Make the call here and now: who else could go on is not known."""
        call()


class _Here(threading.local):
    waiting: Waiting = ThreadWaiting()


_here = _Here()


def use(waiting: Waiting) -> None:
    """Say what waiting is on this thread from now on."""
    _here.waiting = waiting


def baton() -> Baton:
    """Return a new baton, to be waited for on this thread."""
    return _here.waiting.baton()


def aside(call: Callable[[], T]) -> T:
    """Make a call that may wait for others, without holding up who else is served on this thread."""
    return _here.waiting.aside(call)


def until_ready(descriptor: int, *, to_write: bool, seconds: float | None) -> bool:
    """Wait until a socket can be read from, or written to, at most so long; return whether it can."""
    return _here.waiting.until_ready(descriptor, to_write=to_write, seconds=seconds)


def soon(call: Callable[[], None]) -> None:
    """Make a call that waits for nothing, once those who are served on this thread and can go on have done so."""
    _here.waiting.soon(call)


def pause(seconds: float) -> None:
    """Wait so long."""
    _here.waiting.baton().wait(seconds)
