"""The interface of docs/api.md, route by route, on a real MongoDB and Redis."""

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jwt
import pytest

from app import app
from infra.host.ports import HOST, claim, free_port
from infra.local import process as parts
from infra.local.services.redis_server import redis_part
from infra.servers.api_gateway_events import Context, make_event
from infra.servers.gateway.requests import HttpRequest
from tests.integration.api import Api, running_api, token
from tests.integration.shop import SECRET

COMMANDS = {
    "add": {"amount": "100.00"},
    "buy": {"symbol": "ABC", "amount": "100.00"},
    "commit-buy": None,
    "cancel-buy": None,
    "sell": {"symbol": "ABC", "amount": "100.00"},
    "commit-sell": None,
    "cancel-sell": None,
    "set-buy-amount": {"symbol": "ABC", "amount": "100.00"},
    "set-buy-trigger": {"symbol": "ABC", "price": "12.50"},
    "cancel-set-buy": {"symbol": "ABC"},
    "set-sell-amount": {"symbol": "ABC", "amount": "100.00"},
    "set-sell-trigger": {"symbol": "ABC", "price": "12.50"},
    "cancel-set-sell": {"symbol": "ABC"},
    "dumplog": {"filename": "log.xml"},
}
USER_ROUTES = [("POST", name) for name in COMMANDS] + [("GET", "quote/ABC"), ("GET", "summary")]


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """Return the app on a fresh database."""
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def test_the_routes_are_those_of_the_interface() -> None:
    routes = {(method, path) for path, methods in app.routes.items() for method in methods}
    expected = {("POST", f"/users/{{user}}/{name}") for name in COMMANDS}
    expected |= {("GET", "/users/{user}/quote/{symbol}"), ("GET", "/users/{user}/summary")}
    expected |= {("GET", "/users/{user}/dumplog"), ("GET", "/dumplog"), ("POST", "/dumplog")}
    expected |= {("GET", f"/users/{{user}}/{name}") for name in ("account", "history", "prices")}
    expected |= {("GET", "/prices/{symbol}/history")}
    expected |= {("GET", "/"), ("GET", "/assets/{version}/{name}")}
    assert routes == expected | {("GET", "/health"), ("GET", "/openapi.json")}


def test_a_day_of_trading(api: Api) -> None:
    assert api.post("/users/jane/add", {"amount": "5000.00"}).body["cash"] == "5000.00"
    quote = api.get("/users/jane/quote/abc").body
    assert (quote["symbol"], quote["price"], quote["command"], quote["user"]) == ("ABC", "10.00", "QUOTE", "jane")
    buy = api.post("/users/jane/buy", {"symbol": "ABC", "amount": "287.90"}).body
    assert (buy["cash"], buy["shares"], buy["price"], buy["cost"]) == ("4720.00", 28, "10.00", "280.00")
    assert buy["expires_at"] > quote["timestamp"]
    assert api.post("/users/jane/commit-buy").body["shares"] == 28
    assert api.post("/users/jane/sell", {"symbol": "ABC", "amount": "80.00"}).body["proceeds"] == "80.00"
    assert api.post("/users/jane/commit-sell", {}).body["cash"] == "4800.00"
    trigger = api.post("/users/jane/set-buy-amount", {"symbol": "DEF", "amount": 100}).body
    assert (trigger["symbol"], trigger["amount"], trigger["price"]) == ("DEF", "100.00", None)
    api.post("/users/jane/set-sell-amount", {"symbol": "ABC", "amount": "100.00"})
    assert api.post("/users/jane/set-sell-trigger", {"symbol": "ABC", "price": "12.50"}).body["shares"] == 8
    summary = api.get("/users/jane/summary").body
    assert (summary["cash"], summary["holdings"]) == ("4700.00", {"ABC": 12})
    assert summary["buy_triggers"] == [{"symbol": "DEF", "amount": "100.00", "price": None}]
    assert summary["sell_triggers"] == [{"symbol": "ABC", "amount": "100.00", "price": "12.50", "shares": 8}]
    assert [past["command"] for past in summary["history"]][:3] == [
        "SET_SELL_TRIGGER",
        "SET_SELL_AMOUNT",
        "SET_BUY_AMOUNT",
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("buy", "insufficient_funds"),
        ("commit-buy", "no_pending_buy"),
        ("cancel-buy", "no_pending_buy"),
        ("sell", "insufficient_shares"),
        ("commit-sell", "no_pending_sell"),
        ("cancel-sell", "no_pending_sell"),
        ("set-buy-amount", "insufficient_funds"),
        ("set-buy-trigger", "no_buy_amount"),
        ("cancel-set-buy", "no_buy_amount"),
        ("set-sell-amount", "insufficient_shares"),
        ("set-sell-trigger", "no_sell_amount"),
        ("cancel-set-sell", "no_sell_amount"),
    ],
)
def test_a_rejection_is_409_with_its_code_and_stands_in_the_history(api: Api, name: str, code: str) -> None:
    reply = api.post(f"/users/jane/{name}", COMMANDS[name])
    assert (reply.status, reply.code) == (409, code)
    assert api.get("/users/jane/summary").body["history"][0]["outcome"] == code


