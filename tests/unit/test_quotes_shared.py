"""One fetch for all, its tries and its bounds, with a cache and a source that the test sets."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from chalicelib.clock import moment
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.cache import Claim
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.questions import Questions
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from chalicelib.quotes.single_flight import SingleFlight

QUOTE = QuoteAnswer(Quote("ABC", 1250, "jane", 1_700_000_000_000, "key"), cached=False)
CACHED = replace(QUOTE, cached=True)
RETRIES = QuoteRetryPolicy(
    try_ms=250, limit_ms=5_000, first_pause_ms=10, longest_pause_ms=250, lock_spare_ms=500, poll_ms=50
)


@dataclass
class Time:
    """Seconds that pass only by waiting, and the pauses: waits for no question of their own."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeCache:
    """Answers claims as the test says, the last answer again and again; keeps what is released."""

    claims: list[tuple[Claim, QuoteAnswer | None]] = field(default_factory=lambda: [(Claim.OURS, None)])
    stored: QuoteAnswer | None = None
    released: list[QuoteAnswer | None] = field(default_factory=list)
    lifetimes_ms: list[int] = field(default_factory=list)

    def read(self, symbol: str) -> QuoteAnswer | None:
        return self.stored

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, QuoteAnswer | None]:
        self.lifetimes_ms.append(lifetime_ms)
        return self.claims.pop(0) if len(self.claims) > 1 else self.claims[0]

    def release(self, symbol: str, token: str, answer: QuoteAnswer | None) -> None:
        self.released.append(answer)


@dataclass
class FakeSource:
    """A source, its questions and an inquiry in one: it takes `takes` seconds, and refuses the first `failures`."""

    time: Time
    failures: int = 0
    takes: float = 0.0
    limits: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    due: list[float] = field(default_factory=list)
    ended: int = 0

    def about(self, symbol: str, user: str) -> "FakeSource":
        return self

    def finish(self, seconds: float) -> bool:
        return True

    def ask(self, seconds: float) -> int:
        self.limits.append(seconds)
        if len(self.limits) > self.failures:
            self.due.append(self.time.now + self.takes)
        return len(self.limits)

    def wait(self, seconds: float, question: int | None = None) -> QuoteAnswer | None:
        (self.time.pauses if question is None else self.waits).append(seconds)
        if question is not None and question <= self.failures:
            raise FailedTryError("refused")
        if self.due and min(self.due) <= self.time.now + seconds:
            self.time.now = max(self.time.now, min(self.due))
            return QUOTE
        self.time.now += max(seconds, 0.000_001)
        return None

    def end(self) -> None:
        self.ended += 1


@dataclass
class Setup:
    time: Time
    cache: FakeCache
    source: FakeSource

    @property
    def quotes(self) -> SharedQuotes:
        return SharedQuotes(self.cache, self.source, RETRIES, monotonic=self.time)


@pytest.fixture
def setup() -> Setup:
    time = Time()
    return Setup(time, FakeCache(), FakeSource(time))


def test_a_quote_that_is_there_is_used_and_nobody_is_asked(setup: Setup) -> None:
    setup.cache.stored = CACHED
    assert setup.quotes.get("ABC", "jane").cached
    assert setup.source.limits == []
    assert setup.cache.lifetimes_ms == []


def test_a_valid_quote_is_served_while_the_source_is_down(setup: Setup) -> None:
    setup.cache.stored = CACHED
    setup.source.failures = 1_000
    assert setup.quotes.get("ABC", "jane") == CACHED


def test_a_miss_asks_the_source_and_stores_what_it_says(setup: Setup) -> None:
    assert setup.quotes.get("ABC", "jane") == QUOTE
    assert setup.cache.released == [QUOTE]
    assert setup.source.ended == 1


def test_a_quote_stored_between_the_miss_and_the_lock_is_used(setup: Setup) -> None:
    setup.cache.claims = [(Claim.OURS, CACHED)]
    assert setup.quotes.get("ABC", "jane").cached
    assert setup.source.limits == []
    assert setup.cache.released == [None], "the lock is given back"


