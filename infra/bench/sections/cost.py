"""Where the CPU time of a command goes, and the memory of every process, in the replay of the main workload."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.replays import LOADGEN, Setting
from infra.bench.sections.base import Plain

PARTS = (LOADGEN, "gateway", "mongod", "redis")


@dataclass(frozen=True)
class Cost(Plain):
    """CPU time by process."""

    name: str = "cost"
    measures: str = "CPU time a command of each process, in the replay of the main workload"
    seconds: float = 0.1

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Take the figures from the round's replay."""
        replayed = bench.replay(bench.setting())
        return [Measured(f"cpu.{part}", part, replayed.cpu_us[part], "us", LESS) for part in PARTS]


@dataclass(frozen=True)
class MemoryUse(Plain):
    """Memory by process."""

    name: str = "memory"
    measures: str = "resident memory of each process at the end of a replay, and its peak, with few and with most users"
    seconds: float = 0.1

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Take the figures from the round's replays."""
        found = []
        for setting in dict.fromkeys((bench.setting(), Setting(*max(bench.sizes.populations)))):
            for part, memory in bench.replay(setting).memory.items():
                key, who = f"{part}.{setting.users}", f"{part}, {setting.users:,} users"
                found += [
                    Measured(f"resident.{key}", f"{who}: at the end", memory.resident_mb, "MB", LESS),
                    Measured(f"peak.{key}", f"{who}: peak", memory.peak_mb, "MB", LESS),
                ]
        return found