def test_below_the_price_of_one_share_is_a_rejection(api: Api) -> None:
    assert api.post("/users/jane/buy", {"symbol": "ABC", "amount": "9.99"}).code == "amount_below_price"


BAD_REQUESTS = [
    ("add", b'{"amount": "1.001"}', "invalid_amount"),
    ("add", b'{"amount": 1.001}', "invalid_amount"),
    ("add", b'{"amount": "-5.00"}', "invalid_amount"),
    ("add", b'{"amount": 0}', "invalid_amount"),
    ("add", b'{"amount": null}', "invalid_amount"),
    ("add", b'{"amount": true}', "invalid_amount"),
    ("add", b'{"amount": {"$gt": ""}}', "invalid_amount"),
    ("add", b'{"amount": 1e400}', "invalid_amount"),
    ("add", b'{"amount": 1e-400}', "invalid_amount"),
    ("add", b'{"amount": ' + b"9" * 5000 + b"}", "invalid_amount"),
    ("add", b'{"amount": "1000000000.01"}', "invalid_amount"),
    ("add", b'{"amount": NaN}', "invalid_json"),
    ("add", b'{"amount": Infinity}', "invalid_json"),
    ("add", b'{"amount": 1e9999999999999999999}', "invalid_amount"),
    ("add", b'{"amount": 1e-9999999999999999999}', "invalid_amount"),
    ("add", b'{"amount": "1", "amount": "2"}', "invalid_json"),
    ("add", b"{", "invalid_json"),
    ("add", b"[]", "invalid_json"),
    ("add", b'"1"', "invalid_json"),
    ("add", b"null", "invalid_json"),
    ("add", b'{"amount": "\xff"}', "invalid_json"),
    ("add", b"[" * 30_000, "invalid_json"),
    ("add", b"{}", "missing_field"),
    ("add", b"", "missing_field"),
    ("add", b'{"amount": "1.00", "currency": "EUR"}', "unknown_field"),
    ("add", b'{"amount": "1.00", "$where": "1"}', "unknown_field"),
    ("commit-buy", b'{"symbol": "ABC"}', "unknown_field"),
    ("buy", b'{"amount": "1.00"}', "missing_field"),
    ("buy", b'{"symbol": "ABC"}', "missing_field"),
    ("buy", b'{"symbol": "ABCD", "amount": "x"}', "invalid_symbol"),
    ("buy", b'{"symbol": "A1", "amount": "1.00"}', "invalid_symbol"),
    ("buy", b'{"symbol": "", "amount": "1.00"}', "invalid_symbol"),
    ("buy", b'{"symbol": {"$ne": ""}, "amount": "1.00"}', "invalid_symbol"),
    ("set-buy-trigger", b'{"symbol": "ABC", "price": "x"}', "invalid_amount"),
    ("cancel-set-buy", b'{"symbol": 7}', "invalid_symbol"),
    ("dumplog", b'{"filename": "../x"}', "invalid_filename"),
    ("dumplog", b'{"filename": "/etc/passwd"}', "invalid_filename"),
    ("dumplog", b'{"filename": "a/b"}', "invalid_filename"),
    ("dumplog", b'{"filename": ""}', "invalid_filename"),
    ("dumplog", b'{"filename": "a\\u0000b"}', "invalid_filename"),
    ("dumplog", b'{"filename": "\\ud800"}', "invalid_filename"),
]


@pytest.mark.parametrize(("name", "body", "code"), BAD_REQUESTS, ids=lambda value: str(value)[:40])
def test_a_malformed_body_is_400_with_its_code_and_is_recorded_only_if_it_is_a_command(
    api: Api, name: str, body: bytes, code: str
) -> None:
    reply = api.ask("POST", f"/users/jane/{name}", raw=body)
    assert (reply.status, reply.code) == (400, code)
    entries = api.get("/users/jane/history").body["entries"]
    assert [entry["outcome"] for entry in entries] == ([] if code == "invalid_json" else [code])
    account = api.get("/users/jane/account").body
    assert (account["exists"], account["cash"], account["holdings"]) == (code != "invalid_json", "0.00", {})


