"""How a request waits on the thread of an event loop: its greenlet steps aside until what it waits for has come.

The code of the app is written for threads and does not know that it runs in a greenlet; what it waits for it says to
`chalicelib.waiting`. Only the loop's own greenlet, the hub, switches into another one, so that no two of them ever wait
for each other.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from greenlet import getcurrent, greenlet

from chalicelib.waiting import Baton
from infra.servers.gateway.polling import BusyPolling

T = TypeVar("T")

MOST_IDLE = 256
"""Greenlets that have carried out a request and are kept for others; of a crowd larger than that the rest goes."""


class LoopWaiting:
    """Waiting on the thread of `loop`, which is the one that makes this; `threads` calls may be aside at once.

    The loop looks for news for `busy_poll_seconds` before it sleeps (`infra/servers/gateway/polling.py`).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int, busy_poll_seconds: float = 0.0) -> None:
        self.hub = getcurrent()
        self.loop = loop
        self.thread = threading.get_ident()
        self.polling = BusyPolling(loop, busy_poll_seconds)
        self._threads = ThreadPoolExecutor(threads, "aside")
        self._idle: list[greenlet] = []

    def begin(self, call: Callable[[], None]) -> None:
        """Make a call in a greenlet that does nothing else, at once and as far as it gets; called from the hub.

        A greenlet is used again and again: for a new one Python maps memory for its frames, and unmaps it at the end,
        which cost a seventh of a worker's CPU. What a call sets in a context variable, the next one may find there.
        """
        self.polling.note()
        if not self._idle:
            greenlet(self._work, self.hub).switch()
        self._idle.pop().switch(call)

    def _work(self) -> None:
        me = getcurrent()
        while len(self._idle) < MOST_IDLE:
            self._idle.append(me)
            call = self.hub.switch()
            call()
            del call  # nothing of it is kept while there is nothing to do

    def baton(self) -> Baton:
        """Return what a greenlet steps aside for."""
        return _LoopBaton(self)

    def aside(self, call: Callable[[], T]) -> T:
        """Make a call on another thread."""
        baton = self.baton()
        future = self._threads.submit(call)
        future.add_done_callback(lambda _: baton.give())
        baton.wait()
        return future.result()

    def until_ready(self, descriptor: int, *, to_write: bool, seconds: float | None) -> bool:
        """Step aside until a socket can be read from, or written to, at most so long; return whether it can."""
        baton = _LoopBaton(self)
        add, remove = (
            (self.loop.add_writer, self.loop.remove_writer)
            if to_write
            else (self.loop.add_reader, self.loop.remove_reader)
        )
        add(descriptor, baton.take, ())
        try:
            return baton.wait(seconds)
        finally:
            remove(descriptor)

    def soon(self, call: Callable[[], None]) -> None:
        """Make a call when all requests have been looked at that have arrived by now."""
        self.loop.call_soon(call)


class _LoopBaton:
    __slots__ = ("_given", "_greenlet", "waiting")

    def __init__(self, waiting: LoopWaiting) -> None:
        self.waiting = waiting
        self._given = False
        self._greenlet: greenlet | None = None

    def wait(self, seconds: float | None = None) -> bool:
        if self._given:
            return True
        me = getcurrent()
        if me is self.waiting.hub:
            raise RuntimeError("the hub of the event loop must not wait: all requests would")
        self._greenlet = me
        timer = None if seconds is None else self.waiting.loop.call_later(seconds, self._go_on)
        self.waiting.hub.switch()
        if timer is not None:
            timer.cancel()
        return self._given

    def give(self, *others: Baton) -> None:
        loop = self.waiting.loop
        if threading.get_ident() == self.waiting.thread:
            loop.call_soon(self.take, others)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self.take, others)

    def take(self, others: Sequence[Baton]) -> None:
        self._given = True
        self.waiting.polling.note()
        self._go_on()
        for other in others:
            if isinstance(other, _LoopBaton) and other.waiting is self.waiting:
                other.take(())
            else:
                other.give()

    def _go_on(self) -> None:
        waits, self._greenlet = self._greenlet, None
        if waits is not None:
            waits.switch()
