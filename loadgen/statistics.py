"""What is counted and measured during a replay: outcomes, retries and latencies, by command.

Latencies go into HDR histograms: 3 significant digits from 1 us to 1 h in bounded memory.
"""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from loadgen.delivery import Outcome

MAX_LATENCY_US = 3_600_000_000
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """A histogram of latencies in microseconds."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, MAX_LATENCY_US, 3)
        self.count = 0
        self._total_us = 0

    def record(self, latency_us: int) -> None:
        """Count one latency; beyond an hour counts as an hour."""
        self._histogram.record_value(max(1, min(latency_us, MAX_LATENCY_US)))
        self.count += 1
        self._total_us += latency_us

    def add(self, other: "Latencies") -> None:
        """Count everything that another histogram counted."""
        self._histogram.add(other._histogram)  # noqa: SLF001 (of its own class)
        self.count += other.count
        self._total_us += other._total_us  # noqa: SLF001 (of its own class)

    def summary_ms(self) -> dict[str, float]:
        """Return mean, percentiles and maximum in milliseconds, and the count."""
        if not self.count:
            return {"count": 0}
        values = self._histogram.get_percentile_to_value_dict(list(PERCENTILES))
        return {
            "count": self.count,
            "mean": round(self._total_us / self.count / 1000, 3),
            **{f"p{percent:g}": values[percent] / 1000 for percent in PERCENTILES},
            "max": self._histogram.get_max_value() / 1000,
        }


@dataclass(slots=True)
class CommandStatistics:
    """What was measured of one command.

    `first_try` holds the commands answered at their first try, `retried` those that needed more, from their first
    send on. Commands without a final answer are in neither: they have no latency.
    """

    first_try: Latencies = field(default_factory=Latencies)
    retried: Latencies | None = None
    outcomes: Counter[tuple[int, str]] = field(default_factory=Counter)

    def all_tries(self) -> Latencies:
        """Return the latencies of all commands with a final answer, retries included."""
        if self.retried is None:
            return self.first_try
        merged = Latencies()
        merged.add(self.first_try)
        merged.add(self.retried)
        return merged

    def figures(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        first_try_ms = self.first_try.summary_ms()
        return {
            "commands": self.outcomes.total(),
            "latency_ms": first_try_ms if self.retried is None else self.all_tries().summary_ms(),
            "first_try_ms": first_try_ms,
            "outcomes": {f"{status} {code}": count for (status, code), count in sorted(self.outcomes.items())},
        }


class Statistics:
    """The figures of a run; any thread may record, and read the counters while others record."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.commands: dict[str, CommandStatistics] = {}
        self.retry_reasons: Counter[str] = Counter()
        self.done = 0
        self.errors = 0
        self.retries = 0
        self.reconnects = 0
        self.replayed = 0
        self.started_at_ms = 0
        self._started_ns = self._ended_ns = 0

    def start(self) -> None:
        """Start the clock."""
        self.started_at_ms = time.time_ns() // 1_000_000
        self._started_ns = self._ended_ns = time.perf_counter_ns()

    @property
    def seconds(self) -> float:
        """Return the time from the start to the last outcome."""
        return (self._ended_ns - self._started_ns) / 1e9

    @property
    def answered(self) -> int:
        """Return how many commands have a final answer."""
        return self.done - self.errors

    def record(self, name: str, outcome: Outcome) -> None:
        """Count the outcome of one command."""
        with self._lock:
            command = self.commands.get(name)
            if command is None:
                command = self.commands[name] = CommandStatistics()
            self.done += 1
            self._ended_ns = time.perf_counter_ns()
            command.outcomes[outcome.status, outcome.code] += 1
            if not outcome.final:
                self.errors += 1
            elif outcome.tries == 1:
                command.first_try.record(outcome.latency_us)
            else:
                if command.retried is None:
                    command.retried = Latencies()
                command.retried.record(outcome.latency_us)
            if outcome.tries > 1 or outcome.reconnects or outcome.replayed:
                self._record_trouble(outcome)

    def _record_trouble(self, outcome: Outcome) -> None:
        self.retries += outcome.tries - 1
        self.reconnects += outcome.reconnects
        self.replayed += outcome.replayed
        self.retry_reasons.update(outcome.reasons)

    def figures(self) -> dict[str, Any]:
        """Return everything as a JSON object (docs/loadgen.md)."""
        with self._lock:
            commands = sorted(self.commands.items())
            seconds = self.seconds
            every, first = Latencies(), Latencies()
            outcomes: Counter[str] = Counter()
            by_command: dict[str, Any] = {}
            for name, command in commands:
                every.add(command.all_tries())
                first.add(command.first_try)
                by_command[name] = command.figures()
                outcomes.update(by_command[name]["outcomes"])
            return {
                "commands": self.done,
                "seconds": round(seconds, 3),
                "rate": round(self.answered / seconds, 1) if seconds else 0.0,
                "errors": self.errors,
                "retries": self.retries,
                "reconnects": self.reconnects,
                "replayed": self.replayed,
                "retry_reasons": dict(self.retry_reasons.most_common()),
                "outcomes": dict(outcomes.most_common()),
                "latency_ms": every.summary_ms(),
                "first_try_ms": first.summary_ms(),
                "by_command": by_command,
            }
