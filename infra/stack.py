"""Which parts make a stack, and what each is told of the others."""

import http.client
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chalicelib.clock import now_ms
from chalicelib.quotes.sources import make_source
from chalicelib.settings import read_settings
from infra.folder import StackFolder
from infra.gateway.server import DEFAULT_BACKLOG, DEFAULT_CONNECTIONS, DEFAULT_THREADS
from infra.mongo import DEFAULT_CACHE_GB, DEFAULT_OPLOG_MB, mongo_uri, mongod_part
from infra.parts import Part
from infra.ports import HOST, listeners
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.quote_server.part import LEGACY_SETTINGS, quote_server_part, quote_source
from infra.redis_server import DEFAULT_MEMORY_MB, redis_part, redis_url

PROJECT = Path(__file__).parent.parent
DATABASE = "day_trading"
LEGACY = "legacy"
"""The quote source that is a quote server of the stack's own."""

GROUPED_WRITES = "128"
"""The gateway's GROUP_COMMIT: as many as its default threads have under way, twice."""

_HEALTH_SECONDS = 2.0
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class StackOptions:
    """The size and kind of a stack; `infra.local` describes each."""

    port: int = 8000
    server: str = "gateway"
    workers: int = 1
    threads: int = DEFAULT_THREADS
    connections: int = DEFAULT_CONNECTIONS
    backlog: int = DEFAULT_BACKLOG
    quote_source: str = "simulated:1"
    quote_delay: str = DEFAULT_DELAY
    quote_fail: float = DEFAULT_FAIL_RATE
    trigger_seconds: int = 0
    mongo_cache_gb: float = DEFAULT_CACHE_GB
    mongo_oplog_mb: int = DEFAULT_OPLOG_MB
    redis_memory_mb: int = DEFAULT_MEMORY_MB


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack's addresses, chosen before its parts start."""

    options: StackOptions
    folder: StackFolder
    mongo_port: int
    redis_port: int
    quote_port: int | None

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://{HOST}:{self.options.port}"

    @property
    def mongo_uri(self) -> str:
        """Where the replica set answers."""
        return mongo_uri([self.mongo_port])

    @property
    def redis_url(self) -> str:
        """Where the cache answers."""
        return redis_url(self.redis_port)

    @property
    def quote_source(self) -> str:
        """The app's QUOTE_SOURCE."""
        return self.options.quote_source if self.quote_port is None else quote_source(self.quote_port)


def plan(options: StackOptions, folder: StackFolder) -> Stack:
    """Return the stack for `options` in `folder`, on the ports that it had before where they are free."""
    quote_port = folder.port_of("quote-server") if options.quote_source == LEGACY else None
    return Stack(options, folder, folder.port_of("mongod"), folder.port_of("redis"), quote_port)


def check_settings(stack: Stack) -> None:
    """Raise SettingError when the app could not use what it would be given: better said before anything starts."""
    settings = read_settings(app_environment(stack, stack.options.server))
    make_source(settings.quote_source, now_ms)


def parts_in_order(stack: Stack) -> Iterator[Part]:
    """Yield the parts, each after those it needs."""
    options, data = stack.options, stack.folder.path
    plain = dict(os.environ)
    yield mongod_part(
        data / "mongod",
        stack.mongo_port,
        plain,
        cache_gb=options.mongo_cache_gb,
        oplog_mb=options.mongo_oplog_mb,
    )
    yield redis_part(data / "redis", stack.redis_port, plain, memory_mb=options.redis_memory_mb)
    if stack.quote_port is not None:
        arguments = ["--delay", options.quote_delay, "--fail", str(options.quote_fail)]
        yield quote_server_part(stack.quote_port, plain, arguments)
    yield _server_part(stack)
    if options.trigger_seconds:
        yield _ticker_part(stack)


def app_environment(stack: Stack, server_name: str) -> dict[str, str]:
    """Return the environment of a process that runs the app."""
    patience = {} if stack.quote_port is None else LEGACY_SETTINGS
    return {
        **patience,
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "MONGO_URI": stack.mongo_uri,
        "MONGO_DATABASE": DATABASE,
        "REDIS_URL": stack.redis_url,
        "QUOTE_SOURCE": stack.quote_source,
        "AUTH_SECRET": stack.folder.secret(),
        "DUMP_PLACE": str(stack.folder.path / "dumps"),
        "TRIGGER_SECONDS": str(stack.options.trigger_seconds),
        "PROMETHEUS_MULTIPROC_DIR": str(stack.folder.path / "metrics"),  # of the server; its own temporary one else
        "SERVER_NAME": server_name,
    }


def _server_part(stack: Stack) -> Part:
    options = stack.options
    name = options.server
    command = [sys.executable, "-m", {"gateway": "infra.gateway", "chalice": "infra.chalice_server"}[name]]
    command += ["--port", str(options.port), "--workers", str(options.workers), "--name", name]
    if name == "gateway":
        command += ["--threads", str(options.threads), "--connections", str(options.connections)]
        command += ["--backlog", str(options.backlog)]
    (stack.folder.path / "dumps").mkdir(exist_ok=True)
    why_not_ready = partial(why_not_healthy, options.port, options.workers)
    environment = {"GROUP_COMMIT": GROUPED_WRITES, **app_environment(stack, name)}
    return Part(name, command, environment, why_not_ready, stop_seconds=20.0, folder=PROJECT)


def _ticker_part(stack: Stack) -> Part:
    """Return the scheduled sweep; it serves nobody, so it is ready at once."""
    command = [sys.executable, "-m", "infra.ticker"]
    # When it is told to stop, a quote and a write that have begun still end by their own limits.
    return Part("ticker", command, app_environment(stack, "ticker"), lambda: None, stop_seconds=30.0, folder=PROJECT)


def why_not_healthy(port: int, workers: int) -> str | None:
    """Return None when all workers listen and GET /health is a 200, else what is missing."""
    listening = listeners(port)
    if listening < workers:  # one alone would get all connections made until the others are there, for good
        return f"{listening} of {workers} workers listen on port {port}"
    connection = http.client.HTTPConnection(HOST, port, timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        body = response.read().decode(errors="replace")[:_SHOWN_CHARACTERS]
    except (OSError, http.client.HTTPException) as error:
        return f"GET /health: {error!r}"
    finally:
        connection.close()
    return None if response.status == http.HTTPStatus.OK else f"GET /health answered {response.status}: {body}"
