"""Commands refused for what is in a field: recorded as they were given, in a log that is valid by both schemas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree  # type: ignore[import-untyped]

from infra.audit.logfile import SCHEMA
from tests import course_log
from tests.integration.api import Api, running_api

REFUSED: list[tuple[str, dict[str, object], str, dict[str, str]]] = [
    ("add", {"amount": "-73280.58"}, "invalid_amount", {"funds": "-73280.58"}),
    ("add", {"amount": "0"}, "invalid_amount", {"funds": "0.00"}),
    ("add", {"amount": "-0.00"}, "invalid_amount", {"funds": "0.00"}),
    ("add", {"amount": "+5.5"}, "invalid_amount", {"funds": "5.50"}),
    ("add", {"amount": -1.5}, "invalid_amount", {"funds": "-1.50"}),
    ("add", {"amount": "1000000000.01"}, "invalid_amount", {"funds": "1000000000.01"}),
    ("add", {"amount": 10**30}, "invalid_amount", {"funds": f"{10**30}.00"}),
    ("add", {"amount": "12.505"}, "invalid_amount", {}),
    ("add", {"amount": "many"}, "invalid_amount", {}),
    ("add", {"amount": True}, "invalid_amount", {}),
    ("add", {"amount": {"$gt": ""}}, "invalid_amount", {}),
    ("add", {"amount": "9" * 60_000}, "invalid_amount", {}),
    ("add", {"amount": "5.00", "to": "me"}, "unknown_field", {"funds": "5.00"}),
    ("add", {"\ud800": "5.00"}, "unknown_field", {}),
    ("add", {}, "missing_field", {}),
    ("buy", {"symbol": "abc", "amount": "-1"}, "invalid_amount", {"stockSymbol": "ABC", "funds": "-1.00"}),
    ("buy", {"symbol": "ABCD", "amount": "20.00"}, "invalid_symbol", {"funds": "20.00"}),
    ("buy", {"symbol": "ABC"}, "missing_field", {"stockSymbol": "ABC"}),
    ("set-sell-trigger", {"symbol": "ABC", "price": "x"}, "invalid_amount", {"stockSymbol": "ABC"}),
    ("commit-buy", {"order": "first"}, "invalid_order", {}),
    ("dumplog", {"filename": "../log.xml"}, "invalid_filename", {"filename": "../log.xml"}),
    ("dumplog", {"filename": "./a\nb"}, "invalid_filename", {"filename": "./a\nb"}),
    ("dumplog", {"filename": "<\ud800&>"}, "invalid_filename", {"filename": "<?&>"}),
    ("dumplog", {"filename": ""}, "invalid_filename", {}),
    ("dumplog", {"filename": "x" * 201}, "invalid_filename", {}),
    ("dumplog", {"filename": 7}, "invalid_filename", {}),
]


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def log_of_jane(api: Api) -> Any:
    """Return the events of jane's log before the DUMPLOG that asks for it, which is valid by both schemas."""
    reply = api.post("/users/jane/dumplog", {"filename": "./testLOG"})
    assert reply.status == 200, reply.body
    log = etree.parse(reply.body["location"]).getroot()
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(log)
    assert list(course_log.problems(log)) == []
    own = log[-1]
    assert (own.tag, own.findtext("command"), own.findtext("filename")) == ("userCommand", "DUMPLOG", "./testLOG")
    log.remove(own)
    return log


def fields(event: Any) -> dict[str, str]:
    common = {"timestamp", "server", "transactionNum", "command", "username", "errorMessage"}
    return {child.tag: child.text or "" for child in event if child.tag not in common}


