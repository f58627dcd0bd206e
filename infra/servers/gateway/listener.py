"""One serving process: its listening socket, the greenlets of its connections, their deadlines and their end."""

import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from chalicelib.circuit_breaker import SeldomLog
from infra.host.signals import STOP_SIGNALS
from infra.servers.gateway.connection import Handler, ServerConnection, Service
from infra.servers.gateway.problems import problem

MOST_REFUSED = 64
"""How many connections past the limit are refused at the same time; further ones are closed without an answer."""

STALL_SECONDS = 0.01
"""The event loop has stalled if nothing else could run for this long."""

_TICK_SECONDS = 1.0
_LOOK_SECONDS = 0.02
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger("gateway")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """A server's limits; `arrival_header` is where a proxy in front says when a request arrived."""

    connections: int
    backlog: int
    idle_seconds: float
    grace_seconds: float
    arrival_header: str | None = None


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Return a listening socket, also on a port reserved for it (`infra.host.ports.reserve`)."""
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


class Watch(Protocol):
    """Observes a server's state; see `infra.servers.counters.GatewayCounters`."""

    def connected(self, idle: int, active: int) -> None:
        """Record the number of connections."""

    def stood_still(self, seconds: float) -> None:
        """Record a stall of the loop."""


class Worker:
    """Serves connections, each in a greenlet.

    At the limit the longest idle connection is closed for a new one; if none is idle, the new one is refused at once.
    """

    def __init__(self, handler: Handler, limits: ConnectionLimits, watch: Watch | None = None) -> None:
        self._limits = limits
        self._watch = watch
        self._service = Service(handler, limits.idle_seconds, limits.arrival_header)
        self._connections: set[ServerConnection] = set()
        self._refused: set[ServerConnection] = set()
        self._left = Event()  # set when a connection has ended
        self._full = problem(
            "server_busy",
            f"all {limits.connections} connections that this server takes are busy; nothing was changed, send it again",
            ("Retry-After", "1"),
        )

    def serve(self, listener: socket.socket, say: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; requests in progress are finished first, within `grace_seconds`."""
        stop = Event()
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, stop.set)
        server = _Listener(listener, self._connected, self._make_room)
        server.start()
        ticks = gevent.spawn(self._tick)
        looks = gevent.spawn(self._look_for_stalls)
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
        looks.kill()

    def _connected(self, accepted: socket.socket, address: tuple[str, int]) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = ServerConnection(accepted, address[0], self._service)
        if len(self._connections) < self._limits.connections or self._make_room():
            here, serve = self._connections, connection.serve
        elif len(self._refused) < MOST_REFUSED:
            here, serve = self._refused, lambda: connection.refuse(self._full)
        else:
            return
        here.add(connection)
        try:
            serve()
        finally:
            here.discard(connection)
            self._left.set()

    def _make_room(self) -> bool:
        """Close the longest idle connection; return whether there was one."""
        idle = min((one for one in self._connections if one.is_idle), key=lambda one: one.deadline, default=None)
        if idle is None:
            return False
        self._connections.discard(idle)
        idle.close()
        return True

    def _tick(self) -> None:
        """Close, once a second, connections past their deadlines."""
        while True:
            gevent.sleep(_TICK_SECONDS)
            self._service.tick()
            if self._watch is not None:
                idle = sum(one.is_idle for one in self._connections)
                self._watch.connected(idle, len(self._connections) - idle)
            now = monotonic()
            for connection in [one for one in (*self._connections, *self._refused) if one.deadline < now]:
                connection.close()

    def _look_for_stalls(self) -> None:
        """Sleep shortly, again and again: waking much too late means that the loop was blocked."""
        while self._watch is not None:
            due = monotonic() + _LOOK_SECONDS
            gevent.sleep(_LOOK_SECONDS)
            late = monotonic() - due
            if late >= STALL_SECONDS:
                self._watch.stood_still(late)


class _NotAcceptedError(OSError):
    """There is no room for a connection: gevent retries, with pauses growing to a second, and need not log it."""


class _Listener(StreamServer):
    """Calls `make_room` if the process or the machine has no file descriptor left for a connection."""

    def __init__(self, listener: socket.socket, handle: Callable[..., None], make_room: Callable[[], bool]) -> None:
        super().__init__(listener, handle)
        self._make_room = make_room
        self._log = SeldomLog(_log)
        gevent.get_hub().NOT_ERROR += (_NotAcceptedError,)

    def do_read(self) -> tuple[socket.socket, Any]:
        """Accept a connection."""
        try:
            return super().do_read()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._log.warning("no connection can be accepted: %s; the longest idle one is closed", error)
            self._make_room()
            raise _NotAcceptedError(error.errno, str(error)) from error
