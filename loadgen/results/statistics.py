"""What a replay counts and measures: outcomes, retries and latencies, by command and by second.

Statistics can be saved in full and summed exactly, over processes and over machines.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from loadgen.client.retry import Outcome
from loadgen.results.latencies import Latencies
from loadgen.results.lateness import Delay, Lateness
from loadgen.results.timeline import Interval, Timeline
from loadgen.results.traced import TracedCommands

MAX_EXAMPLES = 20
"""Of how many outcomes without a final answer an example is kept."""

_EXAMPLE_CHARACTERS = 600

_KINDS = ("first_try", "retried", "corrected")


@dataclass(slots=True)
class CommandStatistics:
    """The statistics of one command.

    `first_try` has the latencies of commands answered at their first try, `retried` of those that needed more, from
    their first send on; `corrected` of all, from the time when they were due (open model only). Commands without a
    final answer are in none: they have no latency.
    """

    first_try: Latencies = field(default_factory=Latencies)
    retried: Latencies | None = None
    corrected: Latencies | None = None
    outcomes: Counter[tuple[int, str]] = field(default_factory=Counter)
    errors: int = 0

    def record(self, outcome: Outcome, late_us: int | None) -> None:
        """Count a command; `late_us` is how long after it was due it was sent, None if it was not scheduled."""
        self.outcomes[outcome.status, outcome.code] += 1
        if not outcome.final:
            self.errors += 1
            return
        if outcome.tries == 1:
            self.first_try.record(outcome.latency_us)
        else:
            if self.retried is None:
                self.retried = Latencies()
            self.retried.record(outcome.latency_us)
        if late_us is not None:
            if self.corrected is None:
                self.corrected = Latencies()
            self.corrected.record(late_us + outcome.latency_us)

    def add(self, other: "CommandStatistics") -> None:
        """Add the counts of other statistics."""
        self.outcomes.update(other.outcomes)
        self.errors += other.errors
        for kind in _KINDS:
            theirs: Latencies | None = getattr(other, kind)
            if theirs is not None:
                mine: Latencies = getattr(self, kind) or Latencies()
                mine.add(theirs)
                setattr(self, kind, mine)

    def all_tries(self) -> Latencies:
        """Return the latencies of all commands with a final answer, retries included."""
        if self.retried is None:
            return self.first_try
        merged = Latencies()
        merged.add(self.first_try)
        merged.add(self.retried)
        return merged

    def figures(self) -> dict[str, Any]:
        """Return a summary as a JSON object."""
        first_try_ms = self.first_try.summary_ms()
        return {
            "commands": self.outcomes.total(),
            "errors": self.errors,
            "latency_ms": first_try_ms if self.retried is None else self.all_tries().summary_ms(),
            "first_try_ms": first_try_ms,
            "corrected_ms": None if self.corrected is None else self.corrected.summary_ms(),
            "outcomes": {f"{status} {code}": count for (status, code), count in sorted(self.outcomes.items())},
        }

    def dump(self) -> dict[str, Any]:
        """Return the histograms in a form that `read` understands."""
        kinds = {kind: getattr(self, kind) for kind in _KINDS}
        return {kind: latencies.dump() for kind, latencies in kinds.items() if latencies is not None}

    @classmethod
    def read(cls, dumped: Mapping[str, Any], figures: Mapping[str, Any]) -> Self:
        """Return what was dumped. Raises KeyError, TypeError and ValueError for invalid input."""
        command = cls(errors=int(figures["errors"]))
        for kind in _KINDS:
            if kind in dumped:
                setattr(command, kind, Latencies.read(dumped[kind]))
        for outcome, count in figures["outcomes"].items():
            status, _, code = outcome.partition(" ")
            command.outcomes[int(status), code] = int(count)
        return command


class Live(NamedTuple):
    """The progress of a run; `recent` covers the last seconds."""

    done: int
    errors: int
    retries: int
    reasons: Counter[str]
    recent: Interval

    def plus(self, other: "Live") -> "Live":
        """Return the sum of both."""
        recent = Interval()
        recent.add(self.recent)
        recent.add(other.recent)
        return Live(
            self.done + other.done,
            self.errors + other.errors,
            self.retries + other.retries,
            self.reasons + other.reasons,
            recent,
        )


class Statistics:
    """The figures of a run; thread-safe.

    The clock starts at `start`; commands sent before that, in the warm-up, are counted separately and are in no figure.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self._lock = threading.Lock()
        self.commands: dict[str, CommandStatistics] = {}
        self.timeline = Timeline()
        self.lateness = Lateness() if is_open else None
        self.retry_reasons: Counter[str] = Counter()
        self.examples: dict[str, dict[str, Any]] = {}
        self.traced = TracedCommands()
        self._error_codes: Counter[str] = Counter()
        self.done = 0
        self.errors = 0
        self.retries = 0
        self.reconnects = 0
        self.replayed = 0
        self.warm_up_commands = 0
        self.warm_up_errors = 0
        self.connect = Latencies()
        self.started_at_ms = 0
        self._started_ns = self._ended_ns = 0

    def start(self, at_ns: int | None = None) -> None:
        """Start the clock, now or at a moment of `time.perf_counter_ns`."""
        now_ns = time.perf_counter_ns()
        self._started_ns = self._ended_ns = now_ns if at_ns is None else at_ns
        self.started_at_ms = (time.time_ns() - (now_ns - self._started_ns)) // 1_000_000

    @property
    def seconds(self) -> float:
        """Return the time from the start to the last outcome."""
        return (self._ended_ns - self._started_ns) / 1e9

    @property
    def answered(self) -> int:
        """Return how many commands have a final answer, including those of the warm-up."""
        return self.done - self.errors + self.warm_up_commands - self.warm_up_errors

    def record(
        self,
        name: str,
        outcome: Outcome,
        delay: Delay | None = None,
        *,
        in_time: bool = True,
        transaction: int | None = None,
    ) -> None:
        """Count the outcome of a command, which the open model sent `delay` after it was due.

        Latency over time is corrected latency if there is one, and counts when the command was due or sent.
        """
        late_us = None if delay is None else delay.total_us
        with self._lock:
            now_ns = time.perf_counter_ns()
            since_start_ns = outcome.sent_ns - self._started_ns
            if since_start_ns < 1000 * (late_us or 0):
                self._record_warm_up(outcome, transaction)
                return
            command = self.commands.get(name)
            if command is None:
                command = self.commands[name] = CommandStatistics()
            self.done += 1
            self._ended_ns = now_ns
            command.record(outcome, late_us)
            if not outcome.final:
                self.errors += 1
                self._keep_example(outcome, name, transaction)
            if outcome.tries > 1 or outcome.reconnects or outcome.replayed:
                self._record_trouble(outcome)
            if outcome.trace:
                self.traced.record(name, outcome, transaction)
            latency_us = outcome.latency_us + (late_us or 0) if outcome.final else None
            self.timeline.record(
                (now_ns - self._started_ns) / 1e9, since_start_ns / 1e9, latency_us, outcome.tries - 1, late_us
            )
            if delay is not None and self.lateness is not None:
                self.lateness.record(delay, in_time=in_time)

    def live(self) -> Live:
        """Return the progress of the run, including the warm-up."""
        with self._lock:
            elapsed_s = (time.perf_counter_ns() - self._started_ns) / 1e9
            return Live(
                self.done + self.warm_up_commands,
                self.errors + self.warm_up_errors,
                self.retries,
                self.retry_reasons + self._error_codes,
                self.timeline.recent(elapsed_s),
            )

    def record_connect(self, took_us: int) -> None:
        """Count a connection that was opened, and how long that took."""
        with self._lock:
            self.connect.record(took_us)

    def _record_warm_up(self, outcome: Outcome, transaction: int | None) -> None:
        self.warm_up_commands += 1
        if not outcome.final:
            self.warm_up_errors += 1
            self._keep_example(outcome, "warm-up", transaction)

    def _record_trouble(self, outcome: Outcome) -> None:
        self.retries += outcome.tries - 1
        self.reconnects += outcome.reconnects
        self.replayed += outcome.replayed
        self.retry_reasons.update(outcome.reasons)

    def _keep_example(self, outcome: Outcome, name: str, transaction: int | None) -> None:
        key = f"{outcome.status} {outcome.code}"
        self._error_codes[outcome.code] += 1
        if key not in self.examples and len(self.examples) < MAX_EXAMPLES:
            body = outcome.body.decode(errors="replace")[:_EXAMPLE_CHARACTERS]
            self.examples[key] = {"command": name, "transaction": transaction, "said": outcome.said, "body": body}

    def add(self, other: "Statistics") -> None:
        """Add other statistics, of the same time or another."""
        if not other.started_at_ms:
            return
        if not self.started_at_ms:
            self._started_ns, self._ended_ns, self.started_at_ms = 0, 0, other.started_at_ms
        later_ns = (other.started_at_ms - self.started_at_ms) * 1_000_000
        if later_ns < 0:
            raise ValueError("what is added began earlier")
        for name, command in other.commands.items():
            self.commands.setdefault(name, CommandStatistics()).add(command)
        self.timeline.add(other.timeline, later_ns / 1e9)
        if other.lateness is not None:
            self.lateness = self.lateness or Lateness()
            self.lateness.add(other.lateness)
        self.retry_reasons.update(other.retry_reasons)
        self.examples = dict([*other.examples.items(), *self.examples.items()][-MAX_EXAMPLES:])
        self.connect.add(other.connect)
        self.traced.add(other.traced)
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        ended_ns = later_ns + round(other.seconds * 1e9)
        self._ended_ns = max(self._ended_ns, self._started_ns + ended_ns)

    def every(self) -> tuple[Latencies, Latencies, Latencies]:
        """Return the latencies of all commands: of all tries, of those answered at their first try, corrected."""
        every, first, corrected = Latencies(), Latencies(), Latencies()
        for command in self.commands.values():
            every.add(command.all_tries())
            first.add(command.first_try)
            if command.corrected is not None:
                corrected.add(command.corrected)
        return every, first, corrected

    def figures(self) -> dict[str, Any]:
        """Return everything as a JSON object (docs/loadgen.md) that `read` understands."""
        with self._lock:
            every, first, corrected = self.every()
            outcomes: Counter[str] = Counter()
            by_command = {name: command.figures() for name, command in sorted(self.commands.items())}
            for command in by_command.values():
                outcomes.update(command["outcomes"])
            seconds = self.seconds
            return {
                "commands": self.done,
                "seconds": round(seconds, 3),
                "rate": round((self.done - self.errors) / seconds, 1) if seconds else 0.0,
                "errors": self.errors,
                "retries": self.retries,
                "reconnects": self.reconnects,
                "replayed": self.replayed,
                "warm_up_commands": self.warm_up_commands,
                "warm_up_errors": self.warm_up_errors,
                "retry_reasons": dict(self.retry_reasons.most_common()),
                "outcomes": dict(outcomes.most_common()),
                "examples": self.examples,
                "traces": self.traced.figures(),
                "schedule": None if self.lateness is None else self.lateness.figures(),
                "latency_ms": every.summary_ms(),
                "corrected_ms": corrected.summary_ms() if corrected.count else None,
                "first_try_ms": first.summary_ms(),
                "connect_ms": self.connect.summary_ms(),
                "by_command": by_command,
                "intervals": self.timeline.figures(),
                "histograms": {
                    "commands": {name: command.dump() for name, command in sorted(self.commands.items())},
                    "connect": self.connect.dump(),
                    "lateness": None if self.lateness is None else self.lateness.dump(),
                },
            }

    @classmethod
    def read(cls, figures: Mapping[str, Any], started_at_ms: int) -> Self:
        """Return the statistics with these figures. Raises KeyError, TypeError and ValueError for invalid input."""
        statistics = cls()
        statistics.started_at_ms = started_at_ms
        statistics._ended_ns = round(figures["seconds"] * 1e9)
        statistics.done = int(figures["commands"])
        for name in _COUNTS[1:]:
            setattr(statistics, name, int(figures[name]))
        statistics.retry_reasons.update(figures["retry_reasons"])
        statistics.examples = dict(figures["examples"])
        statistics.traced = TracedCommands.read(figures.get("traces"))
        histograms = figures["histograms"]
        for name, dumped in histograms["commands"].items():
            statistics.commands[name] = CommandStatistics.read(dumped, figures["by_command"][name])
        statistics.connect = Latencies.read(histograms["connect"])
        if histograms["lateness"] is not None:
            statistics.lateness = Lateness.read(histograms["lateness"])
        statistics.timeline = Timeline.read(figures["intervals"])
        return statistics


_COUNTS = ("done", "errors", "retries", "reconnects", "replayed", "warm_up_commands", "warm_up_errors")