@pytest.mark.parametrize(("name", "body", "code", "logged"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_refused_command_is_in_the_log_as_it_was_given_as_far_as_a_log_can_hold_it(
    api: Api, name: str, body: dict[str, object], code: str, logged: dict[str, str]
) -> None:
    reply = api.post(f"/users/jane/{name}", body, X_Transaction_Num="17")
    assert (reply.status, reply.code) == (400, code)
    command, error = log_of_jane(api)
    assert (command.tag, error.tag) == ("userCommand", "errorEvent")
    for event in (command, error):
        assert fields(event) == logged
        assert event.findtext("transactionNum") == "17"
        assert event.findtext("command") == name.replace("-", "_").upper()
        assert event.findtext("username") == "jane"
    assert error.findtext("errorMessage") == f"{code}: {reply.body['detail']}"


def test_a_refused_symbol_of_a_path_is_in_the_log(api: Api) -> None:
    assert api.get("/users/jane/quote/ABCD").code == "invalid_symbol"
    command, error = log_of_jane(api)
    assert (command.findtext("command"), fields(command)) == ("QUOTE", {})
    assert error.findtext("errorMessage") == "invalid_symbol: symbol: must be 1 to 3 ASCII letters, got 'ABCD'"


def test_the_offending_text_is_cut_to_64_characters(api: Api) -> None:
    reply = api.post("/users/jane/add", {"amount": "x" * 65})
    assert reply.body["detail"].endswith(f", got '{'x' * 64}'")
    assert len(api.post("/users/jane/add", {"a" * 65: "1"}).body["detail"]) < 120


@pytest.mark.parametrize("number", ["0.005", "1e20", "-1.50", "1e9999999999999999999", "1" * 40, "-0.0"])
def test_an_offending_number_is_quoted_as_it_was_given(api: Api, number: str) -> None:
    reply = api.ask("POST", "/users/jane/add", raw=f'{{"amount": {number}}}'.encode())
    assert reply.body["detail"].endswith(f", got '{number}'")


def test_a_refused_command_uses_up_its_key(api: Api) -> None:
    first = api.post("/users/jane/add", {"amount": "-5.00"}, Idempotency_Key="once")
    again = api.post("/users/jane/add", {"amount": "-5.00"}, Idempotency_Key="once")
    assert (again.status, again.body) == (400, first.body)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    for other in ({"amount": "5.00"}, {"amount": "-6.00"}, {}, {"amount": "-5.00", "to": "me"}):
        reply = api.post("/users/jane/add", other, Idempotency_Key="once")
        assert (reply.status, reply.code) == (422, "idempotency_key_reused"), other
    assert len(log_of_jane(api)) == 2


def test_a_refused_command_with_another_amount_is_another_command_whatever_it_was_refused_for(api: Api) -> None:
    for amount, status in (("0", 400), ("-5", 422), ("abc", 422), ("0.00", 400)):
        reply = api.post("/users/jane/buy", {"symbol": "TOOLONG", "amount": amount}, Idempotency_Key="once")
        assert reply.status == status, amount


def test_a_key_of_a_good_command_is_not_used_again_by_a_refused_one(api: Api) -> None:
    assert api.post("/users/jane/add", {"amount": "5.00"}, Idempotency_Key="once").status == 200
    assert api.post("/users/jane/add", {"amount": "-5.00"}, Idempotency_Key="once").status == 422
    assert api.post("/users/jane/add", {"amount": "5.00"}, Idempotency_Key="once").status == 200
    assert api.get("/users/jane/account").body["cash"] == "5.00"


def test_a_refused_buy_asks_for_no_quote(api: Api) -> None:
    assert api.post("/users/jane/buy", {"symbol": "ABC", "amount": "-1"}).status == 400
    assert [event.tag for event in log_of_jane(api)] == ["userCommand", "errorEvent"]


def test_a_refused_dumplog_of_all_is_in_the_journal_of_the_operator_and_writes_nothing(
    api: Api, tmp_path: Path
) -> None:
    assert api.post("/dumplog", {"filename": "a/b"}).code == "invalid_filename"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    log = etree.parse(api.post("/dumplog", {"filename": "log.xml"}).body["location"]).getroot()
    assert [event.findtext("filename") for event in log] == ["a/b", "a/b", "log.xml"]
    assert all(event.find("username") is None for event in log)


def test_what_is_no_command_is_not_in_the_log(api: Api) -> None:
    requests = [
        api.ask("POST", "/users/jane/add", raw=b"[]"),
        api.ask("POST", "/users/jane/add", {"amount": "-1"}, headers={"Content-Type": "text/plain"}),
        api.ask("POST", "/users/jane/add", {"amount": "-1"}, headers={"X-Transaction-Num": "0"}),
        api.ask("POST", "/users/jane/add", {"amount": "-1"}, authorization=None),
        api.ask("POST", "/users/jane/add", {"amount": "-1" + " " * 70_000}),
    ]
    assert [reply.status for reply in requests] == [400, 415, 400, 401, 413]
    assert not api.get("/users/jane/account").body["exists"]
