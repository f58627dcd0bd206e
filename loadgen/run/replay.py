"""Sending commands: an ordered stream for each user, over a bounded number of threads and connections."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from loadgen.client.connection import ConnectError, Connection
from loadgen.client.encoding import RequestWriter, Target
from loadgen.client.retry import Outcome, RetryingClient, RetryPolicy, parse_object
from loadgen.dialects.trading import Trading
from loadgen.results.answers import AnswerWriter
from loadgen.results.statistics import Statistics
from loadgen.run.scheduler import Timetable, Turns, work_through
from loadgen.workload.files import Command
from loadgen.workload.streams import Stream

DEFAULT_THREADS = 64
_CONNECTING = 32
"""How many connections are opened at a time before a run."""


Client = RetryingClient[Command]

_EXPLANATIONS = ("detail", "message", "Message", "title")
"""Where a problem says more about itself: ours, API Gateway's, and what there is else."""


class ReplayError(Exception):
    """The replay cannot begin, or must not go on; the message is for the user."""


class RefusedError(ReplayError):
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

    @contextmanager
    def clients(
        self, count: int, stopping: threading.Event, on_connect: Callable[[int], None] | None = None
    ) -> Iterator[list[Client]]:
        """Give clients, each with a connection of its own, open already, and close them at the end.

        `on_connect` is told how long each connect took, in us. Raises ReplayError when the server cannot be reached.
        """
        connections = [
            Connection(self.target, self.policy.timeout_s, self.tls, on_connect) for _ in range(max(1, count))
        ]
        dialect = self.dialect()
        try:
            _open(connections)
            yield [RetryingClient(connection, dialect, self.policy, stopping) for connection in connections]
        finally:
            for connection in connections:
                connection.close()

    def dialect(self) -> Trading:
        """Return how commands are sent to this server."""
        return Trading(RequestWriter(self.target, self.token, self.headers), self.target, self.run_id)


def _open(connections: Sequence[Connection]) -> None:
    """Open connections before any clock runs. Raises ReplayError when not even the first one can be opened.

    The others are opened again when they are needed, so a failure is theirs to meet then.
    """

    def try_to(connection: Connection) -> None:
        with suppress(ConnectError):
            connection.prepare()

    try:
        connections[0].prepare()
    except ConnectError as error:
        raise ReplayError(str(error)) from error
    with ThreadPoolExecutor(_CONNECTING, thread_name_prefix="connect") as pool:
        list(pool.map(try_to, connections[1:]))


class Replay:
    """What one process sends of a workload, and what became of it.

    `stopping` ends it early: commands under way get their answers, no other is sent. With a `rate` (commands a second
    of the whole workload) command n is due n / rate seconds after the start; without one commands leave as fast as
    answers come.
    """

    def __init__(
        self,
        size: int,
        server: Server,
        clients: Sequence[Client],
        statistics: Statistics,
        stopping: threading.Event,
        recorder: AnswerWriter | None = None,
        rate: float | None = None,
    ) -> None:
        self.statistics = statistics
        self.answered = bytearray(size)
        """By position in the workload: 1 once a command has its final answer."""
        self._started_ns = 0
        self._rate = rate
        self._clients = clients
        self._stopping = stopping
        self._recorder = recorder
        self._longest_silence_s = 2 * server.policy.give_up_s
        self._trouble: ReplayError | None = None
        self._answered_at = time.monotonic()

    def start(self, at_ns: int | None = None) -> None:
        """Start the clock, at a moment of `time.perf_counter_ns` or now."""
        self._started_ns = time.perf_counter_ns() if at_ns is None else at_ns
        self.statistics.start(self._started_ns)

    def run(self, streams: Sequence[Stream]) -> None:
        """Send all commands of one stage."""
        time.sleep(max(0, self._started_ns - time.perf_counter_ns()) / 1e9)  # one start for all processes
        self._answered_at = time.monotonic()
        if self._rate is None:
            work_through(self._clients, Turns(streams), self._send, self._stopping)
        else:
            work_through(self._clients, Timetable(streams, self._due_ns), self._send_on_time, self._stopping)

    @property
    def stopped(self) -> str | None:
        """Return why the run was ended before its end, other than by the user; None when it was not."""
        return None if self._trouble is None else str(self._trouble)

    def _due_ns(self, item: tuple[int, Command]) -> int:
        assert self._rate is not None
        return self._started_ns + int(item[0] * 1e9 / self._rate)

    def _send_on_time(self, client: Client, item: tuple[int, Command]) -> None:
        self._deliver(client, item, self._due_ns(item))

    def _send(self, client: Client, item: tuple[int, Command]) -> None:
        self._deliver(client, item, None)

    def _deliver(self, client: Client, item: tuple[int, Command], due_ns: int | None) -> None:
        position, command = item
        outcome = client.send(command)
        late_us = None if due_ns is None else max(0, outcome.sent_ns - due_ns) // 1000
        if outcome.final:
            self._answered_at = time.monotonic()
            self.answered[position] = 1
        else:
            self._consider_stopping(outcome)
        self.statistics.record(command.name, outcome, late_us)
        if self._recorder is not None:
            self._recorder.add(command, outcome)
            if self._recorder.trouble is not None:
                self._stop(ReplayError(self._recorder.trouble))

    def _consider_stopping(self, outcome: Outcome) -> None:
        """Stop the run when no later command can do better than this one."""
        if outcome.refused and (outcome.status == 401 or not self.statistics.answered):
            self._stop(RefusedError(f"the server does not accept the token: {explain(outcome)}"))
        elif outcome.redirected and not self.statistics.answered:
            self._stop(ReplayError(f"{explain(outcome)}: give that address as --url"))
        elif time.monotonic() - self._answered_at > self._longest_silence_s:
            self._stop(
                ReplayError(
                    f"no command was answered for {self._longest_silence_s:g} s; "
                    f"the last one ended with: {explain(outcome)}"
                )
            )

    def _stop(self, why: ReplayError) -> None:
        self._trouble = self._trouble or why
        self._stopping.set()


def read_summaries(
    users: Sequence[str], server: Server, clients: Sequence[Client], stopping: threading.Event
) -> dict[str, Outcome]:
    """Return each user's summary as the server answers it; users are missing when `stopping` was set.

    Raises RefusedError at the first summary that the token may not read.
    """
    dialect = server.dialect()
    outcomes: dict[str, Outcome] = {}
    refused: list[Outcome] = []

    def read(client: Client, user: str) -> None:
        outcome = client.read(dialect.summary(user))
        if outcome.refused:
            refused.append(outcome)
            stopping.set()
        outcomes[user] = outcome

    work_through(clients, Turns((user,) for user in users), read, stopping)
    if refused:
        raise RefusedError(f"the server does not accept the token: {explain(refused[0])}")
    return outcomes


def explain(outcome: Outcome) -> str:
    """Return an outcome in words: status, code and what the server said."""
    problem = parse_object(outcome.body) or {}
    said = outcome.said or next((problem[name] for name in _EXPLANATIONS if problem.get(name)), None)
    words = f"{outcome.status} {outcome.code}" if outcome.status else outcome.code
    return f"{words} ({said})" if isinstance(said, str) else words
