"""Commands of one user have their turns in the order in which they came."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from chalicelib import concurrency
from chalicelib.domain.errors import TooLateError
from chalicelib.service.deadline import Deadline
from chalicelib.service.user_queue import UserQueues

SECONDS = 60.0
LONG_MS = 60_000


def together(*calls: Callable[[], None]) -> None:
    """Make calls at the same time, each on a thread; raises what one raises."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result(SECONDS)


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    queues = UserQueues()
    order: list[int] = []
    inside: list[int] = []

    def asked() -> int:
        """Return how many have the turn or wait for it."""
        return 1 + len(queues._waiting["jane"]) if "jane" in queues._waiting else 0

    def take(number: int) -> None:
        while asked() + len(order) < number:
            time.sleep(0.002)
        with queues.turn("jane", Deadline(LONG_MS)):
            while asked() + len(order) < 5:
                time.sleep(0.002)
            inside.append(number)
            time.sleep(0.01)
            assert inside == [number]
            inside.remove(number)
            order.append(number)

    together(*(partial(take, number) for number in range(5)))
    assert order == list(range(5))
    assert queues._waiting == {}


def test_who_has_the_turn_is_told_whether_others_had_it_in_between() -> None:
    queues, told = UserQueues(), []

    def wait() -> None:
        with queues.turn("jane", Deadline(LONG_MS)) as waited:
            told.append(waited)

    with queues.turn("jane", Deadline(LONG_MS)) as waited:
        told.append(waited)
        thread = threading.Thread(target=wait)
        thread.start()
        while not queues._waiting["jane"]:
            time.sleep(0.001)
    thread.join(SECONDS)
    assert told == [False, True]


def test_users_do_not_wait_for_each_other() -> None:
    queues, both = UserQueues(), []

    def take(user: str) -> None:
        with queues.turn(user, Deadline(LONG_MS)):
            both.append(user)
            while len(both) < 2:
                time.sleep(0.01)

    together(partial(take, "jane"), partial(take, "john"))


def test_who_waits_too_long_gives_up_and_holds_up_nobody() -> None:
    queues, done = UserQueues(), []

    def hold() -> None:
        with queues.turn("jane", Deadline(LONG_MS)):
            while "gave up" not in done:
                time.sleep(0.01)

    def hurry() -> None:
        while "jane" not in queues._waiting:
            time.sleep(0.002)
        with pytest.raises(TooLateError), queues.turn("jane", Deadline(50)):
            done.append("it came")
        done.append("gave up")

    def patient() -> None:
        while "gave up" not in done and not queues._waiting.get("jane"):
            time.sleep(0.002)
        with queues.turn("jane", Deadline(LONG_MS)):
            done.append("it came in the end")

    together(hold, hurry, patient)
    assert done == ["gave up", "it came in the end"]
    assert queues._waiting == {}


def test_a_turn_that_comes_as_one_gives_up_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one it was for had stopped waiting at that very moment."""
    queues = UserQueues()

    class Late(threading.Event):
        """Says that the time was up, though it was set."""

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            return False

    monkeypatch.setattr(concurrency, "Event", Late)
    ended = []

    def hurry() -> None:
        with pytest.raises(TooLateError), queues.turn("jane", Deadline(LONG_MS)):
            pass
        ended.append(True)

    with queues.turn("jane", Deadline(LONG_MS)):
        thread = threading.Thread(target=hurry)
        thread.start()
        while not queues._waiting["jane"]:
            time.sleep(0.001)
    thread.join(SECONDS)
    assert ended
    assert queues._waiting == {}
