"""The parts of a stack, and what each is told about the others."""

import http.client
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

from chalicelib.clock import OFFSET_FILE, now_ms
from chalicelib.config.settings import read_settings
from chalicelib.quotes.sources import make_source
from infra.host.affinity import left_by
from infra.host.binaries import find_haproxy, find_mongod, find_redis_server
from infra.host.ports import HOST, listens
from infra.local.folder import StackFolder
from infra.local.process import Part
from infra.local.services import haproxy
from infra.local.services import login as login_service
from infra.local.services.mongo import (
    ARBITER,
    DEFAULT_CACHE_GB,
    DEFAULT_ELECTION_MS,
    DEFAULT_OPLOG_MB,
    arbiter_part,
    member_parts,
    mongo_uri,
    mongod_part,
)
from infra.local.services.quote_server import quote_server_part, quote_source
from infra.local.services.redis_server import DEFAULT_MEMORY_MB, redis_part, redis_url
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.servers import metrics
from infra.servers.gateway.server import DEFAULT_BACKLOG, DEFAULT_CONNECTIONS

PROJECT = Path(__file__).parents[2]
DATABASE = "day_trading"
DUMPS = "dumps"
"""The folder of audit logs."""

LEGACY = "legacy"
"""The quote source that is the stack's own quote server."""

GROUPED_WRITES = "128"
"""The gateway's GROUP_COMMIT: larger groups hardly reduce the cost of a write."""

NETWORK = "network"
"""The proxy in front of the replica set's members, which can cut them off."""

TICKER = "ticker"
"""The part that sweeps."""

TRACES = "traces"
"""The part that collects spans, and the folder in which it keeps them."""

TRACED_SHARE = "0.01"

NETWORK_SOCKET = "network.sock"

_HEALTH_SECONDS = 2.0
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class StackOptions:
    """The size and kind of a stack; `infra.local` describes each option."""

    port: int = 8000
    server: str = "gateway"
    servers: int = 1
    balance: str = "user"
    connections: int = DEFAULT_CONNECTIONS
    backlog: int = DEFAULT_BACKLOG
    quote_source: str = "simulated:1"
    quote_delay: str = DEFAULT_DELAY
    quote_fail: float = DEFAULT_FAIL_RATE
    quote_price: str | None = None
    trigger_seconds: int = 0
    replicas: int = 1
    election_ms: int = DEFAULT_ELECTION_MS
    proxied: bool = False
    settable_clocks: bool = False
    linked_code: bool = False
    traces: bool = False
    mongo_cache_gb: float = DEFAULT_CACHE_GB
    mongo_oplog_mb: int = DEFAULT_OPLOG_MB
    redis_memory_mb: int = DEFAULT_MEMORY_MB
    login: bool = False
    login_seconds: int = login_service.DEFAULT_SECONDS


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack's addresses, chosen before its parts start.

    `server_ports` are those of the servers, `mongo_ports` those of the members, `mongo_addresses` the ports by which
    members and clients know them.
    """

    options: StackOptions
    folder: StackFolder
    server_ports: Sequence[int]
    mongo_ports: Sequence[int]
    mongo_addresses: Sequence[int]
    redis_port: int
    quote_port: int | None
    statistics_port: int | None
    traces_port: int | None = None
    login_port: int | None = None

    @property
    def url(self) -> str:
        """The URL of the server, or of HAProxy in front of several."""
        return f"http://{HOST}:{self.options.port}"

    @property
    def statistics_url(self) -> str | None:
        """The URL of HAProxy's statistics page."""
        return None if self.statistics_port is None else f"http://{HOST}:{self.statistics_port}/"

    @property
    def mongo_uri(self) -> str:
        """The address of the replica set."""
        return mongo_uri(self.mongo_addresses)

    @property
    def redis_url(self) -> str:
        """The address of the cache."""
        return redis_url(self.redis_port)

    @property
    def quote_source(self) -> str:
        """The app's QUOTE_SOURCE."""
        return self.options.quote_source if self.quote_port is None else quote_source(self.quote_port)

    @property
    def traces_url(self) -> str | None:
        """The OTLP endpoint whose spans are kept in the folder `TRACES`, or None."""
        return None if self.traces_port is None else f"http://{HOST}:{self.traces_port}"

    @property
    def sweeps_file(self) -> Path:
        """Where the ticker writes its counters."""
        return self.folder.path / "sweeps.prom"

    @property
    def servers(self) -> list[haproxy.ProxiedServer]:
        """The servers, by name and port."""
        names = numbered(self.options.server, self.options.servers)
        return [haproxy.ProxiedServer(name, port) for name, port in zip(names, self.server_ports, strict=True)]


class FolderMismatchError(Exception):
    """The folder has the data of a replica set of another size."""

    def __init__(self, folder: StackFolder, replicas: int) -> None:
        super().__init__(
            f"{folder.path} holds the data of a stack without --replicas {replicas}: use the number of replicas that "
            "it was made with, or another --data"
        )