def test_failed_tries_are_followed_by_others_with_the_lock_renewed_before_each(setup: Setup) -> None:
    setup.source.failures = 3
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.source.waits == [0.25] * 4
    assert setup.cache.lifetimes_ms == [250 + 250 + 500] * 4


def test_pauses_grow_twofold_up_to_the_longest_and_are_drawn_from_zero_on(setup: Setup) -> None:
    drawn = [[RETRIES.pause_seconds(failed) for _ in range(400)] for failed in range(1, 12)]
    for pauses, longest in zip(drawn, [0.01, 0.02, 0.04, 0.08, 0.16, *[0.25] * 6], strict=True):
        assert max(pauses) <= longest
        assert max(pauses) > longest * 0.9
        assert min(pauses) < longest * 0.1


def test_pauses_follow_each_failed_try_and_none_a_success(setup: Setup) -> None:
    setup.source.failures = 5
    setup.quotes.get("ABC", "jane")
    assert len(setup.time.pauses) == 5
    assert all(pause <= bound for pause, bound in zip(setup.time.pauses, (0.01, 0.02, 0.04, 0.08, 0.16), strict=True))


def test_a_question_that_takes_too_long_is_followed_by_another_and_its_answer_is_used_when_it_comes(
    setup: Setup,
) -> None:
    setup.source.takes = 1.0
    assert setup.quotes.get("ABC", "jane") == QUOTE
    assert setup.time.now == pytest.approx(1.0), "that of the first question, not of the last"
    assert len(setup.source.limits) >= 3


def test_every_question_is_open_until_the_limit_of_the_whole(setup: Setup) -> None:
    setup.source.takes = 10.0
    with pytest.raises(QuoteUnavailableError):
        setup.quotes.get("ABC", "jane")
    ends = [due - 10.0 + limit for due, limit in zip(setup.source.due, setup.source.limits, strict=True)]
    assert ends == pytest.approx([5.0] * len(ends))


def test_a_source_that_is_down_is_given_up_at_the_limit_and_the_lock_given_back(setup: Setup) -> None:
    setup.source.failures = 1_000_000
    with pytest.raises(QuoteUnavailableError) as raised:
        setup.quotes.get("ABC", "jane")
    assert raised.value.retry_after_seconds >= 1
    assert setup.time.now == pytest.approx(5.0, abs=0.001)
    assert setup.cache.released == [None]
    assert setup.source.ended == 1


def test_the_last_try_ends_with_the_limit(setup: Setup) -> None:
    setup.source.takes = 10.0
    with pytest.raises(QuoteUnavailableError):
        setup.quotes.get("ABC", "jane")
    assert 0 < setup.source.waits[-1] <= 0.25
    assert setup.time.now <= 5.001


def test_while_another_process_asks_this_one_looks_now_and_then(setup: Setup) -> None:
    setup.cache.claims = [(Claim.THEIRS, None)] * 3 + [(Claim.THEIRS, CACHED)]
    assert setup.quotes.get("ABC", "jane").cached
    assert setup.source.limits == []
    assert len(setup.time.pauses) == 3
    assert all(0.025 <= pause <= 0.05 for pause in setup.time.pauses)
    assert setup.cache.released == [], "the lock was never ours"


def test_a_wait_for_another_process_ends_by_itself(setup: Setup) -> None:
    setup.cache.claims = [(Claim.THEIRS, None)]
    with pytest.raises(QuoteUnavailableError):
        setup.quotes.get("ABC", "jane")
    assert setup.time.now == pytest.approx(5.0, abs=0.001)
    assert setup.source.limits == []


def test_who_waited_takes_over_when_the_lock_comes_free(setup: Setup) -> None:
    setup.cache.claims = [(Claim.THEIRS, None), (Claim.THEIRS, None), (Claim.OURS, None)]
    assert not setup.quotes.get("ABC", "jane").cached
    assert len(setup.source.limits) == 1


