"""What both servers make of HTTP as it comes over the wire, good and bad: one suite, raw sockets.

A fault has the same status and code on each, and nothing of what was refused is executed: no account is made or moved.
"""

import json
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import psutil
import pytest
from pymongo import MongoClient

from infra.local.background import BackgroundStack

SECONDS = 60.0
BODY = b'{"amount": "1.00"}'
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Received:
    """One answer: its status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        code: str = json.loads(self.body)["code"]
        return code


@dataclass(frozen=True, slots=True)
class Client:
    """A user of its own on a stack, who has no account yet."""

    stack: BackgroundStack
    user: str

    def head(self, name: str, *headers: bytes, version: bytes = b"HTTP/1.1", host: bytes | None = b"Host: x") -> bytes:
        """Return the head of a POST that would be let in, without its end."""
        lines = [f"POST /users/{self.user}/{name} ".encode() + version, *([] if host is None else [host])]
        lines += [b"Authorization: Bearer " + self.stack.trader_token(self.user).encode(), *headers]
        return b"\r\n".join(lines) + b"\r\n"

    def request(self, name: str, body: bytes = b"", *headers: bytes, **more: Any) -> bytes:
        length = [b"Content-Length: %d" % len(body)] if body else []
        return self.head(name, *length, *headers, **more) + b"\r\n" + body

    def add(self, *headers: bytes, **more: Any) -> bytes:
        """Return an ADD of 1.00."""
        return self.request("add", BODY, *headers, **more)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        host, port = self.stack.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            yield connection

    def exchange(self, *pieces: bytes) -> list[Received]:
        """Send the pieces and return all answers until the server closes: of what is sent last it is asked to."""
        with self.connected() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return answers(everything(connection))

    def account(self) -> dict[str, Any] | None:
        """Return the account as it is in the database, None when no command was ever executed."""
        with MongoClient[dict[str, Any]](self.stack.mongo_uri) as client:
            return client[self.stack.mongo_database]["accounts"].find_one({"_id": self.user})


@pytest.fixture
def client(served: BackgroundStack) -> Client:
    return Client(served, f"wire-{next(_numbers)}")


def everything(connection: socket.socket) -> bytes:
    """Return what comes until the end, however that comes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received


def answers(received: bytes) -> list[Received]:
    """Take apart what was received: each answer says how long its body is, or is a 100."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append(Received(int(first.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


CLOSE = b"Connection: close"


def test_a_good_request_is_carried_out(client: Client) -> None:
    """What the others are compared with."""
    [answer] = client.exchange(client.add(CLOSE, b"Idempotency-Key: a"))
    assert (answer.status, json.loads(answer.body)["cash"]) == (200, "1.00")
    assert client.account() is not None


DOUBLED = {
    "key": (b"Idempotency-Key: a", b"Idempotency-Key: b"),
    "the same key": (b"Idempotency-Key: a", b"idempotency-key: a"),
    "no key and a key": (b"Idempotency-Key:", b"Idempotency-Key: b"),
    "token": (b"Authorization: Bearer a.b.c",),
    "transaction": (b"X-Transaction-Num: 1", b"X-Transaction-Num: 2"),
    "host": (b"Host: y",),
    "the same host": (b"Host: x",),
    "length": (b"Content-Length: 2",),
    "the same length": (b"Content-Length: %d" % len(BODY),),
    "type": (b"Content-Type: application/json", b"Content-Type: text/plain"),
}


@pytest.mark.parametrize("headers", DOUBLED.values(), ids=DOUBLED)
def test_a_header_that_may_be_there_once_is_refused_twice(client: Client, headers: tuple[bytes, ...]) -> None:
    [answer] = client.exchange(client.add(*headers))
    assert (answer.status, answer.code) == (400, "invalid_header")
    assert client.account() is None


def test_others_may_be_there_twice(client: Client) -> None:
    [answer] = client.exchange(client.add(b"Accept: a/b", b"Accept: c/d", CLOSE))
    assert answer.status == 200


@pytest.mark.parametrize(("version", "status"), [(b"HTTP/1.1", 400), (b"HTTP/1.0", 200)])
def test_http_1_1_needs_a_host(client: Client, version: bytes, status: int) -> None:
    [answer] = client.exchange(client.add(version=version, host=None))
    assert answer.status == status
    assert (client.account() is not None) == (status == 200)


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_what_was_cut_off_at_any_place_is_not_executed(client: Client, reset: bool) -> None:
    """COMMIT_BUY needs no body: a head that counts as whole where the connection ends would commit the order."""
    buy = client.request("buy", b'{"symbol": "ABC", "amount": "10.00"}', CLOSE)
    statuses = [client.exchange(request)[0].status for request in (client.request("add", b'{"amount":10}', CLOSE), buy)]
    assert statuses == [200, 200]
    before = client.account()
    assert before is not None
    whole = client.request("commit-buy", b"", b"Idempotency-Key: the-key-of-this-commit")
    for end in range(1, len(whole)):
        with client.connected() as connection:
            connection.sendall(whole[:end])
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                continue
            connection.shutdown(socket.SHUT_WR)
            assert [answer.status for answer in answers(everything(connection))] in ([], [400])
    assert client.account() == before
    [answer] = client.exchange(client.request("commit-buy", b"", b"Idempotency-Key: the-key-of-this-commit", CLOSE))
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers


def test_a_body_that_was_cut_off_is_not_executed(client: Client) -> None:
    whole = client.request("add", BODY, b"Content-Type: application/json")
    for end in (len(whole) - len(BODY), len(whole) - 1):
        with client.connected() as connection:
            connection.sendall(whole[:end])
            connection.shutdown(socket.SHUT_WR)
            [answer] = answers(everything(connection))
        assert (answer.status, answer.code) == (400, "invalid_json")
    assert client.account() is None


def server_of(stack: BackgroundStack) -> psutil.Process:
    return psutil.Process(next(pid for name, pid in stack.pids.items() if name in {"gateway", "chalice"}))


def test_a_request_whose_client_has_hung_up_is_not_begun(client: Client) -> None:
    """The server stands still while it comes, as one that has no processor does."""
    server = server_of(client.stack)
    try:
        server.send_signal(signal.SIGSTOP)
        with client.connected() as connection:
            ours = connection.getsockname()[1]
            connection.sendall(client.add())
    finally:
        server.send_signal(signal.SIGCONT)
    end = time.monotonic() + SECONDS
    while any(one.raddr and one.raddr.port == ours for one in psutil.net_connections("tcp")):
        assert time.monotonic() < end
        time.sleep(0.02)
    [answer] = client.exchange(client.add(CLOSE))
    assert json.loads(answer.body)["cash"] == "1.00"


CHUNKED = b"5\r\n" + BODY[:5] + b"\r\n%x;a=b\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\nX-Trailer: y\r\n\r\n"
UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_an_offer_of_http_2_is_ignored_and_the_request_carried_out(client: Client) -> None:
    """As curl --http2 and Java's HttpClient send it; the connection stays good for the next request."""
    statuses = [answer.status for answer in client.exchange(client.add(*UPGRADE) + HEALTH)]
    assert statuses == [200, 200]
    assert client.account() is not None


