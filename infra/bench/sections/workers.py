"""Commands a second over the number of the gateway's worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from infra.bench.context import Bench
from infra.bench.figures import MORE, Measured
from infra.bench.sections.base import Plain


@dataclass(frozen=True)
class Workers(Plain):
    """The same replay by more worker processes."""

    name: str = "workers"
    measures: str = "the same replay by one and by more worker processes of the gateway"
    seconds: float = 24.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay with each number of workers."""
        return [
            Measured(
                f"rate.{workers}",
                f"{workers} worker{'s' * (workers > 1)}: rate",
                bench.replay(replace(bench.setting(), workers=workers)).rate,
                "/s",
                MORE,
            )
            for workers in bench.sizes.workers
        ]
