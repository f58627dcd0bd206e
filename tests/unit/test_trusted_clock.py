"""A server goes by its own clock while that agrees with the database's (docs/rules.md section 1, whose time)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from chalicelib import clock as clock_module
from chalicelib.config.settings import MOST_CLOCK_TOLERANCE_MS
from chalicelib.domain.errors import ClockSkewError
from chalicelib.service import trusted_clock
from chalicelib.service.trusted_clock import LOOK_SECONDS, PAUSE_SECONDS, TrustedClock
from chalicelib.store.due import AHEAD_MS
from chalicelib.store.errors import UnknownOutcomeError

START_MS = 1_700_000_000_000
TOLERANCE_MS = 2_000


@dataclass
class Times:
    """A server's two clocks and the database's, all of which the test sets; `looks` counts the questions."""

    ahead_ms: int = 0
    seconds: float = 0.0
    asleep_seconds: float = 0.0
    round_trip_seconds: float = 0.0
    is_down: bool = False
    looks: int = 0

    def database_ms(self) -> int:
        """Answer in the middle of the round trip."""
        self.looks += 1
        if self.is_down:
            raise UnknownOutcomeError("no answer")
        self.seconds += self.round_trip_seconds / 2
        told = self._true_ms()
        self.seconds += self.round_trip_seconds / 2
        return told

    def now_ms(self) -> int:
        """Return the server's own time."""
        return self._true_ms() + self.ahead_ms

    def _true_ms(self) -> int:
        return START_MS + round((self.seconds + self.asleep_seconds) * 1000)

    def trusted(self) -> TrustedClock:
        """Return the clock of the server."""
        return TrustedClock(self.database_ms, TOLERANCE_MS, self.now_ms, lambda: self.seconds)


@pytest.mark.parametrize("ahead_ms", [0, TOLERANCE_MS, -TOLERANCE_MS])
def test_a_clock_within_the_tolerance_is_gone_by_as_it_is(ahead_ms: int) -> None:
    times = Times(ahead_ms)
    assert times.trusted()() == times.now_ms()


@pytest.mark.parametrize(
    ("ahead_ms", "says"),
    [(3_600_000, "3600.0 s ahead of"), (61_000, "61.0 s ahead of"), (-600_000, "600.0 s behind"), (2_001, "2.0 s ah")],
)
def test_a_clock_beyond_it_decides_nothing_and_the_error_says_by_how_much(ahead_ms: int, says: str) -> None:
    with pytest.raises(ClockSkewError, match=says):
        Times(ahead_ms).trusted()()


@pytest.mark.parametrize(("round_trip_seconds", "is_off"), [(1.0, True), (1.1, False)])
def test_half_of_the_round_trip_is_the_error(round_trip_seconds: float, is_off: bool) -> None:
    times = Times(TOLERANCE_MS + 525, round_trip_seconds=round_trip_seconds)
    trusted = times.trusted()
    if is_off:
        with pytest.raises(ClockSkewError):
            trusted()
    else:
        assert trusted() == times.now_ms()


@pytest.mark.parametrize("ahead_ms", [-90_000, 90_000])
def test_a_look_that_took_too_long_vouches_for_no_clock(ahead_ms: int) -> None:
    """A process that stood still for three minutes while it asked would have a look that is right to 90 s."""
    times = Times(ahead_ms, round_trip_seconds=180.0)
    trusted = times.trusted()
    with pytest.raises(UnknownOutcomeError, match=r"came after 180\.0 s"):
        trusted()
    times.round_trip_seconds = 0.0
    with pytest.raises(ClockSkewError):
        trusted()


@pytest.mark.parametrize(("round_trip_seconds", "is_taken"), [(2.0, True), (2.001, False)])
def test_a_look_may_take_two_seconds(round_trip_seconds: float, is_taken: bool) -> None:
    trusted = Times(round_trip_seconds=round_trip_seconds).trusted()
    if is_taken:
        trusted()
    else:
        with pytest.raises(UnknownOutcomeError):
            trusted()


def test_the_database_is_asked_at_the_next_command_when_the_last_look_is_thirty_seconds_old() -> None:
    times = Times(seconds=500.0)
    trusted = times.trusted()
    trusted()
    assert LOOK_SECONDS == 30.0
    times.seconds += LOOK_SECONDS - 0.1
    trusted()
    assert times.looks == 1
    times.seconds += 0.1
    trusted()
    trusted()
    assert times.looks == 2


