"""What each write concern costs: the price of durability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chalicelib.config.settings import WRITE_CONCERNS
from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.sections.base import Plain


@dataclass(frozen=True)
class Durability(Plain):
    """The same replay with each WRITE_CONCERN."""

    name: str = "durability"
    measures: str = "the same replay with each WRITE_CONCERN"
    seconds: float = 26.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay with each write concern."""
        found = []
        for concern in WRITE_CONCERNS:
            replayed = bench.replay(replace(bench.setting(), write_concern=concern))
            found += [
                Measured(f"rate.{concern}", f"{concern}: rate", replayed.rate, "/s", MORE),
                Measured(f"p50.{concern}", f"{concern}: p50", replayed.latency_ms["p50"], "ms", LESS),
                Measured(f"p99.{concern}", f"{concern}: p99", replayed.latency_ms["p99"], "ms", LESS),
            ]
        return found