def test_the_first_bad_field_is_named(api: Api) -> None:
    reply = api.post("/users/jane/buy", {"symbol": "ABCD", "amount": "x"})
    assert reply.body["detail"].startswith("symbol: ")
    assert api.post("/users/jane/set-buy-trigger", {"symbol": "A", "price": "0"}).body["detail"].startswith("price: ")


@pytest.mark.parametrize("user", ["a.b", "x" * 65, "a%20b", "$where"])
def test_an_operator_gets_400_for_a_user_that_cannot_be(api: Api, user: str) -> None:
    assert api.post(f"/users/{user}/add", {"amount": "1.00"}).code == "invalid_user"


def test_a_symbol_in_the_path_is_checked(api: Api) -> None:
    assert api.get("/users/jane/quote/ABCD").code == "invalid_symbol"


@pytest.mark.parametrize(
    ("header", "value"),
    [("Idempotency-Key", "x" * 129), ("Idempotency-Key", ""), ("Idempotency-Key", "a\x7f"), ("Idempotency-Key", "é")]
    + [("X-Transaction-Num", value) for value in ("0", "-1", "1.5", "abc", "", "9223372036854775808", "٣", "1" * 5000)],
)
def test_a_malformed_header_is_named(api: Api, header: str, value: str) -> None:
    reply = api.ask("POST", "/users/jane/add", {"amount": "1.00"}, headers={header: value})
    assert (reply.status, reply.code) == (400, "invalid_header")
    assert reply.body["detail"].startswith(f"{header}: ")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_type_is_415(api: Api, media_type: str) -> None:
    reply = api.ask("POST", "/users/jane/add", {"amount": "1.00"}, headers={"Content-Type": media_type})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


def test_a_charset_after_the_type_is_fine(api: Api) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.ask("POST", "/users/jane/add", {"amount": "1.00"}, headers=headers).status == 200


def test_a_body_over_64_kib_is_413(api: Api) -> None:
    reply = api.ask("POST", "/users/jane/add", raw=b'{"amount": "1.00"' + b" " * 65_536 + b"}")
    assert (reply.status, reply.code) == (413, "too_large")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_method_that_a_route_does_not_have_is_405_with_those_it_has(api: Api, method: str) -> None:
    reply = api.ask(method, "/users/jane/add")
    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize(("method", "name"), [*USER_ROUTES, ("POST", "of all")], ids=lambda value: value)
def test_every_route_asks_who_is_there(api: Api, method: str, name: str) -> None:
    """No token, a bad one, another user's: 401 and 403, whatever else is wrong; the right one gets in."""
    of_all = name == "of all"
    path = "/dumplog" if of_all else f"/users/jane/{name}"
    body = {"filename": "log.xml"} if of_all else COMMANDS.get(name)

    def status(authorization: str | None) -> int:
        return api.ask(method, path, body, authorization=authorization).status

    assert api.ask(method, path, body, authorization=None).code == "unauthorized"
    assert status(f"Bearer {token('jane', 'trader', secret='x' * 32)}") == 401
    assert status(f"Bearer {token('john', 'trader')}") == 403
    assert status(f"Bearer {token('jane', 'trader')}") in ({403} if of_all else {200, 409})
    assert status(f"Bearer {token()}") in {200, 409}


def worthless_tokens() -> dict[str, str]:
    """Return what stands behind "Bearer", made now: each would do but for the one thing that its name says."""
    return {
        "nothing": "",
        "no token": "a.b.c",
        "huge": "x" * 10_000,
        "expired": token("jane", "trader", exp=1),
        "never expires": token("jane", "trader", exp=None),
        "unknown role": token("jane", "king"),
        "no user": token("", "trader"),
        "impossible user": token("a b", "operator"),
        "not yet valid": token("jane", "trader", nbf=4_000_000_000),
        # {"alg":"none","typ":"JWT"} with claims that would otherwise do
        "unsigned": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{token('jane', 'trader').split('.')[1]}.",
    }


