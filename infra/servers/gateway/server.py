"""The gateway as a program: one process, with the adapter behind its connections.

    python -m infra.servers.gateway --port 8000

It uses one processor. A larger machine runs several, each on its own port, behind a proxy that keeps a user on one of
them (`infra/local`).
"""

import argparse
import gc
import importlib
import os
import resource
import sys
from collections.abc import Sequence
from typing import NoReturn

import gevent
from chalice.app import Chalice

from infra.host.affinity import ANY, parse_processor, stay_on
from infra.host.arguments import add_examples, port, positive, whole
from infra.host.ports import HOST
from infra.servers import metrics
from infra.servers.counters import GatewayCounters
from infra.servers.gateway.adapter import Gateway
from infra.servers.gateway.connection import Handler
from infra.servers.gateway.listener import ConnectionLimits, Worker, listen
from infra.servers.shutdown import finish_questions

DEFAULT_CONNECTIONS = 4_096
DEFAULT_BACKLOG = 2_048
DEFAULT_IDLE_SECONDS = 65
DEFAULT_GRACE_SECONDS = 15
OBJECTS_BEFORE_COLLECTION = 20_000
"""How many more objects are created than freed before a collection of the youngest generation."""


def load_app(spec: str) -> Chalice:
    """Return the app in `module:attribute`."""
    module, _, attribute = spec.partition(":")
    app = getattr(importlib.import_module(module), attribute or "app")
    if not isinstance(app, Chalice):
        raise TypeError(f"{spec} is not a Chalice app")
    return app


def load_handler(spec: str) -> Handler:
    """Return what answers requests: the app in `module:attribute`, behind an adapter, or a Handler itself."""
    module, _, attribute = spec.partition(":")
    app = getattr(importlib.import_module(module), attribute or "app")
    if isinstance(app, Chalice):
        return Gateway(app, metrics.start(sys.modules[module], gevent.get_hub().threadpool.apply))
    if not callable(getattr(app, "answer", None)):
        raise TypeError(f"{spec} is not a Chalice app")
    handler: Handler = app
    return handler


def _serve(options: argparse.Namespace) -> None:
    handler = load_handler(options.app)
    _collect_seldom()
    limits = ConnectionLimits(
        options.connections,
        options.backlog,
        options.idle_seconds,
        options.grace_seconds,
        options.arrival_header,
    )
    listener = listen(options.host, options.port, options.backlog)
    Worker(handler, limits, GatewayCounters()).serve(listener, _say)
    finish_questions()


def _collect_seldom() -> None:
    """Collect reference cycles seldom, and never among objects that live as long as the process.

    Nearly everything that a request creates is freed by reference counting, and the records that a server keeps are
    many and old. With the defaults a command took 0.76 ms of CPU and with this 0.71 ms, means of three runs each on a
    busy machine (45 users, two cores, a worker on both).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, 20, 20)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM or SIGINT; requests in progress are finished first."""
    options = _parse(arguments)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the import system takes strings
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file descriptor
    stay_on(options.processor)
    os.environ["SERVER_NAME"] = options.name
    _serve(options)
    sys.stdout.flush()
    os._exit(0)  # whatever still waits has had its grace period


def _say(text: str) -> None:
    print(text, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.servers.gateway", description="Serve the Chalice app.")
    add_examples(parser, "python -m infra.servers.gateway --port 8000")
    parser.add_argument("--host", default=HOST, help="(%(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="(%(default)s)")
    parser.add_argument("--app", default="app:app", help="module:attribute of the Chalice app (%(default)s)")
    parser.add_argument("--name", default=os.environ.get("SERVER_NAME", "gateway"), help="(%(default)s)")
    add_server_options(parser)
    parser.add_argument(
        "--processor",
        type=parse_processor,
        default=ANY,
        metavar="N|any",
        help="index of the processor that it stays on (%(default)s)",
    )
    parser.add_argument(
        "--arrival-header",
        type=str.lower,
        metavar="NAME",
        help="header in which the proxy in front says when a request arrived, in ms since the epoch; only for a server "
        "that is reached through it alone (default: none, the server's own time counts)",
    )
    parser.add_argument("--idle-seconds", type=positive, default=DEFAULT_IDLE_SECONDS, help="(%(default)s)")
    parser.add_argument("--grace-seconds", type=whole(0), default=DEFAULT_GRACE_SECONDS, help="(%(default)s)")
    return parser.parse_args(arguments)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server's size, which the local stack passes on."""
    parser.add_argument(
        "--connections",
        type=positive,
        default=DEFAULT_CONNECTIONS,
        help="open connections, a server (%(default)s)",
    )
    parser.add_argument(
        "--backlog", type=positive, default=DEFAULT_BACKLOG, help="connections not accepted yet (%(default)s)"
    )
