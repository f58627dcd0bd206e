"""Commands of one user have their turns in the order in which they came."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chalicelib import concurrency
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.service.deadline import Deadline, Turns

SECONDS = 60.0
LONG_MS = 60_000


def together(*calls: Callable[[], None]) -> None:
    """Make calls at the same time, each on a thread; raises what one raises."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result(SECONDS)


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns = Turns()
    order: list[int] = []
    inside: list[int] = []

    def asked() -> int:
        """Return how many have the turn or wait for it."""
        return 1 + len(turns._queues["jane"]) if "jane" in turns._queues else 0

    def take(number: int) -> None:
        while asked() + len(order) < number:
            time.sleep(0.002)
        with turns.of("jane", Deadline(LONG_MS)):
            while asked() + len(order) < 5:
                time.sleep(0.002)
            inside.append(number)
            time.sleep(0.01)
            assert inside == [number]
            inside.remove(number)
            order.append(number)

    together(*(partial(take, number) for number in range(5)))
    assert order == list(range(5))
    assert turns._queues == {}


def test_users_do_not_wait_for_each_other() -> None:
    turns, both = Turns(), []

    def take(user: str) -> None:
        with turns.of(user, Deadline(LONG_MS)):
            both.append(user)
            while len(both) < 2:
                time.sleep(0.01)

    together(partial(take, "jane"), partial(take, "john"))


def test_who_waits_too_long_gives_up_and_holds_up_nobody() -> None:
    turns, done = Turns(), []

    def hold() -> None:
        with turns.of("jane", Deadline(LONG_MS)):
            while "gave up" not in done:
                time.sleep(0.01)

    def hurry() -> None:
        while "jane" not in turns._queues:
            time.sleep(0.002)
        with pytest.raises(StoreUnavailableError), turns.of("jane", Deadline(50)):
            done.append("it came")
        done.append("gave up")

    def patient() -> None:
        while "gave up" not in done and not turns._queues.get("jane"):
            time.sleep(0.002)
        with turns.of("jane", Deadline(LONG_MS)):
            done.append("it came in the end")

    together(hold, hurry, patient)
    assert done == ["gave up", "it came in the end"]
    assert turns._queues == {}


def test_a_turn_that_comes_as_one_gives_up_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one it was for had stopped waiting at that very moment."""
    turns = Turns()

    class Late(threading.Event):
        """Says that the time was up, though it was set."""

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            return False

    monkeypatch.setattr(concurrency, "Event", Late)
    ended = []

    def hurry() -> None:
        with pytest.raises(StoreUnavailableError), turns.of("jane", Deadline(LONG_MS)):
            pass
        ended.append(True)

    with turns.of("jane", Deadline(LONG_MS)):
        thread = threading.Thread(target=hurry)
        thread.start()
        while not turns._queues["jane"]:
            time.sleep(0.001)
    thread.join(SECONDS)
    assert ended
    assert turns._queues == {}
