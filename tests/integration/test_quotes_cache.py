"""Quotes in the real Redis: their 60 s, their locks, and what else may stand there."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from chalicelib.circuit_breaker import CircuitBreaker
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.moment import Moment
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.cache import Claim, QuoteCache, stored_form
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from tests.integration.quote_parts import NAMESPACE, CountedSource, client_of, shared_quotes

NOW = 1_700_000_000_000
QUOTE = Quote("ABC", 1000, "jane", 17, "key")
KEY = f"{NAMESPACE}:quote:ABC"


@dataclass
class Setup:
    """Quotes on the real Redis with clocks and a source that the test sets; each `Setup` is another process.

    `seconds` have passed, and the wall clock is `ahead_seconds` ahead of the right time.
    """

    redis: Redis
    ahead_seconds: float = 0
    seconds: float = 0

    def __post_init__(self) -> None:
        self.source = CountedSource()
        self.cache = QuoteCache(self.redis, NAMESPACE, self.moment, CircuitBreaker(1.0))
        self.quotes = shared_quotes(self.redis, self.source, QuoteRetryPolicy(limit_ms=1_000), self.moment)

    def moment(self) -> Moment:
        passed_ms = round(self.seconds * 1000)
        return Moment(NOW + round(self.ahead_seconds * 1000) + passed_ms, passed_ms)

    def asked(self, seconds_ago: float = 0) -> QuoteAnswer:
        """Return a quote for which the source was asked so long ago."""
        return QuoteAnswer(QUOTE, cached=False, asked=self.moment().earlier(round(seconds_ago * 1000)))

    def store(self, answer: QuoteAnswer) -> None:
        """Store a quote as one does who has asked the source."""
        self.cache.claim("ABC", "token", 5_000)
        self.cache.release("ABC", "token", answer)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with client_of(redis_url) as client:
        yield client


@pytest.fixture
def setup(redis: Redis) -> Setup:
    return Setup(redis)


def test_a_quote_is_reused_at_59_s_and_not_at_60_or_61_s(setup: Setup) -> None:
    first = setup.quotes.get("ABC", "jane")
    assert not first.cached
    for setup.seconds in (0, 59, 59.5):
        again = setup.quotes.get("ABC", "john")
        assert (again.quote, again.cached) == (first.quote, True)
    for number, setup.seconds in enumerate((60, 121), 2):
        new = setup.quotes.get("ABC", "john")
        assert (new.cached, setup.source.asked) == (False, number)


def test_redis_itself_lets_a_quote_go_60_s_after_the_question(setup: Setup, redis: Redis) -> None:
    setup.quotes.get("ABC", "jane")
    assert 59_000 < redis.pttl(KEY) <= 60_000


@pytest.mark.parametrize("age_seconds", [0, 1, 20, 59])
def test_the_60_s_in_redis_count_from_the_question(setup: Setup, redis: Redis, age_seconds: int) -> None:
    setup.store(setup.asked(age_seconds))
    left_ms = 60_000 - age_seconds * 1000
    assert left_ms - 1_000 < redis.pttl(KEY) <= left_ms
    answer = setup.cache.read("ABC")
    assert answer is not None
    assert (answer.quote, answer.cached) == (QUOTE, True)
    assert left_ms - 1_000 < answer.remaining_ms(setup.moment()) <= left_ms


@pytest.mark.parametrize("ahead_seconds", [-600, -10, 0, 10])
def test_a_reader_with_a_wrong_clock_uses_a_quote_no_longer_than_it_holds(
    setup: Setup, redis: Redis, ahead_seconds: int
) -> None:
    """Ten minutes back, a price of 66 s ago would be sold at if the reader's clock alone were asked."""
    setup.store(setup.asked(40))
    answer = Setup(redis, ahead_seconds).cache.read("ABC")
    assert answer is not None
    assert answer.remaining_ms(Moment(NOW + ahead_seconds * 1000, 0)) <= 20_000


def test_a_quote_of_a_server_an_hour_ahead_lasts_no_longer_than_another(redis: Redis) -> None:
    ahead, right = Setup(redis, ahead_seconds=3_600), Setup(redis)
    ahead.store(ahead.asked(40))
    answer = right.cache.read("ABC")
    assert answer is not None
    assert answer.remaining_ms(right.moment()) <= 20_000


