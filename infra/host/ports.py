"""TCP ports on the loopback interface: which are free, and claims on them."""

import errno
import fcntl
import os
import random
import socket
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
# Below Linux's range for outgoing connections (32768 and up), so that none of those takes a port between its choice
# here and its use by a server.
_FREE_PORTS = range(20_000, 32_000)
_ASK_SECONDS = 1.0
_MOST_CLAIMS = 256  # of one process, each an open socket; the oldest is given up: its server listens by then


class _Claim(NamedTuple):
    owner: str | None
    descriptor: int


_claims: dict[int, _Claim] = {}
_claims_lock = threading.Lock()


class PortTakenError(Exception):
    """The requested port is in use, or may not be used by us."""

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
    """Return a port that nobody listens on or has claimed, claimed for `owner` (see `claim`)."""
    for port in random.sample(_FREE_PORTS, k=len(_FREE_PORTS)):
        if claim(port, owner):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port from {_FREE_PORTS[0]} to {_FREE_PORTS[-1]}")


def claim(port: int, owner: str | None = None) -> bool:
    """Claim `port` for a server that will listen later; return False if it is in use or claimed by another.

    Between its choice and its use a port looks free to all; a claim tells the others, in this process and in other
    stacks. It is a locked file, released when the process that locked it ends, however that happens. Our own `owner`
    may claim its port again.
    """
    if not is_free(port):
        return False
    with _claims_lock:
        if port in _claims:
            return owner is not None and _claims[port].owner == owner
        descriptor = os.open(_claims_folder() / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        _claims[port] = _Claim(owner, descriptor)
        if len(_claims) > _MOST_CLAIMS:
            os.close(_claims.pop(next(iter(_claims))).descriptor)
        return True


def _claims_folder() -> Path:
    """Return the folder of this user's claims."""
    folder = Path(tempfile.gettempdir()) / f"day-trading-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "this folder, which is for our locks, belongs to another user", str(folder))
    return folder


def reserve(port: int) -> socket.socket:
    """Return a socket that keeps `port` for our servers; raises PortTakenError.

    While it is open, servers that set SO_REUSEPORT (all of ours do) can listen on the port, and a second `reserve` of
    it fails. So two stacks can never share a port unnoticed, which SO_REUSEPORT alone would allow.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Set for the bind, so that connections which an earlier server left in TIME_WAIT do not count; not after it, so
        # that the next one's bind does count us.
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


def listens(port: int) -> bool:
    """Return whether somebody takes connections on `port`."""
    with socket.socket() as asking:
        asking.settimeout(_ASK_SECONDS)
        return asking.connect_ex((HOST, port)) == 0
