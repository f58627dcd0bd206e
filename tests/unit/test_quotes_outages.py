"""A part that is away costs one time-out a pause and one warning a minute."""

import logging

import pytest

from chalicelib.quotes.outages import FAILURES_TO_BREAK, Breaker, SeldomLog

log = logging.getLogger(__name__)


class Seconds:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def broken(seconds: Seconds) -> Breaker:
    breaker = Breaker(1.0, seconds)
    for _ in range(FAILURES_TO_BREAK):
        breaker.failed()
    return breaker


def test_one_failure_is_no_outage(seconds: Seconds) -> None:
    breaker = Breaker(1.0, seconds)
    for _ in range(10):
        breaker.failed()
        assert breaker.allows()
        assert not breaker.succeeded()


def test_several_failures_in_a_row_keep_callers_away(seconds: Seconds) -> None:
    assert not broken(seconds).allows()


def test_after_the_pause_one_caller_looks_and_the_others_stay_away(seconds: Seconds) -> None:
    breaker = broken(seconds)
    seconds.now += 1.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]


def test_a_caller_that_looked_and_never_told_is_not_waited_for_longer_than_a_pause(seconds: Seconds) -> None:
    breaker = broken(seconds)
    for _ in range(2):
        seconds.now += 1.0
        assert breaker.allows()


def test_a_look_that_fails_begins_another_pause(seconds: Seconds) -> None:
    breaker = broken(seconds)
    seconds.now += 1.0
    assert breaker.allows()
    seconds.now += 0.9
    breaker.failed()
    seconds.now += 0.9
    assert not breaker.allows()


def test_a_look_that_succeeds_ends_the_outage_for_all_and_tells_so_once(seconds: Seconds) -> None:
    breaker = broken(seconds)
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]
    assert all(breaker.allows() for _ in range(3))


def test_a_thousand_warnings_in_a_minute_are_one(seconds: Seconds, caplog: pytest.LogCaptureFixture) -> None:
    seldom = SeldomLog(log, seconds)
    for _ in range(1000):
        seldom.warning("away: %s", "refused")
        seconds.now += 0.0599
    assert caplog.messages == ["away: refused"]
    seconds.now += 1.0
    seldom.warning("away: %s", "too slow")
    assert caplog.messages[1:] == ["away: too slow (and 999 more like it before)"]