@pytest.mark.parametrize("kind", worthless_tokens())
def test_a_token_that_proves_nothing_is_401_and_is_not_shown(api: Api, kind: str) -> None:
    worthless = worthless_tokens()[kind]
    reply = api.ask("GET", "/users/jane/summary", authorization=f"Bearer {worthless}")
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert worthless == "" or worthless not in reply.text


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic abc"])
def test_what_is_no_bearer_token_is_401(api: Api, authorization: str) -> None:
    reply = api.ask("GET", "/users/jane/summary", authorization=authorization)
    assert (reply.status, reply.code) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_another_algorithm_is_refused_also_with_the_right_secret(api: Api) -> None:
    other = jwt.encode({"sub": "jane", "role": "trader", "exp": 4_000_000_000}, SECRET * 2, algorithm="HS512")
    assert api.ask("GET", "/users/jane/summary", authorization=f"Bearer {other}").status == 401


def test_a_stranger_cannot_tell_whether_an_account_exists(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "1.00"})
    stranger = f"Bearer {token('john', 'trader')}"
    there = api.ask("GET", "/users/jane/summary", authorization=stranger)
    not_there = api.ask("GET", "/users/nobody/summary", authorization=stranger)
    assert there.text == not_there.text


def test_a_repeated_key_answers_the_first_outcome_and_says_so(api: Api) -> None:
    first = api.post("/users/jane/add", {"amount": "1.00"}, Idempotency_Key="k", X_Transaction_Num="7")
    again = api.post("/users/jane/add", {"amount": "1.00"}, Idempotency_Key="k", X_Transaction_Num="8")
    assert first.body["transaction"] == 7
    assert "idempotent-replayed" not in first.headers
    assert (again.text, again.headers["idempotent-replayed"]) == (first.text, "true")
    rejected = api.post("/users/jane/commit-buy", Idempotency_Key="r")
    assert api.post("/users/jane/commit-buy", Idempotency_Key="r").text == rejected.text
    other = api.post("/users/jane/add", {"amount": "2.00"}, Idempotency_Key="k")
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert len(api.get("/users/jane/summary").body["history"]) == 2


def events(path: str) -> list[tuple[str, dict[str, str | None]]]:
    return [(event.tag, {child.tag: child.text for child in event}) for event in ET.parse(path).getroot()]  # noqa: S314  # our own file


def test_dumplog_writes_the_log_of_one_user_in_time_order(api: Api) -> None:
    api.post("/users/john/add", {"amount": "1.00"})
    api.post("/users/jane/add", {"amount": "50.00"}, X_Transaction_Num="1")
    api.post("/users/jane/buy", {"symbol": "abc", "amount": "25.00"}, X_Transaction_Num="2")
    api.post("/users/jane/sell", {"symbol": "abc", "amount": "25.00"}, X_Transaction_Num="3")
    reply = api.post("/users/jane/dumplog", {"filename": "./log <&>.xml"}, X_Transaction_Num="4")
    assert Path(reply.body["location"]).is_relative_to(api.folder)
    logged = events(reply.body["location"])
    assert reply.body["events"] == len(logged)
    assert [(kind, fields["transactionNum"]) for kind, fields in logged if kind != "quoteServer"] == [
        ("userCommand", "1"),
        ("accountTransaction", "1"),
        ("userCommand", "2"),
        ("accountTransaction", "2"),
        ("userCommand", "3"),
        ("errorEvent", "3"),
        ("userCommand", "4"),
    ]
    buy = next(fields for kind, fields in logged if (kind, fields["transactionNum"]) == ("userCommand", "2"))
    assert {name: buy[name] for name in ("command", "username", "stockSymbol", "funds")} == {
        "command": "BUY",
        "username": "jane",
        "stockSymbol": "ABC",
        "funds": "25.00",
    }
    error = next(fields for kind, fields in logged if kind == "errorEvent")
    assert (error["errorMessage"] or "").startswith("insufficient_shares: ")
    assert logged[-1][1]["filename"] == "./log <&>.xml"
    times = [int(fields["timestamp"] or 0) for _, fields in logged]
    assert times == sorted(times)


def test_dumplog_of_all_holds_every_user_and_itself_without_a_username(api: Api) -> None:
    for user in ("jane", "john"):
        api.post(f"/users/{user}/add", {"amount": "1.00"})
    reply = api.post("/dumplog", {"filename": "all.xml"})
    logged = events(reply.body["location"])
    assert {fields.get("username") for kind, fields in logged} == {"jane", "john", None}
    assert (logged[-1][1]["command"], logged[-1][1].get("username")) == ("DUMPLOG", None)
    again = events(api.post("/dumplog", {"filename": "all.xml"}).body["location"])
    assert len(again) == len(logged) + 1


