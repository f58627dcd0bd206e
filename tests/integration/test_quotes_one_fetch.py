"""However many requests miss at once, over all processes, one asks the real quote server; it counts."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from infra.local.services.quote_server import server_statistics
from tests.integration.quote_parts import (
    Asker,
    client_of,
    hits,
    own_quote_server,
    quote_settings,
    source_of,
)

PROCESSES = 4
THREADS = 50


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with client_of(redis_url) as client:
        client.config_resetstat()
        yield client


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once something holds that nothing tells of."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def looks_at_locks(redis: Redis) -> int:
    """Return how often any process has looked at any lock."""
    calls: int = redis.info("commandstats").get("cmdstat_eval", {}).get("calls", 0)
    return calls


def test_200_requests_of_4_processes_for_one_cold_symbol_are_one_hit(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    with own_quote_server(tmp_path, "--delay", "2") as server:
        environment = quote_settings(redis_url, source_of(server), QUOTE_TRY_MS="10000", QUOTE_LIMIT_MS="20000")
        with ExitStack() as stack:
            askers = [stack.enter_context(Asker(environment, "ABC", THREADS)) for _ in range(PROCESSES)]
            for asker in askers:
                asker.go()
            answers = [answer for asker in askers for answer in asker.answers()]
        assert len(answers) == PROCESSES * THREADS
        assert not [answer for answer in answers if "error" in answer]
        assert [answer["cached"] for answer in answers].count(False) == 1
        assert len({(answer["price"], answer["user"]) for answer in answers}) == 1
        assert server_statistics(server.port)["by_symbol"] == {"ABC": 1}


def test_without_redis_the_threads_of_each_process_still_share_one_hit(tmp_path: Path) -> None:
    with own_quote_server(tmp_path, "--delay", "1") as server, ExitStack() as stack:
        nowhere = "redis://127.0.0.1:1/0"
        environment = quote_settings(nowhere, source_of(server), QUOTE_TRY_MS="10000", QUOTE_LIMIT_MS="20000")
        askers = [stack.enter_context(Asker(environment, "ABC", THREADS)) for _ in range(2)]
        for asker in askers:
            asker.go()
        answers = [answer for asker in askers for answer in asker.answers()]
        assert [answer["cached"] for answer in answers].count(False) == 2
        assert hits(server) == 2


def test_when_the_one_that_asks_is_killed_another_takes_over_after_its_lock(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """The first one's server never answers; the lock outlives its owner by no more than a try and a second."""
    times = {"QUOTE_TRY_MS": "2000", "QUOTE_LIMIT_MS": "30000", "QUOTE_LOCK_SPARE_MS": "500"}
    with (
        own_quote_server(tmp_path, "--fail", "1", "--failures", "silent") as silent,
        own_quote_server(tmp_path) as good,
        Asker(quote_settings(redis_url, source_of(silent), **times), "ABC", 1) as first,
        Asker(quote_settings(redis_url, source_of(good), **times), "ABC", 5) as second,
    ):
        first.go()
        wait_until(lambda: hits(silent) == 1)
        second.go()
        before = looks_at_locks(redis)
        wait_until(lambda: looks_at_locks(redis) > before + 5)  # the second one is waiting
        assert hits(good) == 0
        first.process.kill()
        killed = time.monotonic()
        answers = second.answers()
        assert time.monotonic() - killed < 10
        assert sorted(answer["cached"] for answer in answers) == [False, True, True, True, True]
        assert hits(good) == 1


def test_a_flight_that_fails_hands_over_at_once(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """The lock is given back, not left to expire: with a spare of 10 s the second one would run out of time."""
    with (
        own_quote_server(tmp_path, "--fail", "1", "--failures", "reset") as failing,
        own_quote_server(tmp_path) as good,
        Asker(
            quote_settings(redis_url, source_of(failing), QUOTE_LIMIT_MS="2000", QUOTE_LOCK_SPARE_MS="10000"), "ABC", 1
        ) as first,
        Asker(
            quote_settings(redis_url, source_of(good), QUOTE_LIMIT_MS="8000", QUOTE_LOCK_SPARE_MS="10000"), "ABC", 1
        ) as second,
    ):
        first.go()
        wait_until(lambda: hits(failing) >= 1)
        second.go()
        assert "error" in first.answers()[0]
        assert second.answers()[0]["cached"] is False
        assert hits(failing) > 1, "it tried again before it gave up"
