"""Connections to the database on which a command waits as its thread waits (`chalicelib/waiting.py`).

The driver's own wait stands still. On a server that has its requests on one thread that is done on another thread,
which costs two hand-overs of the interpreter there and back. What is sent the most, groups of writes, goes over these
instead: the driver works in the request itself, and only the moments in which it would stand still are given away.

Its connections are the place where that can be said: `_pool_class`, which it has "for deep customization of PyMongo".
What else the driver may wait for must not come up: a server to choose (so `SELECTION_MS`), and a free connection (so at
most as many calls at a time as the pool has connections, and is allowed to make at once).
"""

import socket
import ssl
import time
from functools import partial
from typing import Any

from pymongo.network_layer import NetworkingInterface
from pymongo.synchronous.pool import Connection, Pool

from chalicelib import waiting

_AHEAD_BYTES = 64 * 1024
"""What is taken from the network at once: most answers are much smaller, and the driver asks for them in two parts."""

SELECTION_MS = 0
"""How long such a client may wait for a server it could write to: it would stand still."""


class PatientPool(Pool):
    """Makes patient connections."""

    def connect(self, handler: Any = None) -> Connection:
        """Return a new connection, made aside; an ordinary one for the driver's own threads, which watch servers."""
        make = partial(super().connect, handler)
        if self.is_sdam:
            return make()
        connection = waiting.aside(make)
        connection.conn = PatientInterface(connection.conn.sock)
        return connection


class PatientInterface(NetworkingInterface):
    """What a connection of the driver does with its socket, which itself never waits."""

    def __init__(self, sock: socket.socket | ssl.SSLSocket) -> None:
        super().__init__(sock)
        self._socket = sock
        self._seconds = sock.gettimeout()
        self._ahead = memoryview(b"")
        sock.setblocking(False)

    def gettimeout(self) -> float | None:
        """Return for how many seconds each call may wait, None for however long it takes."""
        return self._seconds

    def settimeout(self, timeout: float | None) -> None:
        """Say for how many seconds each call may wait."""
        self._seconds = timeout

    @property
    def get_conn(self) -> Any:
        """Return what is sent with, and asked whether it is closed."""
        return self

    def pending(self) -> int:
        """Return how many bytes have been taken from the network and not been asked for."""
        return len(self._ahead) + self._undecoded()

    def sendall(self, data: bytes) -> None:
        """Send everything; raises TimeoutError when that takes too long."""
        left, deadline = memoryview(data), self._deadline()
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(deadline, to_write=True)
            except ssl.SSLWantReadError:
                self._wait(deadline, to_write=False)

    def recv_into(self, buffer: Any) -> int:
        """Return how many bytes have come, 0 at their end; raises TimeoutError when none come in time."""
        if not self._ahead:
            self._ahead = memoryview(self._receive())
        count = min(len(buffer), len(self._ahead))
        buffer[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def _receive(self) -> bytes:
        deadline = self._deadline()
        if not self._undecoded():  # an answer is not there at once, and to look for it in vain costs more than to wait
            waiting.until_ready(self._socket.fileno(), to_write=False, seconds=self._left(deadline))
        while True:
            try:
                return self._socket.recv(_AHEAD_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(deadline, to_write=False)
            except ssl.SSLWantWriteError:
                self._wait(deadline, to_write=True)

    def _deadline(self) -> float | None:
        return None if self._seconds is None else time.monotonic() + self._seconds

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _undecoded(self) -> int:
        return self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0

    def _wait(self, deadline: float | None, *, to_write: bool) -> None:
        if not waiting.until_ready(self._socket.fileno(), to_write=to_write, seconds=self._left(deadline)):
            raise TimeoutError("timed out")
