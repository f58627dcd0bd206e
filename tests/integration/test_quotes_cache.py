"""Quotes in the real Redis: their 60 s, their locks, and what else may stand there."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import Quote
from chalicelib.quotes.cache import Claim, QuoteCache, quote_to_json
from chalicelib.quotes.circuit_breaker import Breaker
from chalicelib.quotes.retry_policy import Patience
from chalicelib.quotes.shared import SharedQuotes
from tests.integration.quote_parts import CountedSource, client_of

NOW = 1_700_000_000_000


@dataclass
class Setup:
    """Quotes on the real Redis with a clock and a source that the test sets; each `Setup` is another process."""

    redis: Redis
    now_ms: int = NOW

    def __post_init__(self) -> None:
        self.source = CountedSource(self.now_ms)
        self.cache = QuoteCache(self.redis, lambda: self.now_ms, Breaker(1.0))
        self.quotes = SharedQuotes(self.cache, self.source, Patience(limit_ms=1_000))

    def later(self, seconds: float) -> None:
        self.now_ms = self.source.now_ms = NOW + round(seconds * 1000)


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
    for seconds in (0, 59, 59.999):
        setup.later(seconds)
        again = setup.quotes.get("ABC", "john")
        assert (again.quote, again.cached) == (first.quote, True)
    for number, seconds in enumerate((60, 121), 2):
        setup.later(seconds)
        new = setup.quotes.get("ABC", "john")
        assert (new.cached, setup.source.asked) == (False, number)


def test_redis_itself_lets_a_quote_go_60_s_after_it_was_made(setup: Setup, redis: Redis) -> None:
    setup.quotes.get("ABC", "jane")
    assert 59_000 < redis.pttl("quote:ABC") <= 60_000


@pytest.mark.parametrize(("age_seconds", "ahead_ms"), [(1, 0), (20, 0), (59, 0), (0, 0), (-7, 7_000)])
def test_the_60_s_in_redis_count_from_when_the_server_made_the_quote(
    setup: Setup, redis: Redis, age_seconds: int, ahead_ms: int
) -> None:
    quote = Quote("ABC", 1000, "jane", NOW - age_seconds * 1000, "key", ahead_ms)
    setup.cache.release("ABC", "token", quote)
    left_ms = 60_000 - max(0, age_seconds) * 1000
    assert left_ms - 1_000 < redis.pttl("quote:ABC") <= left_ms
    assert setup.cache.read("ABC") == quote


def test_redis_forgets_a_quote_by_itself(setup: Setup, redis: Redis) -> None:
    """Without our clock: it stands still, the quote goes all the same."""
    setup.cache.release("ABC", "token", Quote("ABC", 1000, "jane", NOW - 59_700, "key"))
    assert redis.exists("quote:ABC")
    for _ in range(200):
        if not redis.exists("quote:ABC"):
            return
        threading.Event().wait(0.02)
    raise AssertionError("it is still there after 4 s, of which it had 0.3")


def test_a_quote_already_too_old_is_not_stored(setup: Setup, redis: Redis) -> None:
    setup.cache.release("ABC", "token", Quote("ABC", 1000, "jane", NOW - 60_000, "key"))
    assert not redis.exists("quote:ABC")


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
    good = quote_to_json(Quote("ABC", 1000, "jane", NOW, "key"))
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
        but(4, "key\n"),
        but(4, "\ud800"),
        but(4, "k" * 2_000),
        but(5, -1),
    ]


@pytest.mark.parametrize("stored", stored_instead(), ids=lambda stored: repr(stored[:40]))
def test_anything_but_a_quote_of_ours_is_a_miss_and_is_replaced(setup: Setup, redis: Redis, stored: bytes) -> None:
    redis.set("quote:ABC", stored)
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.quotes.get("ABC", "jane").cached
    assert redis.pttl("quote:ABC") > 0


@pytest.mark.parametrize("key", ["quote:ABC", "quote:ABC:lock"])
def test_a_key_of_another_type_is_no_obstacle(setup: Setup, redis: Redis, key: str) -> None:
    redis.lpush(key, "a", "b")
    assert not setup.quotes.get("ABC", "jane").cached
    assert setup.quotes.get("ABC", "jane").cached


def test_strange_values_are_warned_of_once_a_minute(
    setup: Setup, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        redis.set("quote:ABC", "strange")
        setup.cache.read("ABC")
    assert caplog.messages == ["what stands in the cache as the quote of ABC is none"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_lock_has_one_owner_who_may_renew_it(setup: Setup, redis: Redis) -> None:
    assert setup.cache.claim("ABC", "one", 5_000) == (Claim.OURS, None)
    assert setup.cache.claim("ABC", "two", 5_000) == (Claim.THEIRS, None)
    assert setup.cache.claim("ABC", "one", 60_000) == (Claim.OURS, None)
    assert 59_000 < redis.pttl("quote:ABC:lock") <= 60_000
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


def test_a_lock_that_would_never_end_counts_as_free(setup: Setup, redis: Redis) -> None:
    redis.set("quote:ABC:lock", "whoever")
    assert setup.cache.claim("ABC", "one", 5_000)[0] is Claim.OURS
    assert redis.pttl("quote:ABC:lock") > 0


def test_a_claim_sees_the_quote_that_was_stored_before_the_lock_came_free(setup: Setup) -> None:
    quote = Quote("ABC", 1000, "jane", NOW, "key")
    setup.cache.claim("ABC", "one", 5_000)
    setup.cache.release("ABC", "one", quote)
    assert setup.cache.claim("ABC", "two", 5_000) == (Claim.OURS, quote)
