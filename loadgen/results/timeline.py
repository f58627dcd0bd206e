"""Figures of a run over time, by interval, in bounded memory.

Outcomes count when they came, latencies when their commands were due (or sent, in the closed model): so a stall is
shown where it began and not where it ended.

An interval is a second; if a run has more than `MAX_INTERVALS`, neighbouring intervals are merged, exactly. Merging
happens during the run and must be fast, so an interval's histogram is a small dictionary with the buckets of an HDR
histogram of two digits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

MAX_INTERVALS = 3600
PERCENTILES = (50.0, 90.0, 99.0)
_NAMES = tuple(f"p{percent:g}" for percent in PERCENTILES)
_PRECISION_BITS = 7
"""A bucket is a 128th of the power of two below it: percentiles are accurate to 1 %."""


def bucket(latency_us: int) -> int:
    """Return the largest latency in the bucket of a latency."""
    shift = max(0, latency_us.bit_length() - _PRECISION_BITS - 1)
    return (latency_us >> shift << shift) + (1 << shift) - 1


@dataclass(slots=True)
class Interval:
    """One interval.

    `commands` ended in it, `errors` of them without a final answer; `sent` were sent in it. `due` were due in it (open
    model), the latest of them `late_us` late; the latencies, by bucket in us, are of those.
    """

    commands: int = 0
    errors: int = 0
    retries: int = 0
    sent: int = 0
    due: int = 0
    late_us: int = 0
    max_us: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Interval") -> None:
        """Add the counts of another interval."""
        self.commands += other.commands
        self.errors += other.errors
        self.retries += other.retries
        self.sent += other.sent
        self.due += other.due
        self.late_us = max(self.late_us, other.late_us)
        self.max_us = max(self.max_us, other.max_us)
        for value, count in other.latencies.items():
            self.latencies[value] = self.latencies.get(value, 0) + count

    def latency_ms(self) -> dict[str, float | None]:
        """Return the percentiles and the maximum in milliseconds; None if nothing was answered."""
        found: dict[str, float | None] = {**dict.fromkeys(_NAMES), "max": None}
        if not self.latencies:
            return found
        found["max"] = self.max_us / 1000
        total, passed = sum(self.latencies.values()), 0
        wanted = [(name, total * percent / 100) for name, percent in zip(_NAMES, PERCENTILES, strict=True)]
        for value in sorted(self.latencies):
            passed += self.latencies[value]
            while wanted and passed >= wanted[0][1]:
                found[wanted.pop(0)[0]] = min(value, self.max_us) / 1000
        return found


class Timeline:
    """The intervals of a run, counted from its start. Not thread-safe."""

    def __init__(self, most: int = MAX_INTERVALS) -> None:
        self.seconds = 1
        self._most = most
        self._intervals: dict[int, Interval] = {}

    def record(
        self, ended_s: float, sent_s: float, latency_us: int | None, retries: int, late_us: int | None = None
    ) -> None:
        """Count a command, ended and sent at these times after the start.

        `latency_us` is None without a final answer, `late_us` None if the command was not scheduled.
        """
        intervals, length = self._intervals, self.seconds
        ended = intervals.get(int(ended_s / length)) or self._begin(ended_s)
        ended.commands += 1
        ended.retries += retries
        begun = sent = intervals.get(int(sent_s / length)) or self._begin(sent_s)
        sent.sent += 1
        if late_us is not None:
            due_s = max(0.0, sent_s - late_us / 1e6)
            begun = self._intervals.get(int(due_s / self.seconds)) or self._begin(due_s)
            begun.due += 1
            begun.late_us = max(begun.late_us, late_us)
        if latency_us is None:
            ended.errors += 1
            return
        begun.max_us = max(begun.max_us, latency_us)
        value = bucket(latency_us)
        begun.latencies[value] = begun.latencies.get(value, 0) + 1

    def add(self, other: "Timeline", later_s: float = 0.0) -> None:
        """Add another timeline, which began `later_s` after this one."""
        theirs = other.joined(self._most)
        while self.seconds < theirs.seconds:
            self._widen()
        while theirs.seconds < self.seconds:
            theirs._widen()  # noqa: SLF001 (of its own class)
        shift = round(later_s / self.seconds)
        for index, interval in theirs._intervals.items():  # noqa: SLF001 (of its own class)
            self._put(index + shift, interval)
        self._shrink()

    def rows(self) -> Iterator[tuple[int, Interval]]:
        """Yield every interval with its beginning in seconds from the start, including empty ones."""
        for index in range(max(self._intervals, default=-1) + 1):
            yield index * self.seconds, self._intervals.get(index) or Interval()

    def recent(self, now_s: float, seconds: float = 5.0) -> Interval:
        """Return the last seconds before a time after the start, as one interval."""
        last = int(max(0.0, now_s) / self.seconds)
        recent = Interval()
        for index in range(max(0, last - max(1, int(seconds / self.seconds)) + 1), last + 1):
            if (interval := self._intervals.get(index)) is not None:
                recent.add(interval)
        return recent

    def figures(self) -> dict[str, Any]:
        """Return the intervals as a JSON object that `read` understands."""
        rows = [
            {
                "t": start,
                "commands": interval.commands,
                "errors": interval.errors,
                "retries": interval.retries,
                "sent": interval.sent,
                "due": interval.due,
                "late_max": interval.late_us / 1000,
                **interval.latency_ms(),
                "latencies_us": " ".join(f"{value}:{count}" for value, count in sorted(interval.latencies.items())),
            }
            for start, interval in self.rows()
        ]
        return {"seconds": self.seconds, "rows": rows}

    @classmethod
    def read(cls, figures: Mapping[str, Any]) -> Self:
        """Return the timeline with these figures. Raises KeyError, TypeError and ValueError for invalid input."""
        timeline = cls()
        timeline.seconds = int(figures["seconds"])
        for row in figures["rows"]:
            pairs = (pair.split(":") for pair in row["latencies_us"].split())
            latencies = {int(value): int(count) for value, count in pairs}
            top_us = 0 if row["max"] is None else round(row["max"] * 1000)
            interval = Interval(
                row["commands"],
                row["errors"],
                row["retries"],
                row["sent"],
                row["due"],
                round(row["late_max"] * 1000),
                top_us,
                latencies,
            )
            timeline._put(row["t"] // timeline.seconds, interval)
        return timeline

    def joined(self, most: int) -> "Timeline":
        """Return the timeline merged to at most `most` intervals."""
        other = Timeline(most)
        other.seconds = self.seconds
        for index, interval in self._intervals.items():
            other._put(index, interval)
        other._shrink()
        return other

    def _begin(self, elapsed_s: float) -> Interval:
        while int(elapsed_s / self.seconds) >= self._most:
            self._widen()
        return self._intervals.setdefault(int(elapsed_s / self.seconds), Interval())

    def _put(self, index: int, interval: Interval) -> None:
        self._intervals.setdefault(index, Interval()).add(interval)

    def _shrink(self) -> None:
        while max(self._intervals, default=0) >= self._most:
            self._widen()

    def _widen(self) -> None:
        """Double the length of the intervals."""
        before, self._intervals = self._intervals, {}
        self.seconds *= 2
        for index, interval in before.items():
            self._put(index // 2, interval)