def numbered(name: str, count: int) -> list[str]:
    """Return the names of `count` parts of a kind: the kind itself if there is one, else NAME-1, NAME-2 and so on."""
    return [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]


def plan(options: StackOptions, folder: StackFolder) -> Stack:
    """Return the stack for `options` in `folder`, on its previous ports if they are free.

    Raises FolderMismatchError.
    """
    members, servers = numbered("mongod", options.replicas), numbered(options.server, options.servers)
    there = {path.name for path in folder.path.glob("mongod*") if path.is_dir() and any(path.iterdir())}
    if there - set(members):
        raise FolderMismatchError(folder, options.replicas)
    mongo_ports = [folder.port_of(name) for name in members]
    several = options.servers > 1
    return Stack(
        options=options,
        folder=folder,
        server_ports=[folder.port_of(name) for name in servers] if several else [options.port],
        mongo_ports=mongo_ports,
        mongo_addresses=[folder.port_of(f"{NETWORK} {name}") for name in members] if options.proxied else mongo_ports,
        redis_port=folder.port_of("redis"),
        quote_port=folder.port_of("quote-server") if options.quote_source == LEGACY else None,
        statistics_port=folder.port_of(haproxy.NAME) if several else None,
        traces_port=folder.port_of(TRACES) if options.traces else None,
        login_port=folder.port_of(login_service.NAME) if options.login else None,
    )


def check_settings(stack: Stack) -> None:
    """Raise SettingError if the app could not use its settings, before anything starts."""
    settings = read_settings(app_environment(stack, stack.options.server))
    make_source(settings.quote_source, now_ms)


def check_programs(stack: Stack) -> Iterator[str]:
    """Yield remarks about the servers' programs; raises BinaryMissingError, before anything starts."""
    for program in (find_mongod(), find_redis_server()):
        yield from program.remarks()
    if stack.statistics_port is not None:
        find_haproxy()


def parts_in_order(stack: Stack) -> Iterator[Part]:
    """Yield the parts, each after those it needs, with its processors; raises BinaryMissingError."""
    rest = _left_by_servers(stack.options)
    serving = {server.name for server in stack.servers}
    for part in _parts(stack):
        yield part if part.name in serving else replace(part, processors=rest)


def _left_by_servers(options: StackOptions) -> list[int]:
    """Return the processors for all parts but the gateway's processes, which have their own; empty: all are shared."""
    # With several members, each does as much work as a single one: they need all processors.
    is_shared_out = options.server == "gateway" and options.replicas == 1
    return left_by(options.servers) if is_shared_out else []


def _parts(stack: Stack) -> Iterator[Part]:
    options, data = stack.options, stack.folder.path
    plain = dict(os.environ)
    (data / DUMPS).mkdir(exist_ok=True)
    stack.sweeps_file.unlink(missing_ok=True)  # of a ticker that this stack may not have
    if stack.traces_port is not None:
        yield _traces_part(stack, stack.traces_port)
    if options.proxied:
        yield _network_part(stack)
    yield from database_parts(stack)
    yield redis_part(data / "redis", stack.redis_port, plain, memory_mb=options.redis_memory_mb)
    if stack.quote_port is not None:
        arguments = ["--delay", options.quote_delay, "--fail", str(options.quote_fail)]
        price = [] if options.quote_price is None else ["--price", options.quote_price]
        yield quote_server_part(stack.quote_port, plain, [*arguments, *price])
    if stack.login_port is not None:
        yield login_service.login_provider_part(stack.login_port, options.port, options.login_seconds, plain)
    for server in stack.servers:
        yield _server_part(stack, server)
    if stack.statistics_port is not None:
        yield haproxy.haproxy_part(data, options.port, stack.statistics_port, stack.servers, options.balance, plain)
    if options.trigger_seconds:
        yield _ticker_part(stack)


def database_parts(stack: Stack) -> Iterator[Part]:
    """Yield the members of the replica set, each to be started when the previous one is ready."""
    options = stack.options
    folders = {name: stack.folder.path / name for name in numbered("mongod", options.replicas)}
    plain = dict(os.environ)
    size: _MongoSize = {"cache_gb": options.mongo_cache_gb, "oplog_mb": options.mongo_oplog_mb}
    if len(folders) == 1 and not options.proxied:
        (folder,) = folders.values()
        arbiter, arbiter_port = stack.folder.path / ARBITER, stack.folder.port_of(ARBITER)
        if not folder.exists():
            shutil.rmtree(arbiter, ignore_errors=True)  # it would remember a set that is gone, and refuse the new one
        yield arbiter_part(arbiter, arbiter_port, plain)
        yield mongod_part(folder, stack.mongo_ports[0], plain, arbiter_port=arbiter_port, **size)
        return
    yield from member_parts(
        folders, stack.mongo_ports, stack.mongo_addresses, plain, election_ms=options.election_ms, **size
    )


class _MongoSize(TypedDict):
    cache_gb: float
    oplog_mb: int