def test_who_lost_its_lock_between_two_tries_asks_no_more(setup: Setup) -> None:
    setup.source.failures = 1
    setup.cache.claims = [(Claim.OURS, None), (Claim.THEIRS, None), (Claim.THEIRS, CACHED)]
    assert setup.quotes.get("ABC", "jane").cached
    assert len(setup.source.limits) == 1


def test_without_redis_the_price_comes_straight_from_the_source(setup: Setup) -> None:
    setup.cache.claims = [(Claim.NOBODY_KNOWS, None)]
    assert not setup.quotes.get("ABC", "jane").cached


def test_an_answer_that_comes_after_the_lock_was_lost_is_used_and_not_stored(setup: Setup) -> None:
    setup.source.takes = 1.0
    setup.cache.claims = [(Claim.OURS, None), (Claim.THEIRS, None)]
    assert setup.quotes.get("ABC", "jane") == QUOTE
    assert setup.cache.released == []


@dataclass
class HeldSource:
    """Answers, or fails, when the test lets it."""

    fails: bool = False
    asked: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        self.asked.append(user)
        self.begun.set()
        assert self.go.wait(30)
        if self.fails:
            raise ZeroDivisionError
        return QUOTE.quote


@dataclass
class CountingCache(FakeCache):
    """Tells when so many have missed, which is the last thing they do before they join."""

    missed: threading.Barrier = field(default_factory=lambda: threading.Barrier(9))

    def read(self, symbol: str) -> QuoteAnswer | None:
        self.missed.wait(30)
        return None


def ask_from_eight_threads(source: HeldSource) -> Iterator[object]:
    """Yield what each of eight threads got that missed at the same moment, without Redis."""
    cache = CountingCache([(Claim.NOBODY_KNOWS, None)])
    quotes = SharedQuotes(
        cache, Questions(source, lambda _: None, moment, 10), QuoteRetryPolicy(try_ms=60_000, limit_ms=60_000)
    )

    def ask(number: int) -> object:
        try:
            return quotes.get("ABC", f"user{number}").cached
        except (QuoteUnavailableError, ZeroDivisionError) as error:
            return type(error)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(8)]
        cache.missed.wait(30)
        assert source.begun.wait(30)
        wait_until(lambda: len(quotes._single_flight._flights["ABC"].landed._cond._waiters) == 7)  # type: ignore[attr-defined]
        source.go.set()
        yield from (answer.result(30) for answer in answers)


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once something holds that nothing tells of."""
    for _ in range(6_000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never held")


def test_threads_of_a_process_share_one_flight_and_one_of_them_pays_for_it() -> None:
    source = HeldSource()
    outcomes = list(ask_from_eight_threads(source))
    assert (outcomes.count(False), outcomes.count(True)) == (1, 7)
    assert len(source.asked) == 1


def test_a_flight_that_crashes_leaves_nobody_waiting() -> None:
    """The first one gets the fault itself, for the log; the others cannot know it and may try again."""
    outcomes = list(ask_from_eight_threads(HeldSource(fails=True)))
    assert outcomes.count(ZeroDivisionError) == 1
    assert outcomes.count(QuoteUnavailableError) == 7


def test_flights_of_two_symbols_do_not_wait_for_each_other(setup: Setup) -> None:
    flights = SingleFlight()
    other = setup.quotes
    answer = flights.join("ABC", lambda: flights.join("XYZ", lambda: other.get("XYZ", "jane"), 1.0), 1.0)
    assert answer == QUOTE


def test_a_wait_for_a_flight_of_this_process_ends_by_itself(setup: Setup) -> None:
    flights = SingleFlight()

    def lead() -> QuoteAnswer:  # who joins now finds this flight under way, and it will not land while it waits
        with pytest.raises(QuoteUnavailableError):
            flights.join("ABC", lead, 0.01)
        return QUOTE

    assert flights.join("ABC", lead, 0.01) == QUOTE
