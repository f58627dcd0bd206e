"""The prices that were seen, in the real Redis: a point a minute, for a day, and nothing that others have put there."""

from collections.abc import Iterator

import pytest
from redis import Redis

from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.quotes.history import KEPT_MS, MINUTE_MS, Point, PriceHistory
from tests.integration.quote_parts import NAMESPACE, client_of

NOW = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
KEY = f"{NAMESPACE}:prices:ABC"
POINTS_A_DAY = 24 * 60


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with client_of(redis_url) as client:
        yield client


@pytest.fixture
def history(redis: Redis) -> PriceHistory:
    return PriceHistory(redis, NAMESPACE)


def put(redis: Redis, history: PriceHistory, *points: Point) -> None:
    with redis.pipeline(transaction=False) as pipeline:
        for point in points:
            history.add(pipeline, "ABC", point)
        pipeline.execute()


def test_a_point_takes_the_place_of_another_one_of_its_minute_only(redis: Redis, history: PriceHistory) -> None:
    first, second, next_minute = Point(NOW, 100), Point(NOW + 59_999, 200), Point(NOW + 60_000, 300)
    put(redis, history, first, second, next_minute)
    assert history.points("ABC", 0, NOW + 60_000) == [second, next_minute]
    assert history.points("XYZ", 0, NOW + 60_000) == []


def test_a_day_and_the_minute_that_began_it_are_kept_the_oldest_go(redis: Redis, history: PriceHistory) -> None:
    put(redis, history, *(Point(NOW - number * MINUTE_MS, 1 + number) for number in range(POINTS_A_DAY + 5, -1, -1)))
    assert redis.zcard(KEY) == POINTS_A_DAY + 1
    assert redis.zrange(KEY, 0, 0) == [f"{NOW - KEPT_MS}:{POINTS_A_DAY + 1}".encode()]


def test_a_symbol_that_nobody_asks_for_is_forgotten_after_a_day(redis: Redis, history: PriceHistory) -> None:
    put(redis, history, Point(NOW, 100))
    assert KEPT_MS - 10_000 < redis.pttl(KEY) <= KEPT_MS


def test_points_are_those_since_a_time_and_within_a_day_until_now(redis: Redis, history: PriceHistory) -> None:
    points = [Point(NOW - KEPT_MS - 1, 1), Point(NOW - KEPT_MS, 2), Point(NOW - MINUTE_MS, 3), Point(NOW, 4)]
    put(redis, history, *points, Point(NOW + MINUTE_MS, 5))
    assert history.points("ABC", 0, NOW) == points[1:]
    assert history.points("ABC", NOW - MINUTE_MS, NOW) == points[2:]
    assert history.points("ABC", NOW - MINUTE_MS + 1, NOW) == points[3:]


def test_of_more_than_500_points_every_second_or_third_is_told_the_latest_among_them(
    redis: Redis, history: PriceHistory
) -> None:
    points = [Point(NOW - number * MINUTE_MS, 1 + number) for number in range(1000, -1, -1)]
    put(redis, history, *points)
    assert history.points("ABC", NOW - 499 * MINUTE_MS, NOW) == points[-500:]
    assert history.points("ABC", NOW - 500 * MINUTE_MS, NOW) == points[-501::2]
    assert history.points("ABC", 0, NOW) == points[1::3]


def test_what_others_have_put_there_is_no_point(redis: Redis, history: PriceHistory) -> None:
    too_long = b"%d:%s1" % (NOW, b"0" * 25)
    assert len(too_long) == 40
    foreign = [b"x", b"12:", b":12", b"-5:100", b"%d:0" % NOW, b"%d:100000000001" % NOW, b"%d:1.5" % NOW, too_long]
    redis.zadd(KEY, dict.fromkeys(foreign, NOW // MINUTE_MS))
    longest = b"%d:%s1" % (NOW, b"0" * 24)
    redis.zadd(KEY, {longest: NOW // MINUTE_MS, b"%d:100000000000" % (NOW - 1): NOW // MINUTE_MS})
    assert history.points("ABC", 0, NOW) == [Point(NOW - 1, 100_000_000_000), Point(NOW, 1)]


def test_without_redis_the_history_is_unavailable_and_not_empty() -> None:
    with Redis(port=1) as nobody, pytest.raises(QuoteUnavailableError, match="history is not available"):
        PriceHistory(nobody, NAMESPACE).points("ABC", 0, NOW)