@pytest.mark.parametrize("ahead_ms", [61_000, -600_000])
def test_a_clock_that_is_set_while_the_server_runs_is_seen_at_the_next_command(ahead_ms: int) -> None:
    times = Times()
    trusted = times.trusted()
    trusted()
    times.ahead_ms = ahead_ms
    with pytest.raises(ClockSkewError):
        trusted()
    times.ahead_ms = 0
    assert trusted() == times.now_ms()


def test_a_clock_that_was_put_right_is_trusted_again_without_a_restart() -> None:
    times = Times(61_000)
    trusted = times.trusted()
    for _ in range(3):
        with pytest.raises(ClockSkewError):
            trusted()
    assert times.looks == 1, "one look a second is enough while it is off"
    times.seconds += 1.0
    with pytest.raises(ClockSkewError):
        trusted()
    assert times.looks == 2
    times.ahead_ms = 0
    assert trusted() == times.now_ms()


def test_a_machine_that_slept_looks_before_it_decides() -> None:
    """The monotonic clock stood still meanwhile, so nobody can tell a sleep from a clock that was set."""
    times = Times()
    trusted = times.trusted()
    trusted()
    times.asleep_seconds = 3_600.0
    times.is_down = True
    with pytest.raises(ClockSkewError):
        trusted()
    times.seconds += PAUSE_SECONDS
    times.is_down = False
    assert trusted() == times.now_ms()


def test_a_database_that_does_not_answer_holds_up_nobody_who_has_a_look() -> None:
    times = Times()
    trusted = times.trusted()
    trusted()
    times.seconds += LOOK_SECONDS
    times.is_down = True
    for _ in range(3):
        assert trusted() == times.now_ms()
    assert times.looks == 2, "the next look is a second away"
    times.seconds += PAUSE_SECONDS
    trusted()
    assert times.looks == 3


def test_without_any_look_nothing_is_decided() -> None:
    times = Times(is_down=True)
    trusted = times.trusted()
    with pytest.raises(UnknownOutcomeError):
        trusted()
    times.is_down = False
    assert trusted() == times.now_ms()


def test_while_one_looks_the_others_go_on_by_the_last_look() -> None:
    times = Times()
    looking, go_on = Event(), Event()

    def slow_at_last() -> int:
        if times.seconds:
            looking.set()
            assert go_on.wait(10)
        return times.database_ms()

    trusted = TrustedClock(slow_at_last, TOLERANCE_MS, times.now_ms, lambda: times.seconds)
    trusted()
    times.seconds += LOOK_SECONDS
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(trusted)
        assert looking.wait(10)
        assert trusted() == times.now_ms()
        assert times.looks == 1
        go_on.set()
        assert one.result() == times.now_ms()


def test_those_who_come_first_share_one_look() -> None:
    times = Times()
    looking, go_on = Event(), Event()

    def slow() -> int:
        looking.set()
        assert go_on.wait(10)
        return times.database_ms()

    trusted = TrustedClock(slow, TOLERANCE_MS, times.now_ms, lambda: times.seconds)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(trusted) for _ in range(4)]
        assert looking.wait(10)
        go_on.set()
        assert {one.result() for one in waiting} == {times.now_ms()}
    assert times.looks == 1


def test_who_cannot_do_without_a_look_waits_for_that_of_another_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_clock, "WAIT_SECONDS", 0.01)
    looking, go_on = Event(), Event()

    def stuck() -> int:
        looking.set()
        assert go_on.wait(10)
        return START_MS

    times = Times()
    trusted = TrustedClock(stuck, TOLERANCE_MS, times.now_ms, lambda: times.seconds)
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(trusted)
        assert looking.wait(10)
        with pytest.raises(UnknownOutcomeError, match="does not report its time"):
            trusted()
        go_on.set()
        assert one.result() == START_MS


def test_a_test_can_let_the_clock_of_a_process_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "clocks" / "gateway-1"
    monkeypatch.setattr(clock_module, "_offset_file", str(file))
    before = clock_module.now_ms()
    clock_module.set_offset(file, 3_600_000)
    assert 3_600_000 <= clock_module.now_ms() - before < 3_700_000
    clock_module.set_offset(file, 0)
    assert 0 <= clock_module.now_ms() - before < 100_000


def test_the_sweep_leaves_orders_alone_that_servers_within_the_tolerance_make() -> None:
    assert AHEAD_MS >= 2 * MOST_CLOCK_TOLERANCE_MS