def test_a_quote_stamped_11_days_ahead_ends_within_its_60_s(setup: Setup, redis: Redis) -> None:
    planted = QuoteAnswer(QUOTE, cached=False, asked=Moment(NOW + 11 * 86_400_000, 0))
    redis.set(KEY, stored_form(planted), px=30_000)
    answer = setup.cache.read("ABC")
    assert answer is not None
    assert answer.remaining_ms(setup.moment()) <= 30_000
    setup.seconds = 30
    assert answer.remaining_ms(setup.moment()) <= 0


@pytest.mark.parametrize("expiry_ms", [None, 11 * 86_400_000, 61_000])
def test_a_quote_that_redis_would_keep_longer_than_60_s_is_none_of_ours_and_is_replaced(
    setup: Setup, redis: Redis, expiry_ms: int | None
) -> None:
    redis.set(KEY, stored_form(setup.asked()), px=expiry_ms)
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.quotes.get("ABC", "jane").cached
    assert 0 < redis.pttl(KEY) <= 60_000


def test_redis_forgets_a_quote_by_itself(setup: Setup, redis: Redis) -> None:
    """Without our clock: it stands still, the quote goes all the same."""
    setup.store(setup.asked(59.7))
    assert redis.exists(KEY)
    for _ in range(200):
        if not redis.exists(KEY):
            return
        threading.Event().wait(0.02)
    raise AssertionError("it is still there after 4 s, of which it had 0.3")


def test_a_quote_already_too_old_is_not_stored_and_the_lock_is_given_back(setup: Setup, redis: Redis) -> None:
    setup.store(setup.asked(60))
    assert redis.keys("*") == []


def test_a_quote_that_redis_gets_after_its_lock_has_run_out_is_not_stored(setup: Setup, redis: Redis) -> None:
    """It may have lain in a socket of a Redis that stood still; its own time may be that of a wrong clock."""
    setup.cache.claim("ABC", "token", 5_000)
    redis.delete(f"{KEY}:lock")  # as when its time is up
    setup.cache.release("ABC", "token", setup.asked())
    assert setup.cache.read("ABC") is None
    setup.cache.claim("ABC", "another", 5_000)
    setup.cache.release("ABC", "token", setup.asked())
    assert setup.cache.read("ABC") is None
    assert redis.get(f"{KEY}:lock") == b"another"


def test_another_deployment_on_the_same_redis_has_quotes_and_locks_of_its_own(setup: Setup, redis: Redis) -> None:
    other = QuoteCache(redis, "another", setup.moment, CircuitBreaker(1.0))
    assert setup.cache.claim("ABC", "one", 5_000)[0] is Claim.OURS
    assert other.claim("ABC", "two", 5_000) == (Claim.OURS, None)
    other.release("ABC", "two", setup.asked())
    assert setup.cache.read("ABC") is None
    others = {b"another:quote:ABC", b"another:prices:ABC"}
    assert {bytes(key) for key in redis.scan_iter()} == {f"{KEY}:lock".encode(), *others}


def test_all_processes_share_a_quote_and_know_for_whom_it_was_made(redis: Redis) -> None:
    one, other = Setup(redis), Setup(redis)
    assert not one.quotes.get("ABC", "jane").cached
    answer = other.quotes.get("ABC", "john")
    assert (answer.cached, answer.quote.user, answer.quote.cryptokey) == (True, "jane", "key1")
    assert other.source.asked == 0


def test_a_miss_leaves_no_lock_behind(setup: Setup, redis: Redis) -> None:
    setup.quotes.get("ABC", "jane")
    setup.source.down = True
    with pytest.raises(QuoteUnavailableError):
        setup.quotes.get("XYZ", "jane")
    assert redis.keys("*:lock") == []