def _network_part(stack: Stack) -> Part:
    command = [
        sys.executable,
        "-m",
        "infra.local.services.tcp_proxy",
        "--socket",
        str(stack.folder.path / NETWORK_SOCKET),
    ]
    pairs = zip(stack.mongo_addresses, stack.mongo_ports, strict=True)
    command += [f"{front}:{back}" for front, back in pairs]
    front = stack.mongo_addresses[0]
    return Part(
        NETWORK,
        command,
        dict(os.environ),
        lambda: None if listens(front) else f"nobody listens on port {front}",
        folder=PROJECT,
    )


def link_code(folder: Path, server_name: str, code: Path) -> None:
    """Let a server of a stack with linked code run the code in another folder from its next start on."""
    links = folder / "code"
    links.mkdir(exist_ok=True)
    fresh = links / f"{server_name}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(code.resolve(), target_is_directory=True)
    fresh.replace(links / server_name)


def _code_of(stack: Stack, server: haproxy.ProxiedServer) -> Path:
    """Return the folder in which a server runs, and so whose code it runs."""
    if not stack.options.linked_code:
        return PROJECT
    link_code(stack.folder.path, server.name, PROJECT)
    return stack.folder.path / "code" / server.name


def clock_file(folder: Path, server_name: str) -> Path:
    """Return the file in which a test sets the offset of a server's clock (`chalicelib.clock.set_offset`)."""
    return folder / "clocks" / server_name


def app_environment(stack: Stack, server_name: str) -> dict[str, str]:
    """Return the environment of a process that runs the app."""
    clock = {OFFSET_FILE: str(clock_file(stack.folder.path, server_name))} if stack.options.settable_clocks else {}
    return {
        **_traces_environment(stack, server_name),
        **os.environ,
        **clock,
        **({} if stack.login_port is None else login_service.app_settings(stack.login_port)),
        "PYTHONUNBUFFERED": "1",
        "MONGO_URI": stack.mongo_uri,
        "MONGO_DATABASE": DATABASE,
        "REDIS_URL": stack.redis_url,
        "QUOTE_SOURCE": stack.quote_source,
        "AUTH_SECRET": stack.folder.secret(),
        "DUMP_PLACE": str(stack.folder.path / DUMPS),
        "TRIGGER_SECONDS": str(stack.options.trigger_seconds),
        metrics.SWEEPS_FILE: str(stack.sweeps_file),
        "SERVER_NAME": server_name,
    }


def _traces_environment(stack: Stack, server_name: str) -> dict[str, str]:
    """Return where spans go and how many: every sweep's, and a share of commands whose client does not decide."""
    if stack.traces_url is None:
        return {}
    sampler = "parentbased_always_on" if server_name == TICKER else "parentbased_traceidratio"
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": stack.traces_url,
        "OTEL_TRACES_SAMPLER": sampler,
        "OTEL_TRACES_SAMPLER_ARG": TRACED_SHARE,
    }


def _traces_part(stack: Stack, port: int) -> Part:
    folder = str(stack.folder.path / TRACES)
    command = [sys.executable, "-m", "infra.traces.collector", "--port", str(port), "--folder", folder]
    return Part(
        TRACES,
        command,
        dict(os.environ),
        lambda: None if listens(port) else f"nobody listens on port {port}",
        folder=PROJECT,
    )


def _server_part(stack: Stack, server: haproxy.ProxiedServer) -> Part:
    """Return a server; one of several is drained in HAProxy before it stops, and put back when it is ready again."""
    options, kind = stack.options, stack.options.server
    command = [
        sys.executable,
        "-m",
        {"gateway": "infra.servers.gateway", "chalice": "infra.servers.chalice_server"}[kind],
    ]
    command += ["--port", str(server.port), "--name", server.name]
    if options.servers > 1:
        command += ["--arrival-header", haproxy.ARRIVAL_HEADER]
    if kind == "gateway":
        command += ["--connections", str(options.connections)]
        command += ["--backlog", str(options.backlog)]
        command += ["--processor", str(stack.servers.index(server))]
    environment = {"GROUP_COMMIT": GROUPED_WRITES, **app_environment(stack, server.name)}
    why_not_ready = partial(why_not_healthy, server.port)
    part = Part(server.name, command, environment, why_not_ready, stop_seconds=20.0, folder=_code_of(stack, server))
    if options.servers == 1:
        return part
    folder = stack.folder.path
    return replace(
        part,
        group=kind,
        why_not_back=lambda: why_not_ready() or haproxy.why_not_taken_back(folder, server.name),
        why_not_left=partial(haproxy.why_not_drained, folder, server.name),
    )


def _ticker_part(stack: Stack) -> Part:
    """Return the ticker; it does not listen, so it is ready at once."""
    command = [sys.executable, "-m", "infra.servers.ticker"]
    # When it is told to stop, a quote and a write in progress still end by their own limits.
    return Part(TICKER, command, app_environment(stack, TICKER), lambda: None, stop_seconds=30.0, folder=PROJECT)


def why_not_healthy(port: int) -> str | None:
    """Return None if GET /health returns 200, else what is wrong."""
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
