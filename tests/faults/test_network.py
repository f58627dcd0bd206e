"""The network that can be cut, and the proxy that sends twice, between sockets of the test's own."""

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.faults.proxy import PacedProxy
from infra.host.ports import HOST, free_port
from infra.host.unix_sockets import connect
from infra.local.services import tcp_proxy as network
from infra.local.services.tcp_proxy import ALL, SERVERS, of_server
from infra.local.stack import PROJECT

SECONDS = 30.0
SHORT_SECONDS = 0.3


@dataclass
class Echo:
    """Answers what it gets, on a port."""

    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self._listening = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65_536):
                connection.sendall(data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # or the thread that accepts would never hear of it
        self._listening.close()


@dataclass
class Wired:
    """Two members behind proxies."""

    backs: list[int]
    fronts: list[int]
    control: Path

    def talk(self, first: bytes, member: int = 0) -> socket.socket:
        """Open a connection to a member and say who speaks."""
        connection = socket.create_connection((HOST, self.fronts[member]), timeout=SECONDS)
        connection.sendall(first)
        return connection


def listens(path: Path) -> bool:
    """Tell whether somebody takes connections there: the path is there a moment before."""
    try:
        connect(path, SECONDS).close()
    except OSError:
        return False
    return True


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Wired]:
    members = [Echo(), Echo()]
    found = Wired([member.port for member in members], [free_port(), free_port()], tmp_path / "network.sock")
    pairs = [f"{front}:{back}" for front, back in zip(found.fronts, found.backs, strict=True)]
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.services.tcp_proxy", "--socket", str(found.control), *pairs], cwd=PROJECT
    )
    deadline = time.monotonic() + SECONDS
    while not listens(found.control):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield found
    process.terminate()
    assert process.wait(SECONDS) == 0
    for member in members:
        member.close()


APP = b"hello, I am day-trading gateway-1\0"
OTHER = b"hello, I am somebody"


def arrives(connection: socket.socket, sent: bytes) -> bool:
    """Send; return whether it comes back soon, in as many pieces as it likes."""
    connection.sendall(sent)
    connection.settimeout(SHORT_SECONDS)
    back = b""
    try:
        while len(back) < len(sent) and (some := connection.recv(65_536)):
            back += some
    except TimeoutError:
        return False
    return back == sent


def opened(wired: Wired, first: bytes, member: int = 0) -> socket.socket:
    connection = wired.talk(first, member)
    assert connection.recv(65_536) == first
    return connection


def test_what_is_sent_arrives_while_nothing_is_cut(wired: Wired) -> None:
    with opened(wired, APP) as connection:
        assert arrives(connection, b"one")
        assert arrives(connection, b"x" * 50_000)


def test_a_cut_is_silent_and_what_was_on_its_way_arrives_when_it_is_healed(wired: Wired) -> None:
    with opened(wired, APP) as connection:
        network.cut(wired.control, wired.backs[0], ALL)
        assert not arrives(connection, b"late")
        network.heal(wired.control, wired.backs[0])
        connection.settimeout(SECONDS)
        assert connection.recv(65_536) == b"late"


def test_the_servers_can_be_cut_off_while_others_get_through(wired: Wired) -> None:
    with opened(wired, APP) as app, opened(wired, OTHER) as other:
        network.cut(wired.control, wired.backs[0], SERVERS)
        assert not arrives(app, b"x")
        assert arrives(other, b"x")
        with wired.talk(APP) as new:
            new.settimeout(SHORT_SECONDS)
            with pytest.raises(TimeoutError):
                new.recv(1)
        with opened(wired, APP, member=1) as elsewhere:
            assert arrives(elsewhere, b"x")


def test_one_server_can_be_cut_off_while_the_others_get_through(wired: Wired) -> None:
    others = (b"I am day-trading gateway-11\0", b"I am day-trading ticker\0", b"I am day-trading\0", OTHER)
    with opened(wired, APP) as cut, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(opened(wired, first)) for first in others]
        network.cut(wired.control, wired.backs[0], of_server("gateway-1"))
        assert not arrives(cut, b"x")
        assert [arrives(connection, b"x") for connection in connections] == [True] * len(others)


def test_a_member_that_is_cut_off_reaches_nobody_either(wired: Wired) -> None:
    """Members say in their first message where they listen."""
    of_the_first = b"hostInfo machine:%d\0" % wired.backs[0]
    with opened(wired, of_the_first, member=1) as from_first, opened(wired, OTHER, member=1) as from_other:
        network.cut(wired.control, wired.backs[0], ALL)
        assert not arrives(from_first, b"x")
        assert arrives(from_other, b"x")


def test_a_delay_makes_all_of_a_member_late_in_its_order_and_others_not(wired: Wired) -> None:
    late_ms = 400
    with opened(wired, APP) as connection, opened(wired, APP, member=1) as other:
        network.delay(wired.control, wired.backs[0], late_ms)
        began = time.monotonic()
        connection.sendall(b"one")
        time.sleep(0.01)  # so that they are two packets
        connection.sendall(b"two")
        assert arrives(other, b"x")
        connection.settimeout(SECONDS)
        received = b""
        while len(received) < 6:
            received += connection.recv(65_536)
        assert received == b"onetwo"
        assert time.monotonic() - began >= 2 * late_ms / 1000, "there and back"
        network.heal(wired.control, wired.backs[0])
        assert arrives(connection, b"in time")
    with pytest.raises(OSError, match="KeyError"):
        network.delay(wired.control, 1, late_ms)


@pytest.mark.parametrize("strand", ["everything", ""])
def test_a_request_that_is_none_is_refused(wired: Wired, strand: str) -> None:
    with pytest.raises(OSError, match="KeyError"):
        network.cut(wired.control, wired.backs[0], strand)
    with pytest.raises(OSError, match="KeyError"):
        network.cut(wired.control, 1, ALL)


class _Counting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers["Idempotency-Key"], body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def counted() -> Iterator[tuple[PacedProxy, list[tuple[str, bytes]]]]:
    """Return a proxy, and what the server behind it has seen."""
    seen: list[tuple[str, bytes]] = []

    class Handler(_Counting):
        pass

    Handler.seen = seen
    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = PacedProxy(server.server_address[1])
    with proxy.running():
        yield proxy, seen
    server.shutdown()
    server.server_close()


def post(proxy: PacedProxy, key: str) -> bytes:
    connection = http.client.HTTPConnection(HOST, proxy.port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"{}", {"Idempotency-Key": key})
        return connection.getresponse().read()


def test_the_proxy_sends_a_request_once_and_if_told_twice(
    counted: tuple[PacedProxy, list[tuple[str, bytes]]],
) -> None:
    proxy, seen = counted
    assert post(proxy, "one") == b"{}"
    proxy.twice = True
    assert post(proxy, "two") == b"{}"
    deadline = time.monotonic() + SECONDS
    while len(seen) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(seen) == [("one", b"{}"), ("two", b"{}"), ("two", b"{}")]
    assert (proxy.answered, proxy.doubled) == (2, 1)


def test_the_front_keeps_the_pace_it_is_told(counted: tuple[PacedProxy, list[tuple[str, bytes]]]) -> None:
    proxy, _ = counted
    proxy.rate = 20.0
    began = time.monotonic()
    for number in range(6):
        post(proxy, str(number))
    assert time.monotonic() - began >= 5 / 20