def stored_instead() -> list[bytes]:
    good = stored_form(QuoteAnswer(QUOTE, cached=False, asked=Moment(NOW, 0)))
    parts = json.loads(good)

    def but(place: int, value: object) -> bytes:
        return json.dumps([*parts[:place], value, *parts[place + 1 :]]).encode()

    return [
        b"",
        b"\xff\xfe\x00",
        b"12.50",
        b"null",
        b"{}",
        b"[" * 900,
        good[:-1],
        good + b"]",
        b'["ABC",1000,"jane"]',
        but(0, "ABD"),
        but(1, 0),
        but(1, -1000),
        but(1, 10.5),
        but(1, True),
        but(1, 10**12),
        but(2, None),
        but(2, "j\u00e4ne"),
        but(3, "now"),
        but(3, 10**18),
        but(3, -(10**18)),
        but(4, "key\n"),
        but(4, "\ud800"),
        but(4, "k" * 2_000),
        but(5, -1),
        but(5, 10**15),
        but(5, True),
        but(5, None),
    ]


@pytest.mark.parametrize("stored", stored_instead(), ids=lambda stored: repr(stored[:40]))
def test_anything_but_a_quote_of_ours_is_a_miss_and_is_replaced(setup: Setup, redis: Redis, stored: bytes) -> None:
    redis.set(KEY, stored, px=50_000)
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.quotes.get("ABC", "jane").cached
    assert redis.pttl(KEY) > 50_000


@pytest.mark.parametrize("key", [KEY, f"{KEY}:lock"])
def test_a_key_of_another_type_is_no_obstacle_and_no_outage_and_heals(
    setup: Setup, redis: Redis, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis.lpush(key, "a", "b")
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.quotes.get("ABC", "jane").cached
    assert redis.type(key) in {b"string", b"none"}
    assert not [message for message in caplog.messages if "cache fails" in message]


def test_a_lock_of_another_type_is_taken_over_by_one_and_holds(setup: Setup, redis: Redis) -> None:
    redis.lpush(f"{KEY}:lock", "a", "b")
    assert setup.cache.claim("ABC", "one", 5_000) == (Claim.OURS, None)
    assert setup.cache.claim("ABC", "two", 5_000) == (Claim.THEIRS, None)


def test_strange_values_are_warned_of_once_a_minute(
    setup: Setup, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        redis.set(KEY, "strange", px=50_000)
        setup.cache.read("ABC")
    assert caplog.messages == ["the cache has a foreign value in the place of the quote of ABC"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_lock_has_one_owner_who_may_renew_it(setup: Setup, redis: Redis) -> None:
    assert setup.cache.claim("ABC", "one", 5_000) == (Claim.OURS, None)
    assert setup.cache.claim("ABC", "two", 5_000) == (Claim.THEIRS, None)
    assert setup.cache.claim("ABC", "one", 60_000) == (Claim.OURS, None)
    assert 59_000 < redis.pttl(f"{KEY}:lock") <= 60_000
    assert setup.cache.claim("XYZ", "two", 5_000) == (Claim.OURS, None)


def test_only_its_owner_gives_a_lock_back(setup: Setup) -> None:
    setup.cache.claim("ABC", "one", 5_000)
    setup.cache.release("ABC", "two", None)
    assert setup.cache.claim("ABC", "two", 5_000)[0] is Claim.THEIRS
    setup.cache.release("ABC", "one", None)
    assert setup.cache.claim("ABC", "two", 5_000)[0] is Claim.OURS


def test_a_lock_ends_by_itself(setup: Setup) -> None:
    setup.cache.claim("ABC", "one", 100)
    for _ in range(200):
        if setup.cache.claim("ABC", "two", 5_000)[0] is Claim.OURS:
            return
        threading.Event().wait(0.02)
    raise AssertionError("it still holds after 4 s, of which it had 0.1")


@pytest.mark.parametrize("expiry_ms", [None, 11 * 86_400_000])
def test_a_lock_that_would_never_end_or_not_for_long_counts_as_free(
    setup: Setup, redis: Redis, expiry_ms: int | None
) -> None:
    redis.set(f"{KEY}:lock", "whoever", px=expiry_ms)
    assert setup.cache.claim("ABC", "one", 5_000)[0] is Claim.OURS
    assert 0 < redis.pttl(f"{KEY}:lock") <= 5_000


def test_a_claim_sees_the_quote_that_was_stored_before_the_lock_came_free(setup: Setup) -> None:
    setup.cache.claim("ABC", "one", 5_000)
    setup.cache.release("ABC", "one", setup.asked())
    claim, answer = setup.cache.claim("ABC", "two", 5_000)
    assert claim is Claim.OURS
    assert answer is not None
    assert (answer.quote, answer.cached) == (QUOTE, True)
