"""Raw HTTP of every wrong kind: the server stays up, answers 4xx or closes, and no account is touched.

Each case carries what would let it in, a good token, so that only its form keeps it out. `make fuzz` mutates more.
"""

import contextlib
import http.client
import json
import os
import random
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from infra.local.background import BackgroundStack

SECONDS = 30.0
OF_THE_JOURNAL = {"version", "last_at", "open", "open_from", "open_bytes", "keyed", "keys"}
MUTATIONS = int(os.environ.get("FUZZ_MUTATIONS", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "7"))
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")
TEN_MEGABYTES = 10_000_000


def exchange(stack: BackgroundStack, *pieces: bytes, quiet_seconds: float = 0.3) -> list[int]:
    """Send the pieces; return the statuses of all answers, none when the connection was just closed.

    A server that says nothing for so long is told that this is the end: it may be waiting for more.
    """
    host, port = stack.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            try:
                connection.settimeout(quiet_seconds)
                received += _all_of(connection)
            except TimeoutError as quiet:
                received += b"".join(quiet.args)
                connection.settimeout(SECONDS)
                connection.shutdown(socket.SHUT_WR)
                received += _all_of(connection)
    return [int(status) for status in STATUS_LINE.findall(received)]


def _all_of(connection: socket.socket) -> bytes:
    """Return what comes until the end; a TimeoutError carries what came before it."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except TimeoutError:
        raise TimeoutError(received) from None
    return received


def refused(statuses: list[int]) -> bool:
    """Return whether every answer is a refusal; that an early answer asks to go on does not count."""
    return all(400 <= status < 500 for status in statuses if status != 100)


def accounts(stack: BackgroundStack) -> list[Any]:
    """Return what each user owns, and the commands that were carried out.

    One that is refused for what is in a field stands in the journal, and changes nothing else.
    """
    with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        found = list(client[stack.mongo_database]["accounts"].find().sort("_id"))
    states = [(one["_id"], state_of(one)) for one in found]
    return [
        (user, {name: value for name, value in state.items() if name not in OF_THE_JOURNAL}, done(state["open"]))
        for user, state in states
    ]


def done(entries: list[dict[str, Any]]) -> list[str]:
    """Return the commands that changed something; what the system did, such as a hit on the quote source, is none."""
    return [entry["cmd"] for entry in entries if "cmd" in entry and "out" not in entry]


def is_up(stack: BackgroundStack) -> bool:
    address = stack.url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200


@pytest.fixture
def victim(served: BackgroundStack) -> Iterator[BackgroundStack]:
    """Return a stack with an account, and check afterwards that it serves, as it did, with the accounts it had."""
    before = exchange(served, request(served, b'{"amount": "100.00"}'), quiet_seconds=SECONDS)
    assert before == [200]
    there, pids = accounts(served), dict(served.pids)
    yield served
    assert accounts(served) == there
    assert is_up(served)
    assert pids == served.pids
    assert served.process.poll() is None


def head(stack: BackgroundStack, name: bytes = b"add", *headers: bytes, path: bytes | None = None) -> bytes:
    """Return the head of a request that would be let in, without its end."""
    token = stack.operator_token.encode()
    lines = [b"POST " + (path or b"/users/victim/" + name) + b" HTTP/1.1", b"Host: x"]
    lines += [b"Content-Type: application/json", b"Authorization: Bearer " + token, *headers]
    return b"\r\n".join(lines) + b"\r\n"


def request(stack: BackgroundStack, body: bytes, *headers: bytes, name: bytes = b"add") -> bytes:
    return head(stack, name, b"Content-Length: %d" % len(body), b"Connection: close", *headers) + b"\r\n" + body


BODY = b'{"amount": "1.00"}'
BAD_BODIES = {
    "operator": b'{"amount": {"$gt": ""}}',
    "operator as a name": b'{"$where": "sleep(1000)", "amount": "1.00"}',
    "operator in a list": b'{"amount": [{"$ne": null}]}',
    "update operator": b'{"amount": "1.00", "$set": {"cash_cents": 1}}',
    "dotted name": b'{"amount": "1.00", "cash_cents.x": 1}',
    "prototype": b'{"amount": "1.00", "__proto__": {"role": "operator"}}',
    "NaN": b'{"amount": NaN}',
    "Infinity": b'{"amount": -Infinity}',
    "1e400": b'{"amount": 1e400}',
    "-1e400": b'{"amount": -1e400}',
    "1e-400": b'{"amount": 1e-400}',
    "huge exponent": b'{"amount": 1e999999999999}',
    "huge integer": b'{"amount": ' + b"9" * 60_000 + b"}",
    "huge decimal": b'{"amount": 0.' + b"1" * 60_000 + b"}",
    "64-bit overflow": b'{"amount": 18446744073709551616}',
    "negative": b'{"amount": -1}',
    "minus zero": b'{"amount": -0.0}',
    "deep list": b"[" * 32_000,
    "deep object": b'{"a":' * 10_000,
    "closed deep list": b'{"amount": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "invalid UTF-8": b'{"amount": "1.00\xff\xfe"}',
    "overlong UTF-8": b'{"amount": "\xc0\xb1.00"}',
    "UTF-16": '{"amount": "1.00"}'.encode("utf-16"),
    "BOM": b'\xef\xbb\xbf{"amount": "1.00"}',
    "lone surrogate": b'{"amount": "\\ud800"}',
    "NUL": b'{"amount": "1.00\\u0000"}',
    "control characters": b'{"amount": "1\x00.00\x1b[2J"}',
    "raw newline in a string": b'{"amount": "1.00\n"}',
    "arabic digits": '{"amount": "١.٠٠"}'.encode(),
    "full-width digits": '{"amount": "１.００"}'.encode(),
    "underscore": b'{"amount": "1_0.00"}',
    "twice": b'{"amount": "1.00", "amount": "1.00"}',
    "two documents": b'{"amount": "1.00"}{"amount": "1.00"}',
    "form": b"amount=1.00",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "null": b"null",
    "string": b'"amount"',
    "white space": b" \r\n\t",
    "empty": b"",
}


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_a_body_that_is_no_command_is_refused(victim: BackgroundStack, kind: str) -> None:
    statuses = exchange(victim, request(victim, BAD_BODIES[kind]), quiet_seconds=SECONDS)
    assert len(statuses) == 1
    assert refused(statuses)


BAD_STARTS = {
    "nothing": b"",
    "line ends": b"\r\n" * 100,
    "a word": b"hello\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 9.9": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "no version": b"GET /users/victim/summary\r\n\r\n",
    "no HTTP": b"GET /health ICE/1.0\r\nHost: x\r\n\r\n",
    "unknown method": b"STEAL /users/victim/add HTTP/1.1\r\nHost: x\r\n\r\n",
    "method of odd bytes": b"\x00\xff\x80 /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "TRACE": b"TRACE /users/victim/add HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "path without slash": b"GET health HTTP/1.1\r\nHost: x\r\n\r\n",
    "star": b"POST * HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded dots": b"GET /users/%2e%2e%2f%2e%2e/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded slash": b"GET /users/victim%2fadd/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "half an escape": b"GET /users/%zz%/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the path": b"GET /users/\x00/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded NUL": b"GET /users/%00/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes over 127": b"GET /users/\xff\xfe/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "long path": b"GET /users/" + b"a" * 100_000 + b"/summary HTTP/1.1\r\nHost: x\r\n\r\n",
    "many segments": b"GET " + b"/a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "spaces": b"GET  /users/victim/summary  HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", BAD_STARTS)
def test_what_is_no_request_is_refused_or_closed(victim: BackgroundStack, kind: str) -> None:
    assert refused(exchange(victim, BAD_STARTS[kind]))


BAD_HEADERS = {
    "no colon": b"nonsense",
    "no name": b": x",
    "blank before the colon": b"Idempotency-Key : k",
    "NUL in a value": b"Idempotency-Key: a\x00b",
    "NUL in a name": b"Idempot\x00ency: k",
    "key of odd bytes": b"Idempotency-Key: \xff\xfe",
    "long key": b"Idempotency-Key: " + b"k" * 129,
    "transaction of a float": b"X-Transaction-Num: 1e3",
    "transaction of 5,000 digits": b"X-Transaction-Num: " + b"9" * 5_000,
    "a megabyte": b"X-Long: " + b"x" * 1_000_000,
    "a thousand headers": b"\r\n".join(b"X-%d: x" % number for number in range(1_000)),
    "wrong type": b"Content-Type: text/plain",
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_bad_header_is_refused_or_closed(victim: BackgroundStack, kind: str) -> None:
    given = request(victim, BODY, BAD_HEADERS[kind])
    if kind == "wrong type":
        given = given.replace(b"Content-Type: application/json\r\n", b"")
    assert refused(exchange(victim, given))


@pytest.mark.parametrize(
    "authorization",
    [b"Bearer \xff\xfe", b"Bearer " + b"a" * 9_000, b"Bearer a.b.c", b"Bearer \x00", b"Basic " + b"\xc3\xa9" * 100]
    + [b"Bearer eyJhbGciOltdfQ.e30.", b"Bearer " + b"W" * 4_000 + b".e30.x", b"Bearer ....", b"\t"],
    ids=["bytes", "long", "three letters", "NUL", "basic", "list as algorithm", "long header", "dots", "blank"],
)
@pytest.mark.parametrize("path", [b"/users/victim/add", b"/nowhere", b"/metrics"])
def test_odd_credentials_are_refused(victim: BackgroundStack, authorization: bytes, path: bytes) -> None:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Connection: close", b"Authorization: " + authorization]
    assert refused(exchange(victim, b"\r\n".join([*lines, b"Content-Length: 0", b"", b""])))


def framings(stack: BackgroundStack) -> dict[str, bytes]:
    """Return requests whose end two readers could see in different places; after one of these stands a good command."""
    inner = request(stack, BODY)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

    def framed(body: bytes, *headers: bytes) -> bytes:
        return head(stack, b"add", *headers) + b"\r\n" + body

    length = b"Content-Length: %d"
    return {
        "CL.TE": framed(b"0\r\n\r\n" + inner, length % (5 + len(inner)), b"Transfer-Encoding: chunked"),
        "TE.CL": framed(b"5c\r\n" + inner, b"Transfer-Encoding: chunked", length % 4),
        "two lengths": framed(BODY + inner, length % len(BODY), length % (len(BODY) + len(inner))),
        "two lengths, the other way": framed(BODY + inner, length % (len(BODY) + len(inner)), length % len(BODY)),
        "list of lengths": framed(BODY + inner, b"Content-Length: %d, %d" % (len(BODY), 3)),
        "signed length": framed(BODY, b"Content-Length: +%d" % len(BODY)),
        "negative length": framed(BODY, b"Content-Length: -1"),
        "hexadecimal length": framed(BODY, b"Content-Length: 0x12"),
        "length of words": framed(BODY, b"Content-Length: many"),
        "huge length": framed(BODY, b"Content-Length: " + b"9" * 40),
        "unknown coding": framed(BODY + inner, b"Transfer-Encoding: xchunked"),
        "chunked and not last": framed(chunked, b"Transfer-Encoding: chunked, identity"),
        "blank before the colon": framed(inner, b"Transfer-Encoding : chunked", length % 0),
        "bad chunk size": framed(b"zz\r\n" + inner, b"Transfer-Encoding: chunked"),
        "negative chunk": framed(b"-5\r\n" + inner, b"Transfer-Encoding: chunked"),
        "huge chunk": framed(b"ffffffffffffffffffff\r\n" + BODY, b"Transfer-Encoding: chunked"),
        "chunk that breaks off": framed(b"%x\r\n%s" % (len(BODY), BODY[:-1]), b"Transfer-Encoding: chunked"),
        "chunk longer than said": framed(b"2\r\n%s\r\n0\r\n\r\n" % BODY, b"Transfer-Encoding: chunked"),
        "half a body": framed(BODY, length % (len(BODY) + 20)),
        "folded header": framed(BODY, b"X-Folded: a\r\n Content-Length: %d" % len(BODY)),
        "bare line feeds": framed(BODY, b"X: y\nContent-Length: 5\nTransfer-Encoding: chunked"),
    }


@pytest.mark.parametrize("kind", range(21))
def test_framing_that_can_be_read_in_two_ways_lets_no_command_in(victim: BackgroundStack, kind: int) -> None:
    """The command would change the account, and the fixture would see it."""
    name, data = list(framings(victim).items())[kind]
    assert len(framings(victim)) == 21
    assert refused(exchange(victim, data)), name


def test_after_a_body_that_is_chunked_and_has_a_length_the_connection_ends(served: BackgroundStack) -> None:
    """Whoever stands in between may have taken the rest for another request, or for the body of this one."""
    token = served.trader_token("framed").encode()
    body = b"2\r\n{}\r\n0\r\n\r\n"
    framed = head(served, b"", b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked") + b"\r\n" + body
    framed = framed.replace(served.operator_token.encode(), token).replace(
        b"/users/victim/", b"/users/framed/commit-buy"
    )
    assert len(exchange(served, framed + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")) <= 1


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused(victim: BackgroundStack, chunked: bool) -> None:
    filler = b" " * TEN_MEGABYTES
    if chunked:
        start = head(victim, b"add", b"Transfer-Encoding: chunked") + b"\r\n%x\r\n" % (len(filler) + len(BODY))
        statuses = exchange(victim, start, BODY, filler, b"\r\n0\r\n\r\n")
    else:
        start = head(victim, b"add", b"Content-Length: %d" % (len(filler) + len(BODY))) + b"\r\n"
        statuses = exchange(victim, start, BODY, filler)
    assert refused(statuses)


def test_a_promised_body_is_refused_before_it_is_sent(victim: BackgroundStack) -> None:
    start = head(victim, b"add", b"Content-Length: %d" % TEN_MEGABYTES, b"Expect: 100-continue") + b"\r\n"
    assert 413 in exchange(victim, start)


def test_mutated_requests_change_nothing(victim: BackgroundStack) -> None:
    """Random bytes replaced, dropped, doubled and swapped in requests of somebody who may not."""
    random_ = random.Random(SEED)
    stranger = victim.trader_token("stranger").encode()
    good = request(victim, BODY).replace(victim.operator_token.encode(), stranger)
    for number in range(MUTATIONS):
        mutated = bytearray(good)
        for _ in range(random_.choice([1, 1, 2, 5, 20])):
            place = random_.randrange(len(mutated))
            match random_.randrange(5):
                case 0:
                    mutated[place] = random_.randrange(256)
                case 1:
                    del mutated[place : place + random_.randrange(1, 40)]
                case 2:
                    mutated[place:place] = mutated[place : place + random_.randrange(1, 40)]
                case 3:
                    mutated[place:place] = random_.choice(
                        [b"\r\n", b"\n", b"\0", b":", b" ", b"\xff", b"%", b"\r\n\r\n"]
                    )
                case _:
                    mutated[place : place + 1] = bytes(random_.randrange(256) for _ in range(random_.randrange(1, 8)))
            if not mutated:
                break
        statuses = exchange(victim, bytes(mutated), quiet_seconds=0.05)
        assert refused(statuses), f"mutation {number} of seed {SEED}: {bytes(mutated)!r}"


def test_ten_clients_that_send_nothing_do_not_keep_others_from_being_served(victim: BackgroundStack) -> None:
    """Ten of each kind: silent ones, ones that stop within the head, ones that stop within the body."""
    host, port = victim.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        for started in [b"", head(victim), head(victim, b"add", b"Content-Length: 18") + b'\r\n{"amo'] * 10:
            silent = socket.create_connection((host, int(port)), timeout=SECONDS)
            opened.enter_context(contextlib.closing(silent))
            silent.sendall(started)
        for _ in range(20):
            assert is_up(victim)
        token = victim.trader_token("busy")
        address = victim.url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
            connection.request("POST", "/users/busy/commit-buy", None, {"Authorization": f"Bearer {token}"})
            assert json.loads(connection.getresponse().read())["code"] == "no_pending_buy"
        with MongoClient[dict[str, Any]](victim.mongo_uri) as client:  # what was asked for is not what is guarded
            client[victim.mongo_database]["accounts"].delete_one({"_id": "busy"})
