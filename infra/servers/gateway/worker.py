"""One process that serves: an event loop on its main thread, on which each request is a greenlet."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib import waiting
from infra.host.signals import STOP_SIGNALS
from infra.servers.gateway.connection import Connections, Handler
from infra.servers.gateway.waiting import LoopWaiting

_ACCEPT_PAUSE_SECONDS = 0.1
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a worker takes on; `threads` are for calls that wait for others, such as a database.

    It looks for news for `busy_poll_seconds` before it sleeps.
    """

    threads: int
    connections: int
    backlog: int
    idle_seconds: float
    grace_seconds: float
    busy_poll_seconds: float = 0.0


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
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(handler: Handler, listener: socket.socket, limits: Limits, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what has begun is finished first, within `grace_seconds`."""
    loop = asyncio.get_running_loop()
    on_loop = LoopWaiting(loop, limits.threads, limits.busy_poll_seconds)
    waiting.use(on_loop)
    connections = Connections(handler, on_loop, limits.idle_seconds)
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    tasks = [
        asyncio.create_task(_accept(listener, connections, limits.connections)),
        asyncio.create_task(_tick(connections)),
    ]
    await asyncio.wait([*tasks, stopping := asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        for task in tasks:
            if task.done():
                task.result()
    tasks[0].cancel()
    listener.close()
    connections.stop()
    try:
        async with asyncio.timeout(limits.grace_seconds):
            while connections.open:
                connections.changed.clear()
                await connections.changed.wait()
    except TimeoutError:
        say(f"gave up on {len(connections.open)} connections after {limits.grace_seconds:g} s")
        connections.abort()
    tasks[1].cancel()


async def _accept(listener: socket.socket, connections: Connections, most: int) -> None:
    """Take connections in, at most so many at a time: others wait where Linux keeps them, up to the backlog."""
    loop = asyncio.get_running_loop()
    while True:
        while len(connections.open) >= most:
            connections.changed.clear()
            await connections.changed.wait()
        try:
            accepted, _ = await loop.sock_accept(listener)
        except OSError:  # it went before we came, or there are no file descriptors left
            await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
            continue
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(connections.make, accepted)
        except OSError:
            accepted.close()


async def _tick(connections: Connections) -> None:
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        connections.tick()
