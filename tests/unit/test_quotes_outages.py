"""A part that is away costs one time-out a pause and one warning a minute."""

import logging

import pytest

from chalicelib.circuit_breaker import FAILURES_TO_BREAK, CircuitBreaker, SeldomLog

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


def fails(breaker: CircuitBreaker) -> bool:
    """Use the part, which fails; return whether it might be used."""
    began = breaker.begin()
    if began is not None:
        breaker.failed(began)
    return began is not None


def broken(seconds: Seconds) -> CircuitBreaker:
    breaker = CircuitBreaker(1.0, seconds)
    assert all(fails(breaker) for _ in range(FAILURES_TO_BREAK))
    return breaker


def test_one_failure_is_no_outage(seconds: Seconds) -> None:
    breaker = CircuitBreaker(1.0, seconds)
    for _ in range(10):
        assert fails(breaker)
        assert not breaker.succeeded()


def test_several_failures_in_a_row_keep_callers_away(seconds: Seconds) -> None:
    assert broken(seconds).begin() is None


def test_callers_that_meet_one_stall_together_have_met_one_failure(seconds: Seconds) -> None:
    breaker = CircuitBreaker(1.0, seconds)
    for _ in range(FAILURES_TO_BREAK - 1):
        together = [breaker.begin() for _ in range(20)]
        seconds.now += 0.25
        for began in together:
            assert began is not None
            breaker.failed(began)
            seconds.now += 0.001
    assert fails(breaker), "two stalls are not three failures in a row"
    assert breaker.begin() is None


def test_who_learns_late_of_an_outage_does_not_begin_another(seconds: Seconds) -> None:
    breaker = CircuitBreaker(1.0, seconds)
    late = [breaker.begin() for _ in range(20)]
    for _ in range(FAILURES_TO_BREAK):
        seconds.now += 0.1
        assert fails(breaker)
    seconds.now += 1.0
    assert breaker.begin() is not None
    seconds.now += 0.1
    assert breaker.succeeded()
    for began in late:
        assert began is not None
        breaker.failed(began)
    assert breaker.begin() is not None
    assert not breaker.succeeded()


def test_after_the_pause_one_caller_looks_and_the_others_stay_away(seconds: Seconds) -> None:
    breaker = broken(seconds)
    seconds.now += 1.0
    assert [breaker.begin() for _ in range(3)] == [seconds.now, None, None]


def test_a_caller_that_looked_and_never_told_is_not_waited_for_longer_than_a_pause(seconds: Seconds) -> None:
    breaker = broken(seconds)
    for _ in range(2):
        seconds.now += 1.0
        assert breaker.begin() is not None


def test_a_look_that_fails_begins_another_pause(seconds: Seconds) -> None:
    breaker = broken(seconds)
    seconds.now += 1.0
    began = breaker.begin()
    assert began is not None
    seconds.now += 0.9
    breaker.failed(began)
    seconds.now += 0.9
    assert breaker.begin() is None


def test_a_look_that_succeeds_ends_the_outage_for_all_and_tells_so_once(seconds: Seconds) -> None:
    breaker = broken(seconds)
    assert [breaker.succeeded(), breaker.succeeded()] == [True, False]
    assert all(breaker.begin() is not None for _ in range(3))


def test_a_thousand_warnings_in_a_minute_are_one(seconds: Seconds, caplog: pytest.LogCaptureFixture) -> None:
    seldom = SeldomLog(log, seconds)
    for _ in range(1000):
        seldom.warning("away: %s", "refused")
        seconds.now += 0.0599
    assert caplog.messages == ["away: refused"]
    seconds.now += 1.0
    seldom.warning("away: %s", "too slow")
    assert caplog.messages[1:] == ["away: too slow (and 999 more like it before)"]
