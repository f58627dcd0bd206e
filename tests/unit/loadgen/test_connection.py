"""The HTTP exchange against a real socket that answers what the test says, byte for byte."""

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from loadgen.client.connection import ClientConnection
from loadgen.client.encoding import parse_url
from loadgen.client.response import (
    BrokenResponseError,
    ConnectError,
    ExchangeError,
    ExchangeTimeoutError,
    Response,
)

Script = Callable[[socket.socket, int], None]
"""Answers one request on a connection; the number says which request of all connections it is, from 0."""

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ZIPPED = gzip.compress(b'{"a": "bc"}', mtime=0)  # the same in every process of a run
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run a server on one thread: one connection after another, each until it is closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)
    ended = threading.Event()

    def serve() -> None:
        number = 0
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection, suppress(OSError):
                connection.settimeout(2)
                while _read_request(connection):
                    script(connection, number)
                    number += 1

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listener.close()


def _read_request(connection: socket.socket) -> bool:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            return False
        received += piece
    return True


def exchange(script: Script, timeout_s: float = 2.0) -> Response:
    """Return the answer to one request."""
    with serving(script) as url:
        connection = ClientConnection(parse_url(url), timeout_s)
        try:
            return connection.exchange(REQUEST)
        finally:
            connection.close()


