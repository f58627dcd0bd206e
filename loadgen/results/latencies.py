"""Latencies in HDR histograms: three significant digits from 1 us to 1 h in bounded memory, summed exactly."""

from collections.abc import Mapping
from typing import Any, Self

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

MAX_LATENCY_US = 3_600_000_000
_MOST_NEW = 1000
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99)


class Latencies:
    """A histogram of latencies in microseconds."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, MAX_LATENCY_US, 3)
        self._new: dict[int, int] = {}
        """Latencies that are not in the histogram yet, with their counts: equal ones are added together."""
        self._count = self._total_us = self._max_us = 0

    @property
    def count(self) -> int:
        """Return how many latencies were counted."""
        self._put_in()
        return self._count

    def record(self, latency_us: int) -> None:
        """Count one latency; more than an hour counts as an hour."""
        new = self._new
        new[latency_us] = new.get(latency_us, 0) + 1
        if len(new) > _MOST_NEW:
            self._put_in()

    def _put_in(self) -> HdrHistogram:
        """Return the histogram with all latencies in it."""
        for latency_us, times in self._new.items():
            self._histogram.record_value(max(1, min(latency_us, MAX_LATENCY_US)), times)
            self._count += times
            self._total_us += latency_us * times
            self._max_us = max(self._max_us, latency_us)
        self._new.clear()
        return self._histogram

    def add(self, other: "Latencies") -> None:
        """Add the counts of another histogram."""
        self._histogram.add(other._put_in())  # noqa: SLF001 (of its own class)
        self._count += other._count  # noqa: SLF001 (of its own class)
        self._total_us += other._total_us  # noqa: SLF001 (of its own class)
        self._max_us = max(self._max_us, other._max_us)  # noqa: SLF001 (of its own class)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile in milliseconds."""
        value: int = self._put_in().get_value_at_percentile(percent)
        return min(value, self._max_us) / 1000

    def deviation_ms(self) -> float:
        """Return the standard deviation in milliseconds."""
        found: float = self._put_in().get_stddev()
        return found / 1000

    def summary_ms(self) -> dict[str, float]:
        """Return mean, percentiles and maximum in milliseconds, and the count."""
        if not self.count:
            return {"count": 0}
        values = self._put_in().get_percentile_to_value_dict(list(PERCENTILES))
        return {
            "count": self.count,
            "mean": round(self._total_us / self.count / 1000, 3),
            **{f"p{percent:g}": min(values[percent], self._max_us) / 1000 for percent in PERCENTILES},
            "max": self._max_us / 1000,
        }

    def dump(self) -> dict[str, Any]:
        """Return everything as a JSON object that `read` understands."""
        histogram = self._put_in().encode().decode()
        return {"count": self._count, "total_us": self._total_us, "max_us": self._max_us, "histogram": histogram}

    @classmethod
    def read(cls, dumped: Mapping[str, Any]) -> Self:
        """Return latencies that were dumped. Raises KeyError, TypeError and ValueError for invalid input."""
        latencies = cls()
        latencies._histogram.add(HdrHistogram.decode(dumped["histogram"].encode()))
        latencies._count = int(dumped["count"])
        latencies._total_us = int(dumped["total_us"])
        latencies._max_us = int(dumped["max_us"])
        return latencies
