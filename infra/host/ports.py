"""TCP ports on the loopback interface: which are free, and one kept for us alone."""

import errno
import os
import random
import socket
import threading
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
# Below the range that Linux hands to outgoing connections (32768 and up), so that none of those takes a port
# between its choice here and its use by a server.
_FREE_PORTS = range(20_000, 32_000)
_LISTEN = "0A"  # the state's number in /proc/net/tcp
_MOST_CLAIMS = 256  # of one process, each an open socket; the oldest is given up: its server listens by then


class _Claim(NamedTuple):
    owner: str | None
    descriptor: int


_claims: dict[int, _Claim] = {}
_claims_lock = threading.Lock()


class PortTakenError(Exception):
    """The port that was asked for is used by somebody else, or not ours to use."""

    def __init__(self, port: int, why: str = "is taken by another program: stop it, or choose another port") -> None:
        super().__init__(f"port {port} on {HOST} {why}")
        self.port = port


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    try:
        reserve(port).close()
    except PortTakenError:
        return False
    return True


def free_port(owner: str | None = None) -> int:
    """Return a port that nobody listens on or has chosen, claimed for `owner` (see `claim`)."""
    for port in random.sample(_FREE_PORTS, k=len(_FREE_PORTS)):
        if claim(port, owner):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port from {_FREE_PORTS[0]} to {_FREE_PORTS[-1]}")


def claim(port: int, owner: str | None = None) -> bool:
    """Choose `port` for a server that will listen later; False when it is not free or somebody else's choice.

    Between its choice and its use a port looks free to all: a claim is what tells the others, in this process and in
    the stacks beside it. It is a name of Linux's, gone with the process that bound it, however that ends. An `owner`
    of ours may claim its port again.
    """
    if not is_free(port):
        return False
    with _claims_lock:
        if port in _claims:
            return owner is not None and _claims[port].owner == owner
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0day-trading port {port}")
        except OSError as error:
            name.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        _claims[port] = _Claim(owner, name.detach())
        if len(_claims) > _MOST_CLAIMS:
            os.close(_claims.pop(next(iter(_claims))).descriptor)
        return True


def reserve(port: int) -> socket.socket:
    """Return a socket that keeps `port` for servers of ours; raises PortTakenError.

    While it is open, servers that set SO_REUSEPORT (all of ours do) can listen on the port, and a second `reserve`
    of it fails. So two stacks can never share a port unnoticed, which SO_REUSEPORT alone would let them do.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Set for the bind, so that connections a server before us left in TIME_WAIT do not count; not after it,
        # so that the next one's bind does count us.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((HOST, port))
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        keeper.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(port) from error
        if error.errno == errno.EACCES:
            raise PortTakenError(port, "may be used by root only: choose one of 1024 or above") from error
        raise
    return keeper


def listeners(port: int) -> int:
    """Return how many sockets listen on `port`: with SO_REUSEPORT, one for each worker that is ready to serve."""
    address = f"0100007F:{port:04X}"
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in table if (fields := line.split())[1] == address and fields[3] == _LISTEN)
