"""The real Redis full, frozen and gone: prices come straight from the source, and from the cache again by itself."""

import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.circuit_breaker import FAILURES_TO_BREAK, CircuitBreaker
from chalicelib.clock import moment
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.quotes.cache import QuoteCache
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from tests.integration.quote_parts import (
    NAMESPACE,
    CountedSource,
    OwnServer,
    client_of,
    own_redis,
    shared_quotes,
    url_of,
)

TIMEOUT_SECONDS = 0.2
PAUSE_SECONDS = 0.3
OUTAGE = "the quote cache is failing; prices come straight from the source: "
BACK = "the quote cache is in use again"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnServer]:
    with own_redis(tmp_path) as server:
        yield server


@pytest.fixture
def source() -> CountedSource:
    return CountedSource()


@pytest.fixture
def quotes(redis: OwnServer, source: CountedSource) -> Iterator[SharedQuotes]:
    with client_of(url_of(redis), TIMEOUT_SECONDS) as client:
        yield shared_quotes(client, source, QuoteRetryPolicy(), breaker=CircuitBreaker(PAUSE_SECONDS))


def comes_from_the_cache_again(quotes: SharedQuotes) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if quotes.get("ABC", "jane").cached:
            return True
    return False


def messages(caplog: pytest.LogCaptureFixture, start: str) -> list[str]:
    return [message for message in caplog.messages if message.startswith(start)]


def test_a_full_redis_serves_what_it_has_and_the_rest_comes_from_the_source(
    redis: OwnServer, quotes: SharedQuotes, source: CountedSource, caplog: pytest.LogCaptureFixture
) -> None:
    quotes.get("OLD", "jane")
    with client_of(url_of(redis)) as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        assert all(not quotes.get("ABC", "jane").cached for _ in range(50))
        assert all(quotes.get("OLD", "jane").cached for _ in range(50))
        assert len(messages(caplog, OUTAGE)) == 1
        admin.config_set("maxmemory", 0)
    assert not quotes.get("ABC", "jane").cached
    assert quotes.get("ABC", "jane").cached
    assert source.asked == 52


def test_a_frozen_redis_costs_a_few_time_outs_and_not_one_a_request(
    redis: OwnServer, quotes: SharedQuotes, source: CountedSource, caplog: pytest.LogCaptureFixture
) -> None:
    quotes.get("ABC", "jane")
    redis.signal(signal.SIGSTOP)
    begun = time.monotonic()
    number = 0
    while time.monotonic() < begun + 2:
        assert not quotes.get("ABC", "jane").cached
        number += 1
    assert number > 100, "all but a few were answered at once: 10 with a time-out each would fill the 2 s"
    assert len(messages(caplog, OUTAGE)) == 1
    redis.signal(signal.SIGCONT)
    assert comes_from_the_cache_again(quotes)
    assert messages(caplog, BACK) == [BACK]


def test_a_redis_that_was_killed_is_used_again_after_its_return(
    redis: OwnServer, quotes: SharedQuotes, source: CountedSource, caplog: pytest.LogCaptureFixture
) -> None:
    quotes.get("ABC", "jane")
    redis.kill()
    assert all(not quotes.get("ABC", "jane").cached for _ in range(1_000))
    assert source.asked == 1_001
    assert len(messages(caplog, OUTAGE)) == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    redis.start()
    assert comes_from_the_cache_again(quotes)


def test_a_failed_release_opens_the_breaker(source: CountedSource, redis: OwnServer) -> None:
    """The cache goes away while the source is asked: three stores that fail are an outage as three reads would be."""
    with client_of(url_of(redis), TIMEOUT_SECONDS) as client:
        breaker = CircuitBreaker(60.0)
        cache = QuoteCache(client, NAMESPACE, moment, breaker)
        answer = QuoteAnswer(source.ask("ABC", "jane", 1.0), cached=False, asked=moment())
        redis.kill()
        for _ in range(FAILURES_TO_BREAK):
            assert breaker.begin() is not None
            cache.release("ABC", "token", answer)
        assert breaker.begin() is None


def test_a_release_that_redis_refuses_is_no_outage(
    source: CountedSource, redis: OwnServer, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(url_of(redis), TIMEOUT_SECONDS) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        breaker = CircuitBreaker(60.0)
        cache = QuoteCache(client, NAMESPACE, moment, breaker)
        for _ in range(FAILURES_TO_BREAK + 1):
            cache.release("ABC", "token", QuoteAnswer(source.ask("ABC", "jane", 1.0), cached=False, asked=moment()))
        assert breaker.begin() is not None
        assert len(messages(caplog, OUTAGE)) == 1
