"""Waiting for one's turn, for others and for time to pass: on threads, and as greenlets on one thread."""

import asyncio
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import uvloop
from greenlet import getcurrent, greenlet

from chalicelib import waiting
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.service.deadline import Deadline, Turns
from infra.servers.gateway.waiting import MOST_IDLE, LoopWaiting
from tests.ways import SECONDS, Together, on_a_loop

LONG_MS = 60_000


def test_turns_come_in_the_order_in_which_they_were_asked_for(together: Together) -> None:
    turns = Turns()
    order: list[int] = []
    inside: list[int] = []

    def asked() -> int:
        """Return how many have the turn or wait for it."""
        return 1 + len(turns._queues["jane"]) if "jane" in turns._queues else 0

    def take(number: int) -> None:
        while asked() + len(order) < number:
            waiting.pause(0.002)
        with turns.of("jane", Deadline(LONG_MS)):
            while asked() + len(order) < 5:
                waiting.pause(0.002)
            inside.append(number)
            waiting.pause(0.01)
            assert inside == [number]
            inside.remove(number)
            order.append(number)

    together(*(partial(take, number) for number in range(5)))
    assert order == list(range(5))
    assert turns._queues == {}


def test_users_do_not_wait_for_each_other(together: Together) -> None:
    turns, both = Turns(), []

    def take(user: str) -> None:
        with turns.of(user, Deadline(LONG_MS)):
            both.append(user)
            while len(both) < 2:
                waiting.pause(0.01)

    together(partial(take, "jane"), partial(take, "john"))


def test_who_waits_too_long_gives_up_and_holds_up_nobody(together: Together) -> None:
    turns, done = Turns(), []

    def hold() -> None:
        with turns.of("jane", Deadline(LONG_MS)):
            while "gave up" not in done:
                waiting.pause(0.01)

    def hurry() -> None:
        while "jane" not in turns._queues:
            waiting.pause(0.002)
        with pytest.raises(StoreUnavailableError), turns.of("jane", Deadline(50)):
            done.append("it came")
        done.append("gave up")

    def patient() -> None:
        while "gave up" not in done and not turns._queues.get("jane"):
            waiting.pause(0.002)
        with turns.of("jane", Deadline(LONG_MS)):
            done.append("it came in the end")

    together(hold, hurry, patient)
    assert done == ["gave up", "it came in the end"]
    assert turns._queues == {}


def test_a_turn_that_comes_as_one_gives_up_is_passed_on() -> None:
    """The baton was given, and the one it was for had stopped waiting."""
    turns = Turns()
    with _late_batons():
        ended = threading.Event()

        def hurry() -> None:
            with pytest.raises(StoreUnavailableError), turns.of("jane", Deadline(LONG_MS)):
                pass
            ended.set()

        with turns.of("jane", Deadline(LONG_MS)):
            thread = threading.Thread(target=hurry)
            thread.start()
            while not turns._queues["jane"]:
                time.sleep(0.001)
        thread.join(SECONDS)
        assert ended.is_set()
    assert turns._queues == {}


@contextmanager
def _late_batons() -> Iterator[None]:
    """Make whoever waits say that its time was up, though the baton came."""

    class Late(type(waiting.baton())):  # type: ignore[misc]  # a class that is made here only
        def wait(self, seconds: float | None = None) -> bool:
            super().wait(seconds)
            return False

    class LateWaiting(waiting.ThreadWaiting):
        def baton(self) -> waiting.Baton:
            made: waiting.Baton = Late()
            return made

    patched = pytest.MonkeyPatch()
    patched.setattr(waiting._Here, "waiting", LateWaiting())
    try:
        yield
    finally:
        patched.undo()


def test_a_call_aside_returns_and_raises_as_one_that_is_made_here(together: Together) -> None:
    def ask() -> None:
        assert waiting.aside(lambda: 6 * 7) == 42
        with pytest.raises(ZeroDivisionError):
            waiting.aside(lambda: 1 // 0)

    together(ask, ask, ask, ask)


def test_a_baton_that_was_given_before_is_not_waited_for(together: Together) -> None:
    def take() -> None:
        baton, other, late = waiting.baton(), waiting.baton(), waiting.baton()
        baton.give(other)
        assert baton.wait()
        assert other.wait(SECONDS)
        assert not late.wait(0.01)

    together(take)


def test_what_is_given_from_another_thread_comes(together: Together) -> None:
    """Several at once, of which one is waited for on a thread and not on the loop."""
    ours = waiting.baton()

    def take() -> None:
        batons = [waiting.baton() for _ in range(3)]
        timer = threading.Timer(0.05, batons[0].give, args=(*batons[1:], ours))
        timer.start()
        assert all(baton.wait(SECONDS) for baton in batons)

    together(take)
    assert ours.wait(SECONDS)


def test_on_a_loop_those_who_wait_hold_up_nobody() -> None:
    """A hundred wait on one thread; two aside, which is all there is room for, and a third after them."""
    seen: list[str] = []

    def block() -> None:
        waiting.aside(partial(time.sleep, 1.0))
        seen.append("aside")

    def wait() -> None:
        waiting.pause(0.1)
        seen.append("paused")

    def go() -> None:
        seen.append("went")

    on_a_loop(*[block] * 3, *[wait] * 100, go)
    assert seen == ["went", *["paused"] * 100, *["aside"] * 3]


def test_the_hub_of_a_loop_must_not_wait() -> None:
    async def run() -> None:
        here = LoopWaiting(asyncio.get_running_loop(), threads=1)
        with pytest.raises(RuntimeError, match="hub"):
            here.baton().wait()

    uvloop.run(run())


def test_the_greenlets_of_a_loop_are_used_again_and_those_of_a_crowd_are_not_all_kept() -> None:
    async def run() -> None:
        here = LoopWaiting(asyncio.get_running_loop(), threads=1)
        seen: list[greenlet] = []
        batons: list[waiting.Baton] = []

        def note() -> None:
            seen.append(getcurrent())

        def wait() -> None:
            note()
            batons.append(here.baton())
            batons[-1].wait(SECONDS)

        class Called:
            def call(self) -> None:
                note()

        for _ in range(3):
            called = Called()
            gone = weakref.ref(called)
            here.begin(called.call)
            del called
            assert gone() is None
        assert len(set(seen)) == 1
        with pytest.raises(IndexError):
            here.begin(list[None]().pop)
        here.begin(note)
        assert not seen[-1].dead
        for _ in range(MOST_IDLE + 2):
            here.begin(wait)
        crowd = set(seen[-MOST_IDLE - 2 :])
        assert len(crowd) == MOST_IDLE + 2
        batons[0].give(*batons[1:])
        await asyncio.sleep(0.01)
        assert sum(one.dead for one in crowd) == 2

    uvloop.run(run())


def test_soon_comes_after_those_who_can_go_on(together: Together) -> None:
    seen: list[str] = []

    def ask() -> None:
        waiting.soon(partial(seen.append, "soon"))
        seen.append("asked")
        waiting.pause(0.05)
        assert "soon" in seen

    together(ask)
    if together is on_a_loop:
        assert seen == ["asked", "soon"]
