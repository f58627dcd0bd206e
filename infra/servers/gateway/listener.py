"""One process that serves: its listening socket, the greenlets of its connections, their time and their end."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from infra.host.signals import STOP_SIGNALS
from infra.servers.gateway.connection import Connection, Handler, Service

_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a worker takes on."""

    connections: int
    backlog: int
    idle_seconds: float
    grace_seconds: float


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that listens, beside those of the other workers: Linux deals the connections out."""
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


class Worker:
    """Serves connections, each in a greenlet."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self._limits = limits
        self._service = Service(handler, limits.idle_seconds)
        self._connections: set[Connection] = set()
        self._left = Event()  # a connection, lately

    def serve(self, listener: socket.socket, say: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; what has begun is finished first, within `grace_seconds`."""
        stop = Event()
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, stop.set)
        server = StreamServer(listener, self._connected, spawn=self._limits.connections)
        server.start()
        ticks = gevent.spawn(self._tick)
        stop.wait()
        server.close()
        self._service.stopping = True
        for connection in list(self._connections):
            connection.stop()
        end = monotonic() + self._limits.grace_seconds
        while self._connections and self._left.wait(max(0.0, end - monotonic())):
            self._left.clear()
        if self._connections:
            say(f"gave up on {len(self._connections)} connections after {self._limits.grace_seconds:g} s")
        ticks.kill()

    def _connected(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        connection = Connection(accepted, address[0], self._service)
        self._connections.add(connection)
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.serve()
        finally:
            self._connections.discard(connection)
            self._left.set()

    def _tick(self) -> None:
        """Close, once a second, what has had its time."""
        while True:
            gevent.sleep(_TICK_SECONDS)
            self._service.tick()
            now = monotonic()
            for connection in [one for one in self._connections if one.deadline < now]:
                connection.close()
