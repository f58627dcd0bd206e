"""Current prices of several symbols, and those the system has seen: reads that are no commands (docs/api.md)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from redis import Redis

from chalicelib.clock import now_ms
from chalicelib.quotes.history import MINUTE_MS, Point, PriceHistory
from tests.integration.api import Api, running_api, token
from tests.integration.audit_parts import read_log


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


@pytest.fixture
def seen(redis_url: str, mongo_database: str) -> Iterator[PriceHistory]:
    with Redis.from_url(redis_url) as redis:
        yield PriceHistory(redis, mongo_database)


def put(history: PriceHistory, redis_url: str, symbol: str, *points: Point) -> None:
    with Redis.from_url(redis_url) as redis, redis.pipeline(transaction=False) as pipeline:
        for point in points:
            history.add(pipeline, symbol, point)
        pipeline.execute()


def test_prices_of_several_symbols_come_at_once_each_with_its_end(api: Api) -> None:
    began = now_ms()
    body = api.get("/users/jane/prices?symbols=abc,XYZ,ABC").body
    assert sorted(body["prices"]) == ["ABC", "XYZ"]
    assert body["unavailable"] == []
    price = body["prices"]["ABC"]
    assert (price["price"], price["cached"]) == ("10.00", False)
    assert began <= price["valid_until"] - 60_000 <= now_ms()
    assert api.get("/users/jane/prices?symbols=ABC").body["prices"]["ABC"]["cached"] is True


def test_a_hit_is_in_the_log_of_all_for_its_asker_and_makes_no_account(
    api: Api, mongo_uri: str, mongo_database: str
) -> None:
    jane = f"Bearer {token('jane', 'trader')}"
    assert api.ask("GET", "/users/jane/prices?symbols=ABC,XYZ", authorization=jane).status == 200
    api.get("/users/jane/prices?symbols=ABC,XYZ")
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        assert client[mongo_database]["accounts"].find_one({"_id": "jane"}) is None
    written = api.post("/dumplog", {"filename": "all.xml"}).body
    events = read_log(Path(written["location"]).read_bytes())
    hits = [fields for kind, fields in events if kind == "quoteServer"]
    assert sorted((hit["stockSymbol"], hit["username"]) for hit in hits) == [("ABC", "jane"), ("XYZ", "jane")]
    own = api.post("/users/jane/dumplog", {"filename": "own.xml"}).body
    assert [kind for kind, _ in read_log(Path(own["location"]).read_bytes())] == ["userCommand"]


def test_nobody_can_act_for_the_journal_of_the_system(api: Api) -> None:
    api.get("/users/jane/prices?symbols=ABC")
    for path in ("/users/$system/account", "/users/%24system/account"):
        assert api.get(path).code == "invalid_user"


def test_prices_that_cannot_be_had_are_named_and_are_no_failure(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    nobody = {"QUOTE_SOURCE": "tcp://127.0.0.1:1", "QUOTE_LIMIT_MS": "100"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **nobody) as api:
        symbols = ",".join(f"{first}{second}" for first in "ABCDE" for second in "ABCDEFGHIJ")
        reply = api.get(f"/users/jane/prices?symbols={symbols}")
        assert (reply.status, reply.body["prices"]) == (200, {})
        assert reply.body["unavailable"] == symbols.split(",")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_field"),
        ("?symbols=", "invalid_symbol"),
        ("?symbols=ABC,", "invalid_symbol"),
        ("?symbols=ABCD", "invalid_symbol"),
        ("?symbols=" + ",".join(["ABC"] * 51), "invalid_query"),
    ],
)
def test_symbols_that_are_none_or_too_many_are_refused(api: Api, query: str, code: str) -> None:
    assert api.get(f"/users/jane/prices{query}").code == code


def test_what_was_quoted_is_a_point_of_the_history(api: Api) -> None:
    assert api.get("/prices/abc/history").body == {"points": []}
    began = now_ms()
    api.get("/users/jane/quote/ABC")
    ((at, price),) = api.get("/prices/abc/history").body["points"]
    assert (price, began <= at <= now_ms()) == ("10.00", True)
    assert api.get(f"/prices/ABC/history?since={at + 1}").body["points"] == []


def test_a_minute_has_one_point_its_latest(api: Api, seen: PriceHistory, redis_url: str) -> None:
    minute = now_ms() // MINUTE_MS * MINUTE_MS - 10 * MINUTE_MS
    put(seen, redis_url, "ABC", Point(minute, 100), Point(minute + 59_999, 200), Point(minute + 60_000, 300))
    points = api.get("/prices/ABC/history").body["points"]
    assert points == [[minute + 59_999, "2.00"], [minute + 60_000, "3.00"]]


def test_a_day_is_thinned_to_five_hundred_points_oldest_first_the_latest_among_them(
    api: Api, seen: PriceHistory, redis_url: str
) -> None:
    now = now_ms()
    points = [Point(now - number * MINUTE_MS, 1 + number) for number in range(1500, -1, -1)]
    put(seen, redis_url, "ABC", *points)
    told = api.get("/prices/ABC/history").body["points"]
    assert 400 < len(told) <= 500
    assert told == sorted(told)
    assert told[-1] == [now, "0.01"]
    assert told[0][0] >= now - 24 * 60 * MINUTE_MS


def test_what_others_have_put_there_is_no_point(
    api: Api, seen: PriceHistory, redis_url: str, mongo_database: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        members = {b"x": 1e9, b"12:": 1e9, b"-5:100": 1e9, f"{now_ms()}:0".encode(): 1e9, b"9" * 30 + b":1": 1e9}
        redis.zadd(f"{mongo_database}:prices:ABC", members)
    put(seen, redis_url, "ABC", Point(now_ms() - 1000, 1234))
    assert [price for _, price in api.get("/prices/ABC/history").body["points"]] == ["12.34"]


def test_without_redis_the_history_of_prices_is_unavailable(
    mongo_uri: str, mongo_database: str, tmp_path: Path
) -> None:
    with running_api(mongo_uri, mongo_database, "redis://127.0.0.1:1/0", tmp_path) as api:
        assert api.get("/prices/ABC/history").code == "quote_unavailable"


def test_prices_need_a_token(api: Api) -> None:
    assert api.ask("GET", "/prices/ABC/history", authorization=None).code == "unauthorized"
    john = f"Bearer {token('john', 'trader')}"
    assert api.ask("GET", "/prices/ABC/history", authorization=john).status == 200
    assert api.ask("GET", "/users/jane/prices?symbols=ABC", authorization=john).code == "forbidden"
