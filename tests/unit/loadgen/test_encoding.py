import json

import pytest

from loadgen.client.encoding import RequestWriter, UrlError, parse_url
from loadgen.dialects.trading import TradingDialect
from loadgen.workload.files import Command


def request_of(command: Command, url: str = "http://127.0.0.1:8000") -> tuple[str, dict[str, str], str]:
    target = parse_url(url)
    raw = TradingDialect(RequestWriter(target, "secret"), target, "run7").encode(command).decode("ascii")
    head, body = raw.split("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


@pytest.mark.parametrize(
    ("command", "first", "body"),
    [
        (Command(1, "ADD", "u", None, "1.00"), "POST /users/u/add", {"amount": "1.00"}),
        (Command(1, "QUOTE", "u", "ABC", None), "GET /users/u/quote/ABC", None),
        (Command(1, "BUY", "u", "S", "5"), "POST /users/u/buy", {"symbol": "S", "amount": "5"}),
        (Command(1, "SELL", "u", "S", "5"), "POST /users/u/sell", {"symbol": "S", "amount": "5"}),
        (Command(1, "COMMIT_BUY", "u", None, None), "POST /users/u/commit-buy", {}),
        (Command(1, "CANCEL_BUY", "u", None, None), "POST /users/u/cancel-buy", {}),
        (Command(1, "COMMIT_SELL", "u", None, None), "POST /users/u/commit-sell", {}),
        (Command(1, "CANCEL_SELL", "u", None, None), "POST /users/u/cancel-sell", {}),
        (Command(1, "SET_BUY_AMOUNT", "u", "S", "5"), "POST /users/u/set-buy-amount", {"symbol": "S", "amount": "5"}),
        (Command(1, "SET_SELL_AMOUNT", "u", "S", "5"), "POST /users/u/set-sell-amount", {"symbol": "S", "amount": "5"}),
        (Command(1, "SET_BUY_TRIGGER", "u", "S", "5"), "POST /users/u/set-buy-trigger", {"symbol": "S", "price": "5"}),
        (
            Command(1, "SET_SELL_TRIGGER", "u", "S", "5"),
            "POST /users/u/set-sell-trigger",
            {"symbol": "S", "price": "5"},
        ),
        (Command(1, "CANCEL_SET_BUY", "u", "S", None), "POST /users/u/cancel-set-buy", {"symbol": "S"}),
        (Command(1, "CANCEL_SET_SELL", "u", "S", None), "POST /users/u/cancel-set-sell", {"symbol": "S"}),
        (Command(1, "DISPLAY_SUMMARY", "u", None, None), "GET /users/u/summary", None),
        (Command(1, "DUMPLOG", "u", None, "./log"), "POST /users/u/dumplog", {"filename": "./log"}),
        (Command(1, "DUMPLOG", None, None, "./log"), "POST /dumplog", {"filename": "./log"}),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else "",
)
def test_each_command_becomes_the_request_of_the_interface(
    command: Command, first: str, body: dict[str, str] | None
) -> None:
    line, headers, text = request_of(command)
    assert line == f"{first} HTTP/1.1"
    assert (json.loads(text) if text else None) == body
    if body is not None:
        assert headers["Content-Type"] == "application/json"
        assert headers["Content-Length"] == str(len(text))


def test_a_command_carries_who_sends_it_and_its_number() -> None:
    _, headers, _ = request_of(Command(42, "COMMIT_BUY", "u", None, None))
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Idempotency-Key"] == "run7-42"
    assert headers["X-Transaction-Num"] == "42"
    assert headers["Host"] == "127.0.0.1:8000"


def test_odd_values_are_sent_as_they_are_and_break_nothing() -> None:
    line, headers, text = request_of(Command(1, "BUY", "a/b c?é", 'S"\\', "€\n1"))
    assert line == "POST /users/a%2Fb%20c%3F%C3%A9/buy HTTP/1.1"
    assert json.loads(text) == {"symbol": 'S"\\', "amount": "€\n1"}
    assert headers["Content-Length"] == str(len(text))
    assert request_of(Command(1, "QUOTE", "u", "A/..?", None))[0] == "GET /users/u/quote/A%2F..%3F HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "/users/u/summary"),
        ("http://127.0.0.1:8000/", "127.0.0.1:8000", "/users/u/summary"),
        ("http://example.com", "example.com", "/users/u/summary"),
        ("https://abc.execute-api.example.com/prod/", "abc.execute-api.example.com", "/prod/users/u/summary"),
        ("https://example.com:8443", "example.com:8443", "/users/u/summary"),
        ("http://[::1]:80", "[::1]", "/users/u/summary"),
    ],
)
def test_an_address_may_have_a_path_under_which_the_interface_begins(url: str, authority: str, path: str) -> None:
    line, headers, _ = request_of(Command(1, "DISPLAY_SUMMARY", "u", None, None), url)
    assert headers["Host"] == authority
    assert line == f"GET {path} HTTP/1.1"


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://host:99999", "http://host:0",
        "http://host/?a=b", "http://user@host", "http://host/a b", "http://host/\r\nX: y", "http://hóst", "http://[::1",
    ],
)  # fmt: skip
def test_what_is_not_the_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UrlError):
        parse_url(url)
