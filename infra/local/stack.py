"""What a stack consists of: its options, and the addresses that are chosen before its parts start."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.host.ports import HOST
from infra.local.folder import StackFolder
from infra.local.services import haproxy
from infra.local.services import login as login_service
from infra.local.services.mongo import (
    DEFAULT_CACHE_GB,
    DEFAULT_ELECTION_MS,
    DEFAULT_OPLOG_MB,
    mongo_uri,
)
from infra.local.services.quote_server import quote_source
from infra.local.services.redis_server import DEFAULT_MEMORY_MB, redis_url
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.servers.gateway.server import DEFAULT_BACKLOG, DEFAULT_CONNECTIONS

PROJECT = Path(__file__).parents[2]
DATABASE = "day_trading"
DUMPS = "dumps"
"""The folder of audit logs."""

LEGACY = "legacy"
"""The quote source that is the stack's own quote server."""

NETWORK = "network"
"""The proxy in front of the replica set's members, which can cut them off."""

TICKER = "ticker"
"""The part that sweeps."""

TRACES = "traces"
"""The part that collects spans, and the folder in which it keeps them."""

NETWORK_SOCKET = "network.sock"


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