@pytest.mark.parametrize("headers", [(), UPGRADE], ids=["plain", "upgrade"])
def test_a_chunked_body_arrives_whole(client: Client, headers: tuple[bytes, ...]) -> None:
    request = client.head("add", *headers, b"Transfer-Encoding: chunked") + b"\r\n" + CHUNKED
    first, second, last = client.exchange(request + request + HEALTH)
    assert [json.loads(answer.body)["cash"] for answer in (first, second)] == ["1.00", "2.00"]
    assert last.status == 200


def test_a_chunked_body_arrives_whole_however_it_is_cut(client: Client) -> None:
    request = client.head("add", b"Transfer-Encoding: chunked", CLOSE) + b"\r\n" + CHUNKED
    with client.connected() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(request)):
            connection.sendall(request[place : place + 1])
        [answer] = answers(everything(connection))
    assert (answer.status, json.loads(answer.body)["cash"]) == (200, "1.00")


ENCODED = {
    "content coding": ((b"Content-Encoding: gzip",), 415, "unsupported_media_type"),
    "no content coding": ((b"Content-Encoding: identity",), 415, "unsupported_media_type"),
    "transfer coding": ((b"Transfer-Encoding: gzip, chunked",), 501, "not_supported"),
    "transfer codings": ((b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), 501, "not_supported"),
    "a length and chunks": ((b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, "invalid_header"),
    "chunks and a length": ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, "invalid_header"),
}


@pytest.mark.parametrize(("headers", "status", "code"), ENCODED.values(), ids=ENCODED)
def test_a_coding_that_is_not_known_is_refused(
    client: Client, headers: tuple[bytes, ...], status: int, code: str
) -> None:
    [answer] = client.exchange(client.head("add", *headers) + b"\r\n" + CHUNKED)
    assert (answer.status, answer.code) == (status, code)
    assert client.account() is None


def test_who_expects_to_be_asked_for_the_body_is_asked(client: Client) -> None:
    head = client.head("add", b"Content-Length: %d" % len(BODY), b"Expect: 100-continue", CLOSE) + b"\r\n"
    with client.connected() as connection:
        connection.sendall(head)
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        [answer] = answers(everything(connection))
    assert answer.status == 200


def test_http_1_0_is_never_asked_for_the_body(client: Client) -> None:
    head = client.head("add", b"Content-Length: %d" % len(BODY), b"Expect: 100-continue", version=b"HTTP/1.0")
    with client.connected() as connection:
        connection.sendall(head + b"\r\n" + BODY[:1])
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(SECONDS)
        connection.sendall(BODY[1:])
        [answer] = answers(everything(connection))
    assert answer.status == 200


