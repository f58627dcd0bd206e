"""The server under test: how to talk to it, and what its answers say."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

from loadgen.client.connection import ClientConnection
from loadgen.client.dialect import Dialect
from loadgen.client.encoding import RequestWriter, Target
from loadgen.client.response import ConnectError, ExchangeError
from loadgen.client.retry import CommandTracer, Outcome, RetryingClient, RetryPolicy, parse_object
from loadgen.dialects.http import Http
from loadgen.dialects.trading import TradingDialect
from loadgen.workload.files import Command

_CONNECTING = 32
"""How many connections are opened at a time before a run."""

_VERSION_TIMEOUT_S = 5.0

Client = RetryingClient[Command]

_EXPLANATIONS = ("detail", "message", "Message", "title")
"""Where a problem explains itself: ours, API Gateway's, and others."""


class ReplayError(Exception):
    """The replay cannot begin or must not continue; the message is for the user."""


class TokenRefusedError(ReplayError):
    """The server does not accept the token."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server and how to talk to it."""

    target: Target
    token: str
    run_id: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    tls: ssl.SSLContext | None = None
    headers: tuple[tuple[str, str], ...] = ()
    speaks_trading: bool = True
    """Whether trading commands are sent; otherwise arbitrary requests (`loadgen.workload.http_lines`)."""

    trace_share: float = 0.0
    """The share of commands whose traces are kept."""

    @contextmanager
    def clients(
        self, count: int, stopping: threading.Event, on_connect: Callable[[int], None] | None = None
    ) -> Iterator[list[Client]]:
        """Yield clients, each with its own open connection, and close them at the end.

        `on_connect` is called with the duration of each connect in us. Raises ReplayError if the server cannot be
        reached.
        """
        connections = [
            ClientConnection(self.target, self.policy.timeout_s, self.tls, on_connect) for _ in range(max(1, count))
        ]
        dialect = self.dialect()
        try:
            _open(connections)
            with self._tracer() as tracer:
                yield [RetryingClient(connection, dialect, self.policy, stopping, tracer) for connection in connections]
        finally:
            for connection in connections:
                connection.close()

    @contextmanager
    def _tracer(self) -> Iterator[CommandTracer | None]:
        if not self.trace_share:
            yield None
            return
        from loadgen.client.tracing import tracing  # noqa: PLC0415 - it brings OpenTelemetry, which is an extra

        with tracing(self.trace_share) as tracer:
            yield tracer

    def dialect(self) -> Dialect[Command]:
        """Return how the workload's lines are sent to this server."""
        if self.speaks_trading:
            return self.trading()
        http = Http(RequestWriter(self.target, self.token, self.headers), self.target, self.run_id)
        return cast("Dialect[Command]", http)  # its workload has calls instead of commands (`http_lines.parse`)

    def trading(self) -> TradingDialect:
        """Return how trading commands are sent to this server."""
        return TradingDialect(RequestWriter(self.target, self.token, self.headers), self.target, self.run_id)


def _open(connections: Sequence[ClientConnection]) -> None:
    """Open connections before any clock runs. Raises ReplayError if not even the first can be opened.

    The others are reopened when they are needed, and fail then.
    """

    def try_to(connection: ClientConnection) -> None:
        with suppress(ConnectError):
            connection.prepare()

    try:
        connections[0].prepare()
    except ConnectError as error:
        raise ReplayError(str(error)) from error
    with ThreadPoolExecutor(_CONNECTING, thread_name_prefix="connect") as pool:
        list(pool.map(try_to, connections[1:]))


def explain(outcome: Outcome) -> str:
    """Return an outcome in words: status, code and the server's explanation."""
    problem = parse_object(outcome.body) or {}
    said = outcome.said or next((problem[name] for name in _EXPLANATIONS if problem.get(name)), None)
    words = f"{outcome.status} {outcome.code}" if outcome.status else outcome.code
    return f"{words} ({said})" if isinstance(said, str) else words


def version_of(server: Server) -> str | None:
    """Return the version in the system's OpenAPI document, or None if it cannot be read at once."""
    connection = ClientConnection(server.target, _VERSION_TIMEOUT_S, server.tls)
    try:
        response = connection.exchange(RequestWriter(server.target, server.token, server.headers).get("/openapi.json"))
    except ExchangeError:
        return None
    finally:
        connection.close()
    info = (parse_object(response.body) or {}).get("info")
    version = info.get("version") if response.status == 200 and isinstance(info, dict) else None
    return version if isinstance(version, str) else None