def sends(*pieces: bytes, close: bool = True, pause_s: float = 0.0) -> Script:
    """Return a script that sends these bytes, each on its own."""

    def script(connection: socket.socket, _number: int) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return script


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"a": "bc"}',
        b'HTTP/1.1 200 OK\r\ncontent-length:11 \r\n\r\n{"a": "bc"}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n7;x=y\r\n: "bc"}\r\n0\r\nT: x\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n{"a": "bc"}',
        b'HTTP/1.0 200 OK\r\n\r\n{"a": "bc"}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"a": "bc"}',
        b'HTTP/1.1 200 OK\nContent-Length: 11\n\n{"a": "bc"}',
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\n\r\n{"a": "bc"}',
        b'HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n4\n{"a"\n7\n: "bc"}\n0\n\n',
        b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 11\r\n\r\n{"a": "bc"}',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + ZIPPED,
    ],
    ids=[
        "length",
        "odd case",
        "chunked",
        "until close",
        "http 1.0",
        "after 100",
        "bare LF",
        "some bare LF",
        "chunked with bare LF",
        "one length twice",
        "gzip",
        "gzip until close",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_answer_of_any_form_is_read_however_it_is_cut(answer: bytes, size: int) -> None:
    pieces = [answer[start : start + size] for start in range(0, len(answer), size)]
    got = exchange(sends(*pieces))
    assert (got.status, got.body) == (200, b'{"a": "bc"}')


def test_headers_are_found_by_name_whatever_their_case() -> None:
    got = exchange(sends(b"HTTP/1.1 503 Gone\r\nRetry-AFTER:  7 \r\nContent-Length: 0\r\n\r\n"))
    assert got.header(b"retry-after") == b"7"
    assert got.header(b"after") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"XX',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"X" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + ZIPPED[:20],
    ],
)
def test_an_answer_that_is_cut_off_or_is_none_is_broken(answer: bytes) -> None:
    with pytest.raises(BrokenResponseError):
        exchange(sends(answer))


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (b"Content-Length: 2\r\nContent-Length: 3", "two different lengths, 2 and 3"),
        (b"Content-Length: 2\r\nContent-Encoding: br", "an unknown content encoding, br"),
        (b"Transfer-Encoding: gzip", "an unknown transfer encoding, gzip"),
        (b"Content-Length: two", "length is not usable, two"),
    ],
)
def test_what_is_wrong_with_an_answer_is_named(headers: bytes, said: str) -> None:
    with pytest.raises(BrokenResponseError, match=said):
        exchange(sends(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n{}" % headers))


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body_by_its_status_leaves_the_connection_usable(status: bytes) -> None:
    with serving(sends(b"HTTP/1.1 %s\r\nContent-Length: 7\r\n\r\n" % status, close=False)) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        assert [connection.exchange(REQUEST).body for _ in range(3)] == [b"", b"", b""]
        assert connection.prepare() is False
        connection.close()


@pytest.mark.parametrize("length", [7, 10**14])
def test_a_head_request_is_answered_without_the_body_that_its_headers_announce(length: int) -> None:
    with serving(sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length, close=False)) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        for _ in range(2):
            assert connection.exchange(REQUEST.replace(b"GET", b"HEAD")).status == 200
        connection.close()


def test_no_answer_in_time_is_a_timeout_and_the_next_request_has_a_new_connection() -> None:
    def script(connection: socket.socket, number: int) -> None:
        if number == 0:
            time.sleep(0.3)
        connection.sendall(FINE)

    with serving(script) as url:
        connection = ClientConnection(parse_url(url), 0.1)
        with pytest.raises(ExchangeTimeoutError):
            connection.exchange(REQUEST)
        assert connection.exchange(REQUEST, 2.0).status == 200
        connection.close()


def test_an_answer_that_drips_does_not_outlast_its_timeout_for_long() -> None:
    start = time.monotonic()
    with pytest.raises(ExchangeTimeoutError):
        exchange(sends(*[b"H"] * 50, pause_s=0.05), timeout_s=0.3)
    assert time.monotonic() - start < 2.9


@pytest.mark.parametrize(
    "unasked",
    [b"", b"\r\n", FINE, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"],
    ids=["end", "a line", "another answer", "a 408"],
)
def test_a_connection_on_which_anything_came_unasked_is_replaced_before_a_request_is_sent(unasked: bytes) -> None:
    seen: list[int] = []

    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(FINE)
        seen.append(connection.fileno())
        if number == 1:
            time.sleep(0.05)
            connection.sendall(unasked)
            if not unasked:
                connection.shutdown(socket.SHUT_RDWR)

    with serving(script) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        replaced = []
        for number in range(4):
            if number == 2:
                time.sleep(0.2)
            replaced.append(connection.prepare())
            assert connection.exchange(REQUEST).status == 200
        connection.close()
    assert replaced == [False, False, True, False]


def reset(connection: socket.socket) -> None:
    """Answer, and reset the connection once that was read."""
    connection.sendall(FINE)
    time.sleep(0.05)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_in_one_packet(connection: socket.socket) -> None:
    """Answer and close the connection in the same packet, which one read takes off the socket."""
    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_CORK", socket.TCP_NODELAY), 1)
    connection.sendall(FINE)
    connection.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("end", [reset, close_in_one_packet])
def test_a_connection_that_ended_in_any_way_is_replaced_before_a_request_is_sent(
    end: Callable[[socket.socket], None],
) -> None:
    with serving(lambda connection, _: end(connection)) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        assert connection.exchange(REQUEST).status == 200
        time.sleep(0.2)
        assert connection.prepare() is True
        assert connection.exchange(REQUEST).status == 200
        connection.close()


def test_a_server_that_reads_a_request_and_closes_is_not_taken_for_one_that_closed_while_idle() -> None:
    def script(connection: socket.socket, number: int) -> None:
        if number == 1:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(FINE)

    with serving(script) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        connection.exchange(REQUEST)
        with pytest.raises(ExchangeError) as raised:
            connection.exchange(REQUEST)
        connection.close()
    assert raised.value.reason == "connection"


def test_each_connect_is_reported_with_its_time() -> None:
    took_us: list[int] = []
    with serving(sends(FINE)) as url:
        connection = ClientConnection(parse_url(url), 2.0, None, took_us.append)
        connection.exchange(REQUEST)
        connection.close()
        connection.exchange(REQUEST)
        connection.close()
    assert len(took_us) == 2
    assert all(0 < took < 2_000_000 for took in took_us)


@pytest.mark.parametrize("header", [b"Connection: close\r\n", b""])
def test_a_connection_the_server_will_close_is_not_used_again(header: bytes) -> None:
    version = b"HTTP/1.1" if header else b"HTTP/1.0"
    with serving(sends(version + b" 200 OK\r\n" + header + b"Content-Length: 2\r\n\r\n{}")) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        for _ in range(3):
            assert connection.exchange(REQUEST).status == 200
        connection.close()


def test_what_follows_an_answer_unasked_is_not_taken_for_the_next_answer() -> None:
    with serving(sends(FINE + FINE.replace(b"200", b"409"), close=False)) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        assert [connection.exchange(REQUEST).status for _ in range(3)] == [200, 200, 200]
        connection.close()


def test_nobody_there_is_a_connect_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError, match="refused"):
        ClientConnection(parse_url(f"http://127.0.0.1:{port}"), 1.0).exchange(REQUEST)
    with pytest.raises(ConnectError, match="cannot connect"):
        ClientConnection(parse_url("http://no-such-host.invalid"), 1.0).exchange(REQUEST)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="the platform has no TCP_QUICKACK to re-arm")
def test_an_answer_sent_in_two_small_packets_does_not_stall() -> None:
    """With Nagle's algorithm on, the second packet waits for our acknowledgement, by default delayed by 40 ms."""
    head, body = FINE[:-2], FINE[-2:]
    with serving(sends(head, body, close=False)) as url:
        connection = ClientConnection(parse_url(url), 2.0)
        taken = []
        for _ in range(60):
            start = time.monotonic()
            connection.exchange(REQUEST)
            taken.append(time.monotonic() - start)
        connection.close()
    assert sorted(taken)[30] < 0.04  # many are faster, however busy the machine is; stalled, none but the first ones
