"""What happened when: figures of a run by interval of time, in memory that does not grow with the run.

An interval is a second; when a run outlasts `MAX_INTERVALS` of them, intervals are joined two by two, exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

MAX_INTERVALS = 3600
MAX_LATENCY_US = 3_600_000_000
PERCENTILES = (50.0, 90.0, 99.0)
_DIGITS = 2
"""Significant digits of an interval's latencies: a percentile is right to 1 %."""


class Interval(NamedTuple):
    """What ended in one interval. `histogram` is an encoded HdrHistogram of latencies in us, empty without any."""

    commands: int
    errors: int
    retries: int
    max_us: int
    histogram: bytes

    def joined(self, other: "Interval") -> "Interval":
        """Return this interval and another one as one."""
        histogram = self.histogram or other.histogram
        if self.histogram and other.histogram:
            both = HdrHistogram.decode(self.histogram)
            both.add(HdrHistogram.decode(other.histogram))
            histogram = both.encode()
        return Interval(
            self.commands + other.commands,
            self.errors + other.errors,
            self.retries + other.retries,
            max(self.max_us, other.max_us),
            histogram,
        )

    def latency_ms(self) -> dict[str, float | None]:
        """Return the percentiles and the maximum in milliseconds; None where nothing was answered."""
        names = [f"p{percent:g}" for percent in PERCENTILES]
        if not self.histogram:
            return {**dict.fromkeys(names), "max": None}
        values = HdrHistogram.decode(self.histogram).get_percentile_to_value_dict(list(PERCENTILES))
        most = (min(values[percent], self.max_us) / 1000 for percent in PERCENTILES)
        return {**dict(zip(names, most, strict=True)), "max": self.max_us / 1000}


_NOTHING = Interval(0, 0, 0, 0, b"")


@dataclass(slots=True)
class _Open:
    """The interval that is under way."""

    index: int
    histogram: Any
    commands: int = 0
    errors: int = 0
    retries: int = 0
    max_us: int = 0

    def closed(self) -> Interval:
        encoded = self.histogram.encode() if self.histogram.get_total_count() else b""
        return Interval(self.commands, self.errors, self.retries, self.max_us, encoded)


class Timeline:
    """The intervals of a run, counted from its start. Not for several threads at once."""

    def __init__(self, most: int = MAX_INTERVALS) -> None:
        self.seconds = 1
        self._most = most
        self._intervals: dict[int, Interval] = {}
        self._open = _Open(0, _histogram())

    def record(self, elapsed_s: float, latency_us: int | None, retries: int) -> None:
        """Count a command that ended `elapsed_s` after the start; `latency_us` is None if it got no final answer."""
        index = int(elapsed_s / self.seconds)
        if index != self._open.index:
            index = self._turn(elapsed_s)
        now = self._open
        now.commands += 1
        now.retries += retries
        if latency_us is None:
            now.errors += 1
            return
        now.max_us = max(now.max_us, latency_us)
        now.histogram.record_value(max(1, min(latency_us, MAX_LATENCY_US)))

    def add(self, other: "Timeline", later_s: float = 0.0) -> None:
        """Count what another timeline counted, which began `later_s` after this one."""
        self._close()
        theirs = other._copy()  # noqa: SLF001 (of its own class)
        while self.seconds < theirs.seconds:
            self._widen()
        while theirs.seconds < self.seconds:
            theirs._widen()  # noqa: SLF001 (of its own class)
        shift = round(later_s / self.seconds)
        for index, interval in theirs._intervals.items():  # noqa: SLF001 (of its own class)
            self._put(index + shift, interval)
        self._shrink()

    def rows(self) -> Iterator[tuple[int, Interval]]:
        """Yield every interval with its beginning in seconds from the start, empty ones between them too."""
        self._close()
        for index in range(max(self._intervals, default=-1) + 1):
            yield index * self.seconds, self._intervals.get(index, _NOTHING)

    def figures(self) -> dict[str, Any]:
        """Return the intervals as a JSON object, from which `read` makes a timeline again."""
        rows = [
            {
                "t": start,
                "commands": interval.commands,
                "errors": interval.errors,
                "retries": interval.retries,
                **interval.latency_ms(),
                "histogram": interval.histogram.decode(),
            }
            for start, interval in self.rows()
        ]
        return {"seconds": self.seconds, "rows": rows}

    @classmethod
    def read(cls, figures: Mapping[str, Any]) -> Self:
        """Return the timeline that wrote these figures. Raises KeyError, TypeError and ValueError for other things."""
        timeline = cls()
        timeline.seconds = int(figures["seconds"])
        for row in figures["rows"]:
            top_us = 0 if row["max"] is None else round(row["max"] * 1000)
            encoded = row["histogram"].encode()
            interval = Interval(row["commands"], row["errors"], row["retries"], top_us, encoded)
            if encoded:
                HdrHistogram.decode(encoded)
            timeline._intervals[row["t"] // timeline.seconds] = interval
        return timeline

    def joined(self, most: int) -> "Timeline":
        """Return the same in at most `most` intervals."""
        other = self._copy()
        other._most = most  # noqa: SLF001 (of its own class)
        other._shrink()  # noqa: SLF001 (of its own class)
        return other

    def _copy(self) -> "Timeline":
        self._close()
        other = Timeline(self._most)
        other.seconds = self.seconds
        other._intervals = dict(self._intervals)
        return other

    def _turn(self, elapsed_s: float) -> int:
        """Begin the interval of a moment; return its number."""
        self._close()
        while int(elapsed_s / self.seconds) >= self._most:
            self._widen()
        index = int(elapsed_s / self.seconds)
        self._open = _Open(index, _histogram())
        return index

    def _close(self) -> None:
        if self._open.commands:
            self._put(self._open.index, self._open.closed())
        self._open = _Open(self._open.index, _histogram())

    def _put(self, index: int, interval: Interval) -> None:
        there = self._intervals.get(index)
        self._intervals[index] = interval if there is None else there.joined(interval)

    def _shrink(self) -> None:
        while max(self._intervals, default=0) >= self._most:
            self._widen()

    def _widen(self) -> None:
        """Make the intervals twice as long."""
        before, self._intervals = self._intervals, {}
        self.seconds *= 2
        self._open = _Open(self._open.index // 2, _histogram())
        for index, interval in before.items():
            self._put(index // 2, interval)


def _histogram() -> Any:
    return HdrHistogram(1, MAX_LATENCY_US, _DIGITS)
