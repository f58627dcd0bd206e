"""Sockets of the driver on which a command waits as its thread waits: on threads, and as greenlets on one thread."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib import waiting
from chalicelib.store.patient import PatientInterface
from tests.ways import SECONDS, Together, on_a_loop

CERTIFICATE = Path(__file__).parent / "loadgen" / "tls.pem"
MUCH = bytes(range(256)) * 40_000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def received(interface: PatientInterface, size: int) -> bytes:
    """Receive so many bytes."""
    buffer = memoryview(bytearray(size))
    got = 0
    while got < size:
        more = interface.recv_into(buffer[got:])
        assert more
        got += more
    return bytes(buffer)


def exchange(ours: PatientInterface, theirs: PatientInterface, together: Together) -> None:
    """Send more than sockets hold, there and back."""

    def ask() -> None:
        ours.sendall(MUCH)
        assert received(ours, len(MUCH)) == MUCH[::-1]

    def answer() -> None:
        sent = received(theirs, len(MUCH))
        theirs.sendall(sent[::-1])

    together(ask, answer)


def test_what_is_sent_arrives_however_much_it_is(pair: tuple[socket.socket, socket.socket], together: Together) -> None:
    ours, theirs = map(PatientInterface, pair)
    exchange(ours, theirs, together)
    theirs.close()
    assert ours.recv_into(memoryview(bytearray(1))) == 0


def test_it_arrives_over_tls_as_well(pair: tuple[socket.socket, socket.socket], together: Together) -> None:
    here, there = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    here.check_hostname = False
    here.load_verify_locations(CERTIFICATE)
    there.load_cert_chain(CERTIFICATE)
    with ThreadPoolExecutor(1) as pool:
        wrapping = pool.submit(there.wrap_socket, pair[1], server_side=True)
        ours, theirs = here.wrap_socket(pair[0]), wrapping.result(SECONDS)
    with ours, theirs:
        exchange(PatientInterface(ours), PatientInterface(theirs), together)


def test_what_has_come_is_taken_from_the_network_at_once(
    pair: tuple[socket.socket, socket.socket], together: Together
) -> None:
    """The driver asks for the head of an answer, then for the rest."""
    interface = PatientInterface(pair[0])
    pair[1].sendall(b"head and body")

    def read() -> None:
        assert received(interface, 4) == b"head"
        assert interface.pending() == len(" and body")
        pair[1].close()
        assert received(interface, 9) == b" and body"
        assert (interface.pending(), interface.recv_into(memoryview(bytearray(1)))) == (0, 0)

    together(read)


@pytest.mark.parametrize("to_write", [False, True], ids=["read", "written"])
def test_who_waits_too_long_for_the_network_is_told(
    pair: tuple[socket.socket, socket.socket], together: Together, to_write: bool
) -> None:
    interface = PatientInterface(pair[0])
    interface.settimeout(0.05)
    assert interface.gettimeout() == 0.05

    def wait() -> None:
        with pytest.raises(TimeoutError):
            interface.sendall(MUCH) if to_write else interface.recv_into(memoryview(bytearray(1)))

    together(wait)


def test_others_go_on_meanwhile_on_one_thread(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    done: list[str] = []

    def ask() -> None:
        assert received(PatientInterface(ours), 2) == b"ab"
        done.append("asked")

    def other() -> None:
        theirs.sendall(b"a")
        waiting.pause(0.05)
        done.append("other")
        theirs.sendall(b"b")

    on_a_loop(ask, other)
    assert done == ["other", "asked"]
