"""Busy polling: the event loop looks for news again and again, for a while, before it sleeps.

Whoever wakes a sleeping thread pays for it, and the thread itself comes late: on a virtual machine both are calls of
the host. With few users a worker would sleep after every few requests, and MongoDB and the clients would pay for
waking it. A worker that has a processor to itself may use that instead of leaving it idle.
"""

import asyncio
import os
import time


class BusyPolling:
    """Keeps `loop` from sleeping for `seconds` after the last news; not at all when that is 0."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._is_news = False
        self._is_polling = False
        self._until = 0.0

    def note(self) -> None:
        """There are news: a request, or what a request has waited for."""
        self._is_news = True
        if not self._is_polling and self._seconds:
            self._is_polling = True
            self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        now = time.monotonic()
        if self._is_news:
            self._is_news = False
            self._until = now + self._seconds
        elif now >= self._until:
            self._is_polling = False
            return
        else:
            os.sched_yield()  # to the other threads of this worker, which are on the same processor
        self._loop.call_soon(self._poll)