def test_two_users_may_give_their_logs_the_same_name(api: Api) -> None:
    first = api.post("/users/jane/dumplog", {"filename": "log"}).body["location"]
    second = api.post("/users/john/dumplog", {"filename": "log"}).body["location"]
    third = api.post("/dumplog", {"filename": "log"}).body["location"]
    assert len({first, second, third}) == 3


def test_a_repeated_dumplog_is_in_the_journal_once(api: Api) -> None:
    first = api.post("/users/jane/dumplog", {"filename": "log"}, Idempotency_Key="d")
    again = api.post("/users/jane/dumplog", {"filename": "log"}, Idempotency_Key="d")
    assert (again.text, again.headers["idempotent-replayed"]) == (first.text, "true")
    assert len(api.get("/users/jane/summary").body["history"]) == 1


def test_a_dump_that_fails_leaves_no_half_file_and_can_be_sent_again(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "1.00"})
    place = api.folder / "users"
    place.write_text("a file where a folder has to be")
    failed = api.post("/users/jane/dumplog", {"filename": "log"}, Idempotency_Key="d")
    assert (failed.status, failed.code) == (503, "store_unavailable")
    place.unlink()
    again = api.post("/users/jane/dumplog", {"filename": "log"}, Idempotency_Key="d")
    assert again.status == 200
    assert [path.name for path in (place / "jane").iterdir()] == ["log"]
    assert [past["command"] for past in api.get("/users/jane/summary").body["history"]] == ["DUMPLOG", "ADD"]


def test_health_is_ok_and_needs_no_token(api: Api) -> None:
    reply = api.ask("GET", "/health", authorization=None)
    assert (reply.status, reply.body) == (200, {"status": "ok"})


def test_health_says_that_the_cache_is_a_cluster(mongo_uri: str, mongo_database: str, tmp_path: Path) -> None:
    port = next(port for port in iter(free_port, None) if claim(port + 10_000))  # a cluster's members talk there
    part = redis_part(tmp_path / "redis", port, os.environ, memory_mb=64)
    process = parts.start(replace(part, command=[*part.command, "--cluster-enabled", "yes"]), tmp_path)
    try:
        process.wait_until_ready()
        with running_api(mongo_uri, mongo_database, f"redis://{HOST}:{port}/0", tmp_path) as api:
            (said,) = api.get("/health").body["down"]
            assert said == "redis: it is in cluster mode, quotes need one without"
            assert api.get("/users/jane/quote/ABC").body["price"] == "10.00"
    finally:
        process.kill()


def test_health_names_what_is_down(mongo_uri: str, mongo_database: str, tmp_path: Path) -> None:
    with running_api(mongo_uri, mongo_database, "redis://127.0.0.1:1/0", tmp_path) as api:
        assert api.get("/health").body == {"status": "degraded", "down": ["redis"]}
    away = "mongodb://127.0.0.1:1/?directConnection=true"
    with running_api(away, "none", "redis://127.0.0.1:1/0", tmp_path, MONGO_TIMEOUT_MS="100") as api:
        reply = api.get("/health")
        assert (reply.status, reply.code, reply.body["detail"]) == (503, "store_unavailable", "down: mongodb")


def test_a_database_that_is_away_is_503_and_says_when_to_come_back(tmp_path: Path) -> None:
    away = "mongodb://127.0.0.1:1/?directConnection=true"
    short = {"MONGO_TIMEOUT_MS": "100", "COMMAND_TIMEOUT_MS": "200"}
    with running_api(away, "none", "redis://127.0.0.1:1/0", tmp_path, **short) as api:
        reply = api.post("/users/jane/add", {"amount": "1.00"})
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "store_unavailable", "1")


@pytest.mark.parametrize(
    "doubled", [{"idempotency-key": ["a", "b"]}, {"x-transaction-num": ["1", "1"]}, {"authorization": ["x", "y"]}]
)
@pytest.mark.parametrize("operation", ["add", "account"])
def test_a_header_that_api_gateway_hands_on_twice_is_refused(
    api: Api, doubled: dict[str, list[str]], operation: str
) -> None:
    """Our own servers refuse it before the app is asked."""
    method, body = ("POST", b'{"amount": "1.00"}') if operation == "add" else ("GET", b"")
    headers = {"authorization": f"Bearer {token()}", **{name: values[-1] for name, values in doubled.items()}}
    request = HttpRequest(method, f"/users/jane/{operation}", "", headers, doubled, body, "10.1.2.3")
    event = make_event(request, method, f"/users/{{user}}/{operation}", {"user": "jane"}, "id", ())
    answer = app(event, Context("test", "id"))
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (400, "invalid_header")
    assert not api.get("/users/jane/account").body["exists"]
