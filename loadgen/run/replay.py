"""Sending commands: an ordered stream for each user, over a bounded number of threads and connections."""

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from loadgen.client.connection import ConnectError, Connection
from loadgen.client.encoding import Encoder, Target
from loadgen.client.retry import Courier, Outcome, RetryPolicy, parse_object
from loadgen.results.answers import AnswerWriter
from loadgen.results.statistics import Statistics
from loadgen.run.scheduler import Timetable, Turns, work_through
from loadgen.workload.files import Command
from loadgen.workload.streams import Stream

DEFAULT_THREADS = 64
DUMPLOG_TIMEOUT_S = 300.0
"""The time-out of a DUMPLOG, which reads the whole log."""


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
    def couriers(self, count: int, stopping: threading.Event) -> Iterator[list[Courier]]:
        """Give couriers, each with a connection of its own, and close them at the end.

        Raises ReplayError when the server cannot be reached at all.
        """
        connections = [Connection(self.target, self.policy.timeout_s, self.tls) for _ in range(max(1, count))]
        try:
            connections[0].open()
        except ConnectError as error:
            raise ReplayError(str(error)) from error
        try:
            yield [Courier(connection, self.policy, stopping) for connection in connections]
        finally:
            for connection in connections:
                connection.close()

    def encoder(self) -> Encoder:
        """Return the writer of requests for this server."""
        return Encoder(self.target, self.token, self.run_id, self.headers)


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
        couriers: Sequence[Courier],
        stopping: threading.Event,
        recorder: AnswerWriter | None = None,
        rate: float | None = None,
    ) -> None:
        self.statistics = Statistics()
        self.settled = bytearray(size)
        """By position in the workload: 1 once a command is answered, or was given up while the run went on."""
        self._started_ns = 0
        self._rate = rate
        self._encoder = server.encoder()
        self._couriers = couriers
        self._stopping = stopping
        self._recorder = recorder
        self._patience_s = 2 * server.policy.give_up_s
        self._trouble: ReplayError | None = None
        self._answered_at = time.monotonic()

    def start(self, at_ns: int | None = None) -> None:
        """Start the clock, at a moment of `time.perf_counter_ns` or now."""
        self._started_ns = time.perf_counter_ns() if at_ns is None else at_ns
        self.statistics.start(self._started_ns)

    def run(self, streams: Sequence[Stream]) -> None:
        """Send all commands of one stage."""
        self._answered_at = time.monotonic()
        if self._rate is None:
            work_through(self._couriers, Turns(streams), self._send, self._stopping)
        else:
            work_through(self._couriers, Timetable(streams, self._due_ns), self._send_on_time, self._stopping)

    @property
    def stopped(self) -> str | None:
        """Return why the run was ended before its end, other than by the user; None when it was not."""
        return None if self._trouble is None else str(self._trouble)

    def _due_ns(self, item: tuple[int, Command]) -> int:
        assert self._rate is not None
        return self._started_ns + int(item[0] * 1e9 / self._rate)

    def _send_on_time(self, courier: Courier, item: tuple[int, Command]) -> None:
        self._send(courier, item, max(0, time.perf_counter_ns() - self._due_ns(item)) // 1000)

    def _send(self, courier: Courier, item: tuple[int, Command], late_us: int | None = None) -> None:
        position, command = item
        timeout_s = DUMPLOG_TIMEOUT_S if command.name == "DUMPLOG" else None
        outcome = courier.deliver(self._encoder.command(command), timeout_s)
        if outcome.final:
            self._answered_at = time.monotonic()
            self.settled[position] = 1
        else:
            self.settled[position] = not self._stopping.is_set()
            self._consider_stopping(outcome)
        self.statistics.record(command.name, outcome, late_us)
        if self._recorder is not None:
            self._recorder.add(command, outcome)

    def _consider_stopping(self, outcome: Outcome) -> None:
        """Stop the run when no later command can do better than this one."""
        if outcome.refused and (outcome.status == 401 or not self.statistics.answered):
            self._trouble = RefusedError(f"the server does not accept the token: {explain(outcome)}")
        elif time.monotonic() - self._answered_at > self._patience_s:
            self._trouble = ReplayError(
                f"no command was answered for {self._patience_s:g} s; the last one ended with: {explain(outcome)}"
            )
        if self._trouble is not None:
            self._stopping.set()


def read_summaries(
    users: Sequence[str], server: Server, couriers: Sequence[Courier], stopping: threading.Event
) -> dict[str, Outcome]:
    """Return each user's summary as the server answers it; users are missing when `stopping` was set.

    Raises RefusedError at the first summary that the token may not read.
    """
    encoder = server.encoder()
    outcomes: dict[str, Outcome] = {}
    refused: list[Outcome] = []

    def read(courier: Courier, user: str) -> None:
        outcome = courier.deliver(encoder.summary(user))
        if outcome.refused:
            refused.append(outcome)
            stopping.set()
        outcomes[user] = outcome

    work_through(couriers, Turns((user,) for user in users), read, stopping)
    if refused:
        raise RefusedError(f"the server does not accept the token: {explain(refused[0])}")
    return outcomes


def explain(outcome: Outcome) -> str:
    """Return an outcome in words: status, code and what the server said."""
    problem = parse_object(outcome.body) or {}
    said = problem.get("detail") or problem.get("message") or problem.get("Message") or problem.get("title")
    words = f"{outcome.status} {outcome.code}" if outcome.status else outcome.code
    return f"{words} ({said})" if isinstance(said, str) else words
