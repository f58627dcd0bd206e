"""The parts of a stack, and what each is told about the others."""

import http.client
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict

from chalicelib.clock import OFFSET_FILE, now_ms
from chalicelib.config.settings import read_settings
from chalicelib.quotes.sources import make_source
from infra.host.affinity import left_by
from infra.host.binaries import find_haproxy, find_mongod, find_redis_server
from infra.host.ports import HOST, listens
from infra.local.process import Part
from infra.local.services import haproxy
from infra.local.services import login as login_service
from infra.local.services.mongo import (
    ARBITER,
    arbiter_part,
    member_parts,
    mongod_part,
)
from infra.local.services.quote_server import quote_server_part
from infra.local.services.redis_server import redis_part
from infra.local.stack import (
    DATABASE,
    DUMPS,
    NETWORK,
    NETWORK_SOCKET,
    PROJECT,
    TICKER,
    TRACES,
    Stack,
    StackOptions,
    numbered,
)
from infra.servers import metrics

GROUPED_WRITES = "128"
"""The gateway's GROUP_COMMIT: larger groups hardly reduce the cost of a write."""

TRACED_SHARE = "0.01"

_HEALTH_SECONDS = 2.0
_SHOWN_CHARACTERS = 200


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
    return _listening_part(NETWORK, command, front)


def _listening_part(name: str, command: list[str], port: int) -> Part:
    """Return a part that is ready once it listens on a port."""

    def why_not_ready() -> str | None:
        return None if listens(port) else f"nobody listens on port {port}"

    return Part(name, command, dict(os.environ), why_not_ready, folder=PROJECT)


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
    return _listening_part(TRACES, command, port)


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
