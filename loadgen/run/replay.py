"""Sends commands: an ordered stream for each user, over a bounded number of threads and connections."""

import math
import threading
import time
from collections.abc import Sequence

from loadgen.client.retry import Outcome
from loadgen.results.answers import AnswerWriter
from loadgen.results.lateness import ON_TIME, Delay
from loadgen.results.statistics import Statistics
from loadgen.run.affinity import ProcessorUse
from loadgen.run.pacing import AS_FAST_AS_ANSWERS_COME, Pacing
from loadgen.run.scheduler import DueQueue, RoundRobin, Turn, work_through
from loadgen.run.server import Client, ReplayError, Server, TokenRefusedError, explain
from loadgen.workload.files import Command
from loadgen.workload.streams import Stream

DEFAULT_THREADS = 64


class Replay:
    """What one process sends of a workload, and the results.

    `stopping` ends it early: commands in flight get their answers, no further ones are sent. `pacing` says when
    commands are due and when the run is over.
    """

    def __init__(
        self,
        size: int,
        server: Server,
        clients: Sequence[Client],
        statistics: Statistics,
        stopping: threading.Event,
        recorder: AnswerWriter | None = None,
        pacing: Pacing = AS_FAST_AS_ANSWERS_COME,
    ) -> None:
        self.statistics = statistics
        self.answered = bytearray(size)
        """By position in the workload: 1 once the command has its final answer."""
        self._started_ns = 0
        self._pacing = pacing
        self._clients = clients
        self._stopping = stopping
        self._recorder = recorder
        self._longest_silence_s = 2 * server.policy.give_up_s
        self._trouble: ReplayError | None = None
        self._unheard_timeout_s = max(server.policy.timeout_s, self._longest_silence_s)
        self._went_unanswered = False
        self._answered_at = self._idle_since = time.monotonic()
        self._processor = ProcessorUse()

    def start(self, at_ns: int | None = None) -> None:
        """Start the clock, now or at a moment of `time.perf_counter_ns`."""
        self._started_ns = time.perf_counter_ns() if at_ns is None else at_ns
        self.statistics.start(self._started_ns + self._pacing.warm_up_ns)

    def run(self, streams: Sequence[Stream]) -> None:
        """Send all commands of one stage, as far as time allows."""
        time.sleep(max(0, self._started_ns - time.perf_counter_ns()) / 1e9)  # all processes start at the same time
        self._answered_at += time.monotonic() - self._idle_since  # others' stages are no silence of the server
        self._work_through(streams)
        self._idle_since = time.monotonic()

    def _work_through(self, streams: Sequence[Stream]) -> None:
        schedule, ends_ns = self._pacing.schedule, self._pacing.ends_ns(self._started_ns)
        if schedule is None:
            work_through(self._clients, RoundRobin(streams, ends_ns), self._send, self._stopping)
            return

        def due_ns(item: tuple[int, Command]) -> int:
            return self._started_ns + schedule.due_ns(*item)

        work_through(self._clients, DueQueue(streams, due_ns, ends_ns), self._send, self._stopping)

    @property
    def is_over(self) -> bool:
        """Return whether the time of the run is over."""
        return time.perf_counter_ns() >= self._pacing.ends_ns(self._started_ns)

    @property
    def stopped(self) -> str | None:
        """Return why the run ended early, other than by the user; None if it did not."""
        return None if self._trouble is None else str(self._trouble)

    def _send(self, client: Client, turn: Turn[tuple[int, Command]]) -> None:
        position, command = turn.item
        is_unheard = self._went_unanswered and not self.statistics.answered  # nothing says that it is alive
        outcome = client.send(command, self._unheard_timeout_s if is_unheard else math.inf)
        if outcome.final:
            self._answered_at = time.monotonic()
            self.answered[position] = 1
        else:
            self._consider_stopping(outcome)
        delay, in_time = None, True
        if self._pacing.schedule is not None:
            delay = self._delay(turn, outcome)
            in_time = outcome.sent_ns <= self._started_ns + self._pacing.in_time_ns
        self.statistics.record(command.name, outcome, delay, in_time=in_time, transaction=command.transaction)
        if self._recorder is not None:
            self._recorder.add(command, outcome)
            if self._recorder.trouble is not None:
                self._stop(ReplayError(self._recorder.trouble))

    def _delay(self, turn: Turn[tuple[int, Command]], outcome: Outcome) -> Delay:
        """Return how late a command was sent, and what it waited for: its stream, a thread, us, a connection."""
        if outcome.sent_ns <= turn.due_ns:
            return ON_TIME
        ready_ns = max(turn.due_ns, turn.ready_ns)
        free_ns = max(ready_ns, turn.free_ns)
        stream_us, thread_us = (ready_ns - turn.due_ns) // 1000, (free_ns - ready_ns) // 1000
        rest_us = max(0, (outcome.sent_ns - turn.due_ns) // 1000 - stream_us - thread_us)
        connect_us = min(outcome.connect_us, rest_us)
        own_us = rest_us - connect_us
        if self._processor.is_saturated():  # what seems to wait for the server waits for the processor
            return Delay(generator_us=stream_us + thread_us + rest_us)
        if turn.first:
            return Delay(stream_us + connect_us, 0, thread_us, own_us)
        return Delay(connect_us, stream_us, thread_us, own_us)

    def _consider_stopping(self, outcome: Outcome) -> None:
        """Stop the run if no later command can do better than this one."""
        silence_s = time.monotonic() - self._answered_at
        self._went_unanswered = self._went_unanswered or not outcome.status
        if outcome.refused and (outcome.status == 401 or not self.statistics.answered):
            self._stop(TokenRefusedError(f"the server does not accept the token: {explain(outcome)}"))
        elif outcome.redirected and not self.statistics.answered:
            self._stop(ReplayError(f"{explain(outcome)}: give that address as --url"))
        elif silence_s > self._longest_silence_s:
            ended = f"the last one ended with: {explain(outcome)}"
            self._stop(ReplayError(f"no command was answered for {silence_s:.1f} s; {ended}"))

    def _stop(self, why: ReplayError) -> None:
        self._trouble = self._trouble or why
        self._stopping.set()
