"""Requests are taken out of a connection's bytes the same way however those are cut."""

import json
from itertools import count

import pytest

from infra.servers.gateway.requests import BODY_LIMIT_BYTES
from infra.servers.request_parser import CHUNKED_LIMIT_BYTES, HEAD_LIMIT_BYTES, RequestParser, RequestRefusedError

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n6;a=b\r\n\r\n\r\n\r\n\r\n0\r\nX-Trailer: y\r\n\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
Seen = list[tuple[object, ...]]


def seen(data: bytes, size: int) -> Seen:
    """Return the requests, and how it ended, when so many bytes are fed at a time."""
    parser = RequestParser("client", clock=lambda: 0)
    found: Seen = []
    try:
        for place in range(0, len(data), size):
            parser.feed(data[place : place + size])
            while (request := parser.next_request()) is not None:
                found.append((request.method, request.path, request.query, request.headers, request.body))
                found.append((request.is_last, request.version))
    except RequestRefusedError as error:
        return [*found, (error.answer.status, json.loads(error.answer.body)["code"])]
    end = parser.end()
    return [*found, (None if end is None else end.status,)]


STREAMS = {
    "requests ahead": GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\n{}" + POST + CHUNKED + GET + b"\r\n",
    "upgrades": (POST + UPGRADE + CHUNKED) * 2 + POST + UPGRADE + b"Content-Length: 2\r\n\r\n{}" + GET + b"\r\n",
    "the last": GET + b"Connection: close\r\n\r\n",
    "line ends before": b"\r\n\r\n" + GET + b"\r\n",
    "half a head": GET + b"Idempotency-Ke",
    "half a body": POST + b"Content-Length: 3\r\n\r\n{}",
    "half a chunk": POST + CHUNKED[:-5],
    "bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "bad header": GET + b"\r\n" + GET + b"X: a\x00\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "large chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (BODY_LIMIT_BYTES + 1) + b"x" * 70_000,
    "connect": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", STREAMS.values(), ids=STREAMS)
def test_a_stream_is_read_the_same_however_it_is_cut(data: bytes) -> None:
    whole = seen(data, len(data))
    for size in (1, 2, 3, 5, 17, 4_096):
        assert seen(data, size) == whole


def test_the_requests_of_a_stream_are_all_there() -> None:
    whole = seen(STREAMS["requests ahead"], 10_000)
    assert [found[-1] for found in whole[:-1:2]] == [b"", b"{}", b"{}\r\n\r\n\r\n", b""]
    assert whole[-1] == (None,)
    assert [found[-1] for found in seen(STREAMS["upgrades"], 10_000)[:-1:2]][2:] == [b"{}", b""]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (GET + b"X: " + b"x" * HEAD_LIMIT_BYTES, 400, "invalid_header"),
        (b"GET /" + b"x" * 8_192, 414, "uri_too_long"),
        (POST + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT_BYTES + 1), 413, "too_large"),
        (POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400, "invalid_header"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * (CHUNKED_LIMIT_BYTES + 10), 413, "too_large"),
    ],
    ids=["head", "request line", "length", "length of many digits", "tiny chunks"],
)
def test_what_is_too_large_is_refused_before_it_is_whole(data: bytes, status: int, code: str) -> None:
    assert seen(data, 65_536) == [(status, code)]


def test_blanks_around_a_value_are_none_of_it() -> None:
    parser = RequestParser("client")
    parser.feed(GET + b"Idempotency-Key: \t a b\t \r\n\r\n")
    request = parser.next_request()
    assert request is not None
    assert request.headers["idempotency-key"] == "a b"


def test_a_request_arrives_with_its_first_byte() -> None:
    parser = RequestParser("client", clock=count(1).__next__)
    arrived = []
    for data in (GET, b"X-Word: y\r\n", b"\r\n" + GET + b"\r\n" + GET, b"\r\n"):
        parser.feed(data)
        while (request := parser.next_request()) is not None:
            arrived.append(request.arrived_ms)
    assert arrived == [1, 3, 3]


@pytest.mark.parametrize(
    ("told", "arrived_ms"), [(b"999", 999), (b"1001", 1_000), (b"-5", 1_000), (b"", 1_000), (b"9" * 30, 1_000)]
)
def test_a_proxy_tells_when_a_request_arrived_but_never_that_it_will(told: bytes, arrived_ms: int) -> None:
    parser = RequestParser("client", "x-request-start", clock=lambda: 1_000)
    parser.feed(GET + b"X-Request-Start: " + told + b"\r\n\r\n")
    request = parser.next_request()
    assert request is not None
    assert request.arrived_ms == arrived_ms


def test_without_a_proxy_nobody_says_when_a_request_arrived() -> None:
    parser = RequestParser("client", clock=lambda: 1_000)
    parser.feed(GET + b"X-Request-Start: 5\r\n\r\n")
    request = parser.next_request()
    assert request is not None
    assert request.arrived_ms == 1_000


def test_a_client_is_asked_for_its_body_once() -> None:
    parser = RequestParser("client")
    parser.feed(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert parser.next_request() is None
    assert [parser.asks_for_body(), parser.asks_for_body()] == [True, False]
    parser.feed(b"{}")
    request = parser.next_request()
    assert request is not None
    assert request.body == b"{}"
