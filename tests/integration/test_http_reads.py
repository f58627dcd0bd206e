"""Reads that are no commands: an account as it is, and what happened to it (docs/api.md)."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.integration.api import Api, running_api, token

ABC = {"symbol": "ABC", "amount": "100.00"}


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def account(api: Api, query: str = "", **headers: str) -> Any:
    reply = api.get(f"/users/jane/account{query}", **headers)
    assert reply.status == 200
    return reply.body


def trade(api: Api) -> None:
    """Add 1,000.00, buy 10 ABC at 10.00 and keep them, sell 2 of them, and leave one order and one trigger open."""
    api.post("/users/jane/add", {"amount": "1000.00"})
    api.post("/users/jane/buy", ABC)
    api.post("/users/jane/commit-buy")
    api.post("/users/jane/sell", {**ABC, "amount": "20.00"})
    api.post("/users/jane/commit-sell")
    api.post("/users/jane/set-sell-amount", {**ABC, "amount": "36.00"})
    api.post("/users/jane/set-sell-trigger", {"symbol": "ABC", "price": "12.00"})
    api.post("/users/jane/buy", {"symbol": "XYZ", "amount": "55.00"})


def test_an_account_that_is_not_there_is_not_made_by_looking(api: Api, mongo_uri: str, mongo_database: str) -> None:
    seen = account(api)
    assert (seen["exists"], seen["version"], seen["cash"], seen["positions"], seen["events"]) == (
        *(False, 0, "0.00", {}, []),
    )
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        assert client[mongo_database]["accounts"].find_one({"_id": "jane"}) is None


def test_an_account_is_told_with_what_is_reserved_and_what_it_cost(api: Api) -> None:
    trade(api)
    seen = account(api)
    assert (seen["exists"], seen["version"], seen["cash"], seen["reserved_cash"]) == (True, 8, "870.00", "50.00")
    assert seen["holdings"] == {"ABC": 5}
    assert seen["positions"] == {"ABC": {"shares": 8, "reserved": 3, "cost": "80.00"}}
    assert seen["realised"] == "0.00"
    assert [(order["order"], order["symbol"]) for order in seen["pending_buys"]] == [(8, "XYZ")]
    assert [(trigger["symbol"], trigger["shares"]) for trigger in seen["sell_triggers"]] == [("ABC", 3)]


def test_looking_leaves_nothing_in_the_account_or_the_log(api: Api) -> None:
    trade(api)
    before = account(api)
    for path in ("/users/jane/account", "/users/jane/history", "/users/jane/history?format=csv"):
        assert api.get(path).status == 200
    assert account(api) == before


def test_events_are_told_newest_first_with_shares_price_and_money(api: Api) -> None:
    trade(api)
    seen = account(api)
    kinds = ["order_placed", "trigger_set", "order_committed", "order_placed", "order_committed", "order_placed"]
    assert [event["kind"] for event in seen["events"]] == [*kinds, "cash_added"]
    assert seen["more"] is False
    sold = seen["events"][2]
    assert (sold["id"], sold["order"], sold["side"], sold["symbol"]) == ("5.0", 4, "sell", "ABC")
    assert (sold["shares"], sold["price"], sold["money"]) == (2, "10.00", "20.00")


def test_events_after_one_come_oldest_first_and_each_once_across_closed_parts(api: Api) -> None:
    for _ in range(150):
        api.post("/users/jane/add", {"amount": "1.00"})
    latest = account(api)
    assert ([event["id"] for event in latest["events"]], latest["more"]) == (
        [f"{number}.0" for number in range(150, 130, -1)],
        True,
    )
    told = account(api, "?after=20.0")["events"]
    assert [event["id"] for event in told] == [f"{number}.0" for number in range(21, 151)]
    assert account(api, "?after=150.0")["events"] == []
    assert account(api, "?after=0.0")["events"][0]["id"] == "1.0"


def test_at_most_two_hundred_events_are_told_at_once_and_the_rest_next(api: Api) -> None:
    for _ in range(203):
        api.post("/users/jane/add", {"amount": "1.00"})
    first = account(api, "?after=0.0")
    assert (len(first["events"]), first["more"]) == (200, True)
    rest = account(api, f"?after={first['events'][-1]['id']}")
    assert ([event["id"] for event in rest["events"]], rest["more"]) == (["201.0", "202.0", "203.0"], False)


def test_a_client_that_has_the_version_gets_no_body(api: Api) -> None:
    assert api.get("/users/jane/account").headers["etag"] == '"0"'
    trade(api)
    etag = api.get("/users/jane/account").headers["etag"]
    for tag in (etag, f"W/{etag}", f'"other", {etag}'):
        reply = api.get("/users/jane/account", If_None_Match=tag)
        assert (reply.status, reply.text, reply.headers["etag"]) == (304, "", etag)
    api.post("/users/jane/add", {"amount": "1.00"})
    assert api.get("/users/jane/account", If_None_Match=etag).status == 200


def test_history_has_every_entry_newest_first_page_by_page(api: Api) -> None:
    for _ in range(70):
        api.get("/users/jane/quote/ABC")
    trade(api)
    seen, before = [], ""
    while True:
        page = api.get(f"/users/jane/history?limit=30{before}").body
        seen += page["entries"]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert [entry["sequence"] for entry in seen] == list(range(78, 0, -1))


def test_entries_that_are_missing_without_having_been_archived_are_not_left_out(
    api: Api, mongo_uri: str, mongo_database: str
) -> None:
    """A primary that was deposed and does not know it has not all parts: what it shows is no history."""
    for _ in range(200):
        api.post("/users/jane/add", {"amount": "1.00"})
    reads = ("/users/jane/history?limit=200", "/users/jane/account?after=1.0")
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        journal, archives = client[mongo_database]["journal"], client[mongo_database]["archives"]
        parts = sorted(part["_id"] for part in journal.find({}, {"_id": 1}))
        assert len(parts) == 3
        for missing, status in ((parts[1], 503), (parts[2], 503), (parts[0], 503)):
            journal.delete_one({"_id": missing})
            assert [api.get(read).status for read in reads] == [status, status], missing
        archives.insert_one({"_id": "1", "users": ["jane"], "state": "done"})
    pages = [api.get(read) for read in reads]
    assert [page.status for page in pages] == [200, 200]
    assert 0 < len(pages[0].body["entries"]) < 64


def test_history_says_why_a_command_was_rejected_and_what_cash_there_was(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "12.50"})
    api.post("/users/jane/buy", {**ABC, "amount": "280.00"})
    rejected, added = api.get("/users/jane/history").body["entries"]
    assert (rejected["outcome"], rejected["command"], rejected["cash"]) == ("insufficient_funds", "BUY", "12.50")
    assert "280.00" in rejected["detail"]
    assert "12.50" in rejected["detail"]
    assert (rejected["symbol"], rejected["amount"], rejected["events"]) == ("ABC", "280.00", [])
    assert [event["kind"] for event in added["events"]] == ["cash_added"]


def test_trades_are_the_entries_that_moved_shares(api: Api) -> None:
    trade(api)
    page = api.get("/users/jane/history?kind=trades").body
    assert [entry["command"] for entry in page["entries"]] == ["COMMIT_SELL", "COMMIT_BUY"]


def test_history_as_csv_has_a_line_an_event_below_its_names(api: Api) -> None:
    trade(api)
    api.get("/users/jane/quote/ABC")
    reply = api.get("/users/jane/history?format=csv")
    assert reply.headers["content-type"] == "text/csv"
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [row["command"] for row in rows][:2] == ["QUOTE", "BUY"]
    assert [row["event_kind"] for row in rows] == [
        *("", "order_placed", "trigger_set", "", "order_committed", "order_placed", "order_committed", "order_placed"),
        "cash_added",
    ]
    assert rows[1]["event_money"] == "50.00"


def test_a_trader_reads_its_own_account_only(api: Api) -> None:
    john = f"Bearer {token('john', 'trader')}"
    for path in ("/users/jane/account", "/users/jane/history"):
        assert api.ask("GET", path, authorization=john).code == "forbidden"
        assert api.ask("GET", path, authorization=None).code == "unauthorized"


@pytest.mark.parametrize(
    "query",
    ["after=17", "after=a.b", "after=-1.0", "after=1.0.0", "after=%D9%A3.0"],
)
def test_an_id_that_is_none_is_refused(api: Api, query: str) -> None:
    assert api.get(f"/users/jane/account?{query}").code == "invalid_query"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "before=0", "before=1.5", "kind=quotes", "format=xml"]
)
def test_a_page_that_cannot_be_is_refused(api: Api, query: str) -> None:
    assert api.get(f"/users/jane/history?{query}").code == "invalid_query"


def test_without_the_database_a_read_says_that_it_changed_nothing(redis_url: str, tmp_path: Path) -> None:
    away = "mongodb://127.0.0.1:1/?directConnection=true"
    with running_api(away, "none", redis_url, tmp_path, MONGO_TIMEOUT_MS="100", COMMAND_TIMEOUT_MS="200") as api:
        for path in ("/users/jane/account", "/users/jane/history"):
            reply = api.get(path)
            assert (reply.code, reply.headers["retry-after"]) == ("store_unavailable", "1")
            assert "nothing is changed by reading" in reply.body["detail"]
