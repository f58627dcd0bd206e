"""Busy polling: a loop with news looks for more for a while, and then sleeps."""

import asyncio
import os
import time

import pytest
import uvloop

from infra.servers.gateway.polling import BusyPolling
from infra.servers.gateway.waiting import LoopWaiting
from tests.ways import SECONDS

LOOK_SECONDS = 0.05


class Looks:
    """How often the loop has looked without finding news."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(os, "sched_yield", self._look)

    def _look(self) -> None:
        self.count += 1

    async def end(self) -> None:
        """Return once none has been added for a while."""
        deadline = time.monotonic() + SECONDS
        seen = -1
        while seen != self.count:
            assert time.monotonic() < deadline, "it never sleeps again"
            seen = self.count
            await asyncio.sleep(2 * LOOK_SECONDS)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_after_news_the_loop_looks_for_more_and_then_sleeps(looks: Looks) -> None:
    async def run() -> None:
        polling = BusyPolling(asyncio.get_running_loop(), LOOK_SECONDS)
        await asyncio.sleep(0.01)
        assert looks.count == 0
        polling.note()
        await looks.end()
        first = looks.count
        assert first > 1
        polling.note()
        await looks.end()
        assert looks.count > first + 1

    uvloop.run(run())


def test_it_looks_for_as_long_after_the_last_news_as_after_the_first(looks: Looks) -> None:
    async def run() -> None:
        polling = BusyPolling(asyncio.get_running_loop(), LOOK_SECONDS)
        polling.note()
        begun = time.monotonic()
        while time.monotonic() < begun + 3 * LOOK_SECONDS:
            polling.note()
            await asyncio.sleep(0)
        last = looks.count
        await looks.end()
        assert looks.count > last + 1

    uvloop.run(run())


def test_with_no_time_to_look_it_sleeps_at_once(looks: Looks) -> None:
    async def run() -> None:
        BusyPolling(asyncio.get_running_loop(), 0.0).note()
        await asyncio.sleep(LOOK_SECONDS)
        assert looks.count == 0

    uvloop.run(run())


def test_a_request_and_what_it_has_waited_for_are_news(looks: Looks) -> None:
    async def run() -> None:
        here = LoopWaiting(asyncio.get_running_loop(), 1, LOOK_SECONDS)
        baton = here.baton()
        ended: list[bool] = []
        here.begin(lambda: ended.append(baton.wait()))
        await looks.end()
        asked = looks.count
        assert asked > 1
        baton.give()
        await looks.end()
        assert looks.count > asked + 1
        assert ended == [True]

    uvloop.run(run())