LINES = {
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 2.0": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "version 1.2": b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n",
    "version 0.9": b"GET /health HTTP/0.9\r\nHost: x\r\n\r\n",
    "no version": b"GET /health\r\nHost: x\r\n\r\n",
    "RTSP": b"GET /health RTSP/1.0\r\nHost: x\r\n\r\n",
    "ICE": b"SOURCE /health ICE/1.0\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "tab": b"GET\t/health HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab before the version": b"GET /health\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces": b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare line feed": b"GET /health HTTP/1.1\nHost: x\n\n",
    "NUL": b"GET /he\x00alth HTTP/1.1\r\nHost: x\r\n\r\n",
    "byte over 127": b"GET /he\xffalth HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET health HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower case": b"get /health HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", LINES.values(), ids=LINES)
def test_a_request_line_that_is_not_http_1_is_refused(client: Client, sent: bytes) -> None:
    [answer] = client.exchange(sent)
    assert (answer.status, answer.code) == (400, "invalid_header")


HEADERS = {
    "NUL in a value": b"X-Word: a\x00b",
    "control character": b"X-Word: a\x01b",
    "carriage return": b"X-Word: a\rb",
    "line feed": b"X-Word: a\nContent-Type: text/plain",
    "folded": b"X-Word: a\r\n b",
    "blank before the colon": b"X-Word : a",
    "no name": b": a",
    "no colon": b"nonsense",
    "a hundred and more": b"\r\n".join([b"X-Word: a"] * 101),
    "too long": b"X-Word: " + b"x" * 70_000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_not_well_formed_is_refused(client: Client, header: bytes) -> None:
    [answer] = client.exchange(client.add(header))
    assert (answer.status, answer.code) == (400, "invalid_header")
    assert client.account() is None


@pytest.mark.parametrize("end", [b" HTTP/1.1\r\nHost: x\r\n\r\n", b""], ids=["whole", "open"])
def test_a_request_line_over_the_limit_is_refused(client: Client, end: bytes) -> None:
    [answer] = client.exchange(b"GET /" + b"a" * 100_000 + end)
    assert (answer.status, answer.code) == (414, "uri_too_long")


@pytest.mark.parametrize("user", [b"a%2Fb", b"a%2fb", b"a%252Fb", b"a%00b", b"%C3%A9", b"a%0D%0Ab"])
def test_what_is_encoded_in_a_path_parameter_is_part_of_it(client: Client, user: bytes) -> None:
    token = client.stack.operator_token.encode()
    lines = [b"GET /users/" + user + b"/summary HTTP/1.1", b"Host: x", CLOSE, b"Authorization: Bearer " + token]
    [answer] = client.exchange(b"\r\n".join([*lines, b"", b""]))
    assert (answer.status, answer.code) == (400, "invalid_user")


def test_letters_that_are_encoded_without_need_are_letters(client: Client) -> None:
    request = client.add(CLOSE)
    [answer] = client.exchange(request.replace(b"/users/wire", b"/us%65rs/%77ire").replace(b"/add", b"/%61dd"))
    assert (answer.status, json.loads(answer.body)["user"]) == (200, client.user)


@pytest.mark.parametrize("value", [b"keep-alive, close", b"close, keep-alive", b"Close", b"x, close"])
def test_whoever_asks_for_it_is_closed_and_what_follows_is_not_executed(client: Client, value: bytes) -> None:
    [answer] = client.exchange(client.add(b"Connection: " + value) + client.add(CLOSE))
    assert json.loads(answer.body)["cash"] == "1.00"
    assert answer.headers["connection"] == "close"
    [after] = client.exchange(client.add(CLOSE))
    assert json.loads(after.body)["cash"] == "2.00"


def test_requests_sent_ahead_are_answered_in_their_order(client: Client) -> None:
    received = client.exchange(client.add() * 9 + client.add(CLOSE))
    assert [json.loads(answer.body)["cash"] for answer in received] == [f"{number}.00" for number in range(1, 11)]


@pytest.mark.parametrize("path", [b"/health", b"/users/jane/add", b"/dumplog", b"/openapi.json"])
def test_options_has_the_security_headers(client: Client, path: bytes) -> None:
    [answer] = client.exchange(b"OPTIONS " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.status == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_an_unknown_path_has_the_security_headers(client: Client) -> None:
    [answer] = client.exchange(b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.status in {403, 404}  # `chalice local` answers as API Gateway does
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_refusal_names_no_version_of_what_serves(client: Client) -> None:
    [answer] = client.exchange(b"hello\r\n\r\n")
    assert re.search(r"\d\.\d", answer.headers.get("server", "")) is None


def test_after_a_refusal_the_connection_ends(client: Client) -> None:
    [answer] = client.exchange(client.add(b"X-Word: a\x00b") + client.add(CLOSE))
    assert answer.headers["connection"] == "close"
    assert client.account() is None
