"""How many commands a trader may give in a time, on a real Redis."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.access.errors import RateLimitedError
from chalicelib.access.rate_limit import RateLimit
from chalicelib.circuit_breaker import FAILURES_TO_BREAK, CircuitBreaker
from tests.integration.api import Api, running_api, token


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


def limit_of(redis: Redis, commands: int, seconds: int, namespace: str = "of_the_tests") -> RateLimit:
    return RateLimit(redis, namespace, commands, seconds, CircuitBreaker(60.0))


def takes(limit: RateLimit, user: str) -> bool:
    try:
        limit.take(user)
    except RateLimitedError:
        return False
    return True


def someone() -> str:
    return uuid.uuid4().hex


def test_so_many_at_once_and_no_more(redis: Redis) -> None:
    limit, user = limit_of(redis, 5, 3600), someone()
    assert [takes(limit, user) for _ in range(7)] == [True] * 5 + [False] * 2
    with pytest.raises(RateLimitedError) as raised:
        limit.take(user)
    assert 700 < raised.value.retry_after_seconds <= 720  # a fifth of an hour
    assert takes(limit, someone())


def test_servers_count_together(redis: Redis) -> None:
    user = someone()
    limits = [limit_of(redis, 50, 3600) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: takes(limits[number % 4], user), range(100)))
    assert taken.count(True) == 50


def test_a_command_is_taken_again_when_it_was_said_that_it_would(redis: Redis) -> None:
    limit, user = limit_of(redis, 2, 2), someone()
    assert [takes(limit, user) for _ in range(3)] == [True, True, False]
    with pytest.raises(RateLimitedError) as raised:
        limit.take(user)
    time.sleep(raised.value.retry_after_seconds)  # the very thing under test
    assert takes(limit, user)


def test_another_deployment_on_the_same_redis_counts_for_itself(redis: Redis) -> None:
    user = someone()
    assert [takes(limit_of(redis, 1, 3600), user) for _ in range(2)] == [True, False]
    assert takes(limit_of(redis, 1, 3600, "another"), user)


@pytest.mark.parametrize("stored", ["garbage", "nan", "inf", "1e300", str(10**18), "-1e300"])
def test_nobody_is_shut_out_by_what_others_wrote(redis: Redis, stored: str) -> None:
    user = someone()
    redis.set(f"of_the_tests:rate:{user}", stored)
    assert [takes(limit_of(redis, 1, 3600), user) for _ in range(2)] == [True, False]


def test_a_count_of_another_type_is_no_obstacle_and_heals(redis: Redis) -> None:
    user = someone()
    redis.lpush(f"of_the_tests:rate:{user}", "a")
    assert [takes(limit_of(redis, 1, 3600), user) for _ in range(2)] == [True, False]


def test_what_is_counted_leaves_by_itself(redis: Redis) -> None:
    user = someone()
    limit_of(redis, 10, 5).take(user)
    assert 0 < int(redis.pttl(f"of_the_tests:rate:{user}")) <= 500


def test_redis_away_lets_everybody_through_and_is_not_waited_for_each_time() -> None:
    tries = 0

    class Away(Redis):
        def eval(self, *arguments: object) -> object:
            nonlocal tries
            tries += 1
            return super().eval(*arguments)  # type: ignore[arg-type]

    with Away(port=1, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0)) as away:
        limit = limit_of(away, 1, 3600)
        assert all(takes(limit, "jane") for _ in range(50))
    assert tries == FAILURES_TO_BREAK


def test_a_limit_is_answered_429_and_is_not_audited(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    user = someone()
    more = {"RATE_LIMIT": "3", "RATE_LIMIT_SECONDS": "3600"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **more) as api:
        trader = f"Bearer {token(user, 'trader')}"

        def add(api: Api, authorization: str) -> int:
            return api.ask("POST", f"/users/{user}/add", {"amount": "1.00"}, authorization=authorization).status

        assert [add(api, trader) for _ in range(4)] == [200, 200, 200, 429]
        refused = api.ask("GET", f"/users/{user}/summary", authorization=trader)
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert 0 < int(refused.headers["retry-after"]) <= 1200
        assert api.ask("GET", f"/users/{user}/summary", authorization=f"Bearer {token('x', 'trader')}").status == 403
        summary = api.get(f"/users/{user}/summary")  # operators have no limit
        assert (summary.body["cash"], len(summary.body["history"])) == ("3.00", 3)


def test_logs_have_a_lower_limit_of_their_own(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    """Another user and other commands go on; reads of logs are no DUMPLOGs, and operators have no limit."""
    more = {"DUMP_RATE_LIMIT": "2", "RATE_LIMIT_SECONDS": "3600"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **more) as api:
        users = [someone(), someone()]
        tokens = {user: f"Bearer {token(user, 'trader')}" for user in users}

        def dumps(user: str, authorization: str) -> int:
            return api.ask("POST", f"/users/{user}/dumplog", {"filename": "a"}, authorization=authorization).status

        assert [dumps(users[0], tokens[users[0]]) for _ in range(3)] == [200, 200, 429]
        assert dumps(users[1], tokens[users[1]]) == 200
        assert api.ask("GET", f"/users/{users[0]}/dumplog?filename=a", authorization=tokens[users[0]]).status == 200
        assert api.ask("GET", f"/users/{users[0]}/summary", authorization=tokens[users[0]]).status == 200
        operator = f"Bearer {token()}"
        assert [dumps(users[0], operator) for _ in range(3)] == [200] * 3


def test_a_limit_of_one_kind_takes_nothing_from_another(redis: Redis) -> None:
    user = someone()
    logs = RateLimit(redis, "of_the_tests", 1, 3600, CircuitBreaker(60.0), "dump")
    assert [takes(logs, user), takes(logs, user)] == [True, False]
    assert takes(limit_of(redis, 1, 3600), user)
