"""Replays of generated workloads with few and with many users, each verified."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.replays import Setting
from infra.bench.sections.base import Plain


@dataclass(frozen=True)
class Replays(Plain):
    """A verified replay for each number of users."""

    name: str = "replay"
    measures: str = "verified replays of generated workloads, as fast as answers come, one gateway worker"
    seconds: float = 55.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay each workload on its own stack, in reverse order in every second round.

        So a machine that becomes slower or faster affects all of them.
        """
        found = []
        in_order = bench.sizes.populations
        for users, commands in in_order if bench.round % 2 else reversed(in_order):
            replayed = bench.replay(Setting(users, commands))
            who = f"{users:,} users"
            found += [
                Measured(f"rate.{users}", f"{who}: rate", replayed.rate, "/s", MORE),
                Measured(f"p50.{users}", f"{who}: p50", replayed.latency_ms["p50"], "ms", LESS),
                Measured(f"p99.{users}", f"{who}: p99", replayed.latency_ms["p99"], "ms", LESS),
                Measured(f"others.{users}", f"{who}: other work of the machine", replayed.others, "cores"),
            ]
        return found
