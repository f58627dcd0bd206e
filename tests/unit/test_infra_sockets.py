"""What a connected socket says of its other end."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from infra.host.sockets import has_hung_up

Pair = tuple[socket.socket, socket.socket]


def tcp() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return server.accept()[0], client


@pytest.fixture(params=[tcp, socket.socketpair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Return two connected sockets: ours, and that of the other end."""
    connect: Callable[[], Pair] = request.param
    ours, other = connect()
    with closing(ours), closing(other):
        yield ours, other


def test_an_open_connection_has_not_hung_up_whether_it_has_bytes_or_not(pair: Pair) -> None:
    ours, other = pair
    ours.settimeout(5)
    assert not has_hung_up(ours)
    other.sendall(b"x")
    assert not has_hung_up(ours)
    assert ours.recv(1) == b"x"
    assert ours.gettimeout() == 5


@pytest.mark.parametrize("hang_up", [socket.socket.close, lambda other: other.shutdown(socket.SHUT_WR)])
def test_a_closed_or_half_closed_one_has_once_what_it_sent_was_read(
    pair: Pair, hang_up: Callable[[socket.socket], None]
) -> None:
    ours, other = pair
    other.sendall(b"x")
    hang_up(other)
    assert ours.recv(1, socket.MSG_PEEK) == b"x"
    assert not has_hung_up(ours)
    assert ours.recv(1) == b"x"
    while ours.recv(1):  # the end has arrived
        pass
    assert has_hung_up(ours)
