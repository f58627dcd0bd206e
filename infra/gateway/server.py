"""The gateway as a program: granian's accept loop and worker processes around the adapter.

    python -m infra.gateway --port 8000 --workers 2

Facts about granian 2.8 that shape it, each found by trying:

- What it calls backpressure is a bound on connections, idle ones included: with 1,024 kept-alive clients, its
  default, the next one waits until another leaves. So the bound is ours to set (--connections).
- It starts a thread when one is needed, up to its bound. A body is read inside such a thread, with no time limit, so
  a client that sends half a body holds a thread until it goes, and as many of those as there are threads hold up
  everybody. One thread for each connection would be the cure, but 1,000 busy connections then cost 2.5 ms of CPU a
  request instead of 0.12 (measured): a proxy in front that buffers bodies is the better one.
- A request that is both chunked and has a length is read as chunked, and its connection is closed after the answer.
  A chunked body that breaks off arrives as if it had ended: what is in it counts, and half of a JSON object is none.
- Its time limit for reading headers is also the one for an idle connection (--idle-seconds).
- It copies the process's environment into each request, where HTTP_PROXY looks like a header `Proxy` (the hole
  known as httpoxy, from the other side). Such variables are removed before the app is imported.
- A worker that dies is not replaced: granian stops with status 1, so that whoever runs it sees that something is
  wrong, instead of a crash that hides itself. Restarting is the supervisor's business, for every kind of part.
"""

import argparse
import gc
import importlib
import os
import resource
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from chalice.app import Chalice
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.mp import MPServer, WorkerProcess

from infra import guard, metrics
from infra.gateway.adapter import Gateway
from infra.gateway.processors import ANY, parse_processor, stay_on
from infra.ports import HOST

DEFAULT_THREADS = 64
DEFAULT_CONNECTIONS = 4_096
DEFAULT_BACKLOG = 2_048
DEFAULT_IDLE_SECONDS = 65
DEFAULT_GRACE_SECONDS = 15
OBJECTS_BEFORE_COLLECTION = 20_000
"""So many more new objects than freed ones, before the youngest are looked through."""

_ENVIRONMENT_OF_A_REQUEST = ("HTTP_", "CONTENT_")


class _Server(MPServer):
    """granian's server, whose workers know their number."""

    def _spawn_worker(  # type: ignore[override]  # granian's base class declares an argument it does not pass
        self, idx: int, target: Any, callback_loader: Any
    ) -> WorkerProcess:
        return super()._spawn_worker(idx, target, partial(callback_loader, idx + 1))


def load_app(spec: str) -> Chalice:
    """Return the app that `module:attribute` names."""
    module, _, attribute = spec.partition(":")
    app = getattr(importlib.import_module(module), attribute or "app")
    if not isinstance(app, Chalice):
        raise TypeError(f"{spec} is not a Chalice app")
    return app


def load_worker(spec: str, name: str, parent_pid: int, processor: int | None, number: int) -> Gateway:
    """Make this process a worker of the server `parent_pid`, and return what it serves."""
    guard.die_with_parent(parent_pid)
    stay_on(processor, number)
    for variable in [key for key in os.environ if key.startswith(_ENVIRONMENT_OF_A_REQUEST)]:
        del os.environ[variable]
    os.environ["SERVER_NAME"] = f"{name}-{number}"
    app = load_app(spec)
    gateway = Gateway(app, metrics.start(sys.modules[spec.partition(":")[0]]))
    _collect_seldom()
    return gateway


def _collect_seldom() -> None:
    """Let the collector of reference cycles look seldom, and never at what lives as long as the process.

    What a request makes goes by counting references, nearly all of it, and the records that a server keeps are many and
    old. With the defaults a command took 0.76 ms of CPU and without them 0.71 ms, means of three runs each on a busy
    machine (45 users, two cores, a worker on both).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 20, 20)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; what has begun is finished first. Exits 1 when a worker dies."""
    options = _parse(arguments)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the import system takes strings
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file descriptor
    server = _Server(
        options.app,
        address=options.host,
        port=options.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=options.idle_seconds * 1000),
        websockets=False,
        workers=options.workers,
        blocking_threads=options.threads,
        backpressure=options.connections,
        backlog=options.backlog,
        workers_kill_timeout=options.grace_seconds,
    )
    with metrics.folder():
        server.serve(
            target_loader=partial(load_worker, options.app, options.name, os.getpid(), options.processor),
            wrap_loader=False,
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.gateway", description="Serve the Chalice app.")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--app", default="app:app", help="module:attribute of the Chalice app (%(default)s)")
    parser.add_argument("--name", default=os.environ.get("SERVER_NAME", "gateway"), help="workers are NAME-1...")
    add_server_options(parser)
    parser.add_argument(
        "--processor",
        type=parse_processor,
        default=ANY,
        metavar="N|any",
        help="index of the processor that worker 1 stays on, each further one on the next (%(default)s); for a machine "
        "whose processors are this server's to share out",
    )
    parser.add_argument("--idle-seconds", type=int, default=DEFAULT_IDLE_SECONDS)
    parser.add_argument("--grace-seconds", type=int, default=DEFAULT_GRACE_SECONDS)
    return parser.parse_args(arguments)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server's size, which the local stack hands on."""
    parser.add_argument("--workers", type=_positive, default=1, help="processes (%(default)s)")
    parser.add_argument(
        "--threads",
        type=_positive,
        default=DEFAULT_THREADS,
        help="requests served at the same time, a worker (%(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=_positive,
        default=DEFAULT_CONNECTIONS,
        help="open connections, a worker (%(default)s)",
    )
    parser.add_argument(
        "--backlog", type=_positive, default=DEFAULT_BACKLOG, help="connections not accepted yet (%(default)s)"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value
