"""How late commands were sent in the open model, and why."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from loadgen.results.latencies import Latencies

CAUSES = {
    "server": "a command without a user was running, or a connection was being opened",
    "order": "the same user's previous command had no answer yet",
    "threads": "all threads were waiting for the server (more --threads help)",
    "generator": "the load generator itself was too slow (use --processes, or a separate machine)",
}
"""The causes of lateness. Each moment of a command's lateness has one cause."""

TOLERATED = 0.01
"""The share of commands that a run may miss and still have held its rate; one command always may be missed."""


class Delay(NamedTuple):
    """The time from a command's intended start to its send, in us, by cause."""

    server_us: int = 0
    order_us: int = 0
    threads_us: int = 0
    generator_us: int = 0

    @property
    def total_us(self) -> int:
        """Return how late it was sent."""
        return self.server_us + self.order_us + self.threads_us + self.generator_us


ON_TIME = Delay()


class Lateness:
    """The lateness of a run's commands, and whether the schedule was held.

    `planned` is how many commands were due within `planned_s` seconds; those not sent by then, with some grace, are
    `missed`. `last_late_us` is the lateness of the last one.
    """

    def __init__(self) -> None:
        self.delays = Latencies()
        self.planned = 0
        self.planned_s = 0.0
        self.in_time = 0
        self.last_late_us = 0
        self._causes_us = [0, 0, 0, 0]

    def record(self, delay: Delay, *, in_time: bool) -> None:
        """Count a command that was sent; `in_time` is whether that was before the end of the schedule."""
        total_us = sum(delay)
        self.delays.record(total_us)
        self.last_late_us = total_us
        self.in_time += in_time
        if total_us:
            for index, part_us in enumerate(delay):
                self._causes_us[index] += part_us

    def add(self, other: "Lateness") -> None:
        """Add the counts of another part of the same schedule."""
        self.delays.add(other.delays)
        self.planned += other.planned
        self.planned_s = max(self.planned_s, other.planned_s)
        self.in_time += other.in_time
        self.last_late_us = max(self.last_late_us, other.last_late_us)
        self._causes_us = [mine + theirs for mine, theirs in zip(self._causes_us, other._causes_us, strict=True)]  # noqa: SLF001 (of its own class)

    @property
    def missed(self) -> int:
        """Return how many commands were not sent in time."""
        return max(0, self.planned - self.in_time)

    @property
    def held(self) -> bool:
        """Return whether the requested rate was reached."""
        return self.missed <= max(1.0, TOLERATED * self.planned)

    def figures(self) -> dict[str, Any]:
        """Return a summary as a JSON object."""
        seconds = self.planned_s or 1.0
        return {
            "held": self.held,
            "asked_rate": round(self.planned / seconds, 3),
            "sent_rate": round((self.planned - self.missed) / seconds, 3),
            "planned": self.planned,
            "planned_s": round(self.planned_s, 3),
            "missed": self.missed,
            "last_late_s": self.last_late_us / 1e6,
            "late_ms": self.delays.summary_ms(),
            "late_s_by_cause": {
                cause: round(part_us / 1e6, 3) for cause, part_us in zip(CAUSES, self._causes_us, strict=True)
            },
        }

    def dump(self) -> dict[str, Any]:
        """Return everything as a JSON object that `read` understands."""
        return {
            "delays": self.delays.dump(),
            "planned": self.planned,
            "planned_s": self.planned_s,
            "in_time": self.in_time,
            "last_late_us": self.last_late_us,
            "causes_us": self._causes_us,
        }

    @classmethod
    def read(cls, dumped: Mapping[str, Any]) -> Self:
        """Return what was dumped. Raises KeyError, TypeError and ValueError for invalid input."""
        lateness = cls()
        lateness.delays = Latencies.read(dumped["delays"])
        lateness.planned, lateness.in_time = int(dumped["planned"]), int(dumped["in_time"])
        lateness.last_late_us = int(dumped["last_late_us"])
        lateness.planned_s = float(dumped["planned_s"])
        lateness._causes_us = [int(part_us) for part_us in dumped["causes_us"]]
        return lateness


def missed_rate(schedule: Mapping[str, Any]) -> str:
    """Return in words that a schedule was not held, and why."""
    return (
        f"the rate was not held: {schedule['sent_rate']:,.6g} of {schedule['asked_rate']:,.6g} commands/s were sent, "
        f"{schedule['missed']:,} not in time; late because of {causes(schedule)}"
    )


def causes(figures: Mapping[str, Any]) -> str:
    """Return in words why commands were late, the largest cause first; empty if none was."""
    parts = figures["late_s_by_cause"]
    total = sum(parts.values())
    if not total:
        return ""
    shares = sorted(((part / total, cause) for cause, part in parts.items()), reverse=True)
    return "; ".join(f"{share:.0%} {cause}: {CAUSES[cause]}" for share, cause in shares if share >= 0.005)
