"""Latency by command at half the top rate, in the open model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.sections.base import Plain

PERCENTILES = ("p50", "p99")


@dataclass(frozen=True)
class Latency(Plain):
    """The workload on schedule, at half the best rate of the round's replays."""

    name: str = "latency"
    measures: str = "latency by command at half the top rate, on schedule: from when a command should have left"
    seconds: float = 16.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay on schedule."""
        rate = bench.top_rate() / 2
        replayed = bench.replay(replace(bench.setting(), rate=rate))
        found = [Measured("rate", "commands sent", rate, "/s")]
        for name, latency_ms in (("all", replayed.latency_ms), *replayed.by_command.items()):
            found += [
                Measured(f"{percentile}.{name}", f"{name}: {percentile}", latency_ms[percentile], "ms", LESS)
                for percentile in PERCENTILES
            ]
        return found
