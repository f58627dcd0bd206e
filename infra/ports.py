"""TCP ports on the loopback interface: which are free, and one kept for us alone."""

import errno
import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
# Below the range that Linux hands to outgoing connections (32768 and up), so that none of those takes a port
# between its choice here and its use by a server.
_FREE_PORTS = range(20_000, 32_000)
_LISTEN = "0A"  # the state's number in /proc/net/tcp


class PortTakenError(Exception):
    """The port that was asked for is used by somebody else."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on {HOST} is taken by another program: stop it, or choose another port")
        self.port = port


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    try:
        reserve(port).close()
    except PortTakenError:
        return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on."""
    for port in random.sample(_FREE_PORTS, k=len(_FREE_PORTS)):
        if is_free(port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port from {_FREE_PORTS[0]} to {_FREE_PORTS[-1]}")


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
        raise
    return keeper


def listeners(port: int) -> int:
    """Return how many sockets listen on `port`: with SO_REUSEPORT, one for each worker that is ready to serve."""
    address = f"0100007F:{port:04X}"
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in table if (fields := line.split())[1] == address and fields[3] == _LISTEN)
