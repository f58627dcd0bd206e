"""The prices the system has seen, one point per minute and symbol, for charts (docs/api.md).

They are kept in Redis beside the quotes, in one sorted set per symbol. No command takes its price from there, and if
the cache loses its data, charts have a gap.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.money import MAX_CENTS

MOST_POINTS = 500
KEPT_MS = 24 * 60 * 60 * 1000
MINUTE_MS = 60_000

_MOST_STORED = KEPT_MS // MINUTE_MS + 1


class Point(NamedTuple):
    """A price and when the source was asked for it, in ms."""

    at_ms: int
    price_cents: int


class PriceHistory:
    """The points of each symbol, under keys that begin with `namespace`; safe to share between threads."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace

    def points(self, symbol: str, since_ms: int, now_ms: int) -> list[Point]:
        """Return the points of the last 24 h from `since_ms` on, oldest first, at most 500.

        If there are more, they are thinned evenly; the latest is always included. Raises QuoteUnavailableError if Redis
        does not answer.
        """
        earliest = max(since_ms, now_ms - KEPT_MS)
        try:
            stored: Any = self._redis.zrange(self._key(symbol), earliest // MINUTE_MS, "+inf", byscore=True)
        except RedisError as error:
            raise QuoteUnavailableError("the price history is not available") from error
        points = sorted(point for member in stored if (point := _point(member)) and earliest <= point.at_ms <= now_ms)
        return _thinned(points)

    def add(self, pipeline: Pipeline, symbol: str, point: Point) -> None:
        """Queue the commands that store a point in place of an older one of the same minute."""
        key, minute = self._key(symbol), point.at_ms // MINUTE_MS
        pipeline.zremrangebyscore(key, minute, minute)
        pipeline.zadd(key, {f"{point.at_ms}:{point.price_cents}": minute})
        pipeline.zremrangebyrank(key, 0, -_MOST_STORED - 1)
        pipeline.pexpire(key, KEPT_MS)

    def _key(self, symbol: str) -> str:
        return f"{self._namespace}:prices:{symbol}"


def _point(member: bytes) -> Point | None:
    """Return the point stored as a member, or None if it is not ours."""
    at, colon, price = member.partition(b":")
    if not (colon and at.isdigit() and price.isdigit() and len(member) < 40 and 0 < int(price) <= MAX_CENTS):
        return None
    return Point(int(at), int(price))


def _thinned(points: Sequence[Point]) -> list[Point]:
    step = -(-len(points) // MOST_POINTS)
    return list(points[::-1][:: max(1, step)][::-1])
