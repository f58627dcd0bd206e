"""HAProxy in front of several servers: its configuration, its state, and draining a server."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template

from chalicelib.http.problems import UNCHANGED, UNKNOWN, problem_body
from infra.host.binaries import find_haproxy
from infra.host.ports import HOST, listens
from infra.host.unix_sockets import connect
from infra.local.process import Part

NAME = "haproxy"
ARRIVAL_HEADER = "x-arrival-ms"
"""The time at which a request arrived, in milliseconds since the epoch; servers behind HAProxy trust it."""

BALANCES: Mapping[str, str] = {"user": "uri depth 2", "request": "roundrobin"}
"""By user (`/users/NAME`): a server then has the accounts it needs in memory. By request: each server in turn."""

_TEMPLATE = Path(__file__).with_suffix(".cfg")
_SOCKET = "haproxy.sock"
_ANSWER_SECONDS = 2.0
_BACKENDS = ("servers", "servers_anyway")


@dataclass(frozen=True, slots=True)
class ProxiedServer:
    """A server behind HAProxy."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class SeenServer:
    """A server as HAProxy sees it: its state (such as UP, DOWN, DRAIN), its requests in progress, and its total."""

    state: str
    current: int
    total: int


def haproxy_part(
    folder: Path,
    port: int,
    statistics_port: int,
    servers: Sequence[ProxiedServer],
    balance: str,
    environment: Mapping[str, str],
) -> Part:
    """Return a HAProxy on `port` in front of the servers, ready when one of them is up.

    Its configuration and socket are in `folder`. Raises BinaryMissingError.
    """
    program = find_haproxy()
    file = folder / "haproxy.cfg"
    file.write_text(configuration(port, statistics_port, servers, balance))
    # Relative to its folder, because the address of a Unix socket must be short.
    command = [str(program), "-db", "-f", file.name]
    return Part(
        NAME,
        command,
        environment,
        partial(_why_not_ready, folder, port, servers),
        stop_seconds=20.0,
        folder=folder,
    )


def configuration(port: int, statistics_port: int, servers: Sequence[ProxiedServer], balance: str) -> str:
    """Return the text of HAProxy's configuration."""
    lines = [f"    server {server.name} {HOST}:{server.port} check" for server in servers]
    tracked = [f"    server {server.name} {HOST}:{server.port} track servers/{server.name}" for server in servers]
    return Template(_TEMPLATE.read_text()).substitute(
        socket=_SOCKET,
        host=HOST,
        port=port,
        statistics_port=statistics_port,
        balance=BALANCES[balance],
        arrival_header=ARRIVAL_HEADER,
        servers="\n".join(lines),
        tracked="\n".join(tracked),
        malformed=problem_body("invalid_header", "the request is not well formed"),
        too_late=problem_body("too_late", f"the body did not come in time; {UNCHANGED}"),
        failed=problem_body("internal_error", f"the proxy failed; {UNKNOWN}"),
        bad_gateway=problem_body("bad_gateway", f"the connection to the server was lost; {UNKNOWN}"),
        no_server=problem_body("store_unavailable", f"no server answered; {UNKNOWN}"),
    )


def seen(folder: Path) -> dict[str, SeenServer]:
    """Return the state of each server as the HAProxy in `folder` sees it; raises OSError if it does not answer."""
    rows = csv.DictReader(_ask(folder, "show stat").removeprefix("# ").splitlines())
    found: dict[str, SeenServer] = {}
    for row in rows:
        name = row["svname"]
        if row["pxname"] not in _BACKENDS or name == "BACKEND":
            continue
        before = found.get(name, SeenServer(row["status"], 0, 0))
        found[name] = SeenServer(before.state, before.current + int(row["scur"]), before.total + int(row["stot"]))
    return found


def why_not_drained(folder: Path, name: str) -> str | None:
    """Drain a server; return None once it has no request in progress, else how many."""
    try:
        _set_state(folder, name, "drain")
        current = seen(folder)[name].current
    except OSError:
        return None  # without HAProxy no requests come through it
    return f"{current} requests are under way" if current else None


def why_not_taken_back(folder: Path, name: str) -> str | None:
    """Give a server requests again; return None once HAProxy sees it up."""
    try:
        _set_state(folder, name, "ready")
        state = seen(folder)[name].state
    except OSError:
        return None
    return None if state.startswith("UP") else f"HAProxy finds it {state}"


def _set_state(folder: Path, name: str, state: str) -> None:
    for backend in _BACKENDS:
        _ask(folder, f"set server {backend}/{name} state {state}")


def _ask(folder: Path, command: str) -> str:
    with connect(folder / _SOCKET, _ANSWER_SECONDS) as connection:
        connection.sendall(f"{command}\n".encode())
        with connection.makefile("r") as answer:
            return answer.read()


def _why_not_ready(folder: Path, port: int, servers: Sequence[ProxiedServer]) -> str | None:
    if not listens(port):
        return f"nobody listens on port {port}"
    try:
        states = seen(folder)
    except OSError as error:
        return f"its socket: {error}"
    if any(states[server.name].state.startswith("UP") for server in servers):
        return None
    return f"no server is well: {', '.join(f'{name} {one.state}' for name, one in states.items())}"
