"""The traces worth looking at first: those of the slowest commands, and of those that failed."""

from collections.abc import Mapping
from typing import Any, Self

from loadgen.client.retry import Outcome

MOST_NAMED = 10
"""The most traces of each kind."""


class TracedCommands:
    """How many commands have a kept trace, and the traces of some of them."""

    def __init__(self) -> None:
        self.count = 0
        self.slowest: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []

    def record(self, name: str, outcome: Outcome, transaction: int | None) -> None:
        """Count a command with a trace."""
        self.count += 1
        told = {
            "trace": outcome.trace,
            "command": name,
            "transaction": transaction,
            "latency_ms": round(outcome.latency_us / 1000, 3),
        }
        if not outcome.final:
            self.failed = [*self.failed, {**told, "outcome": f"{outcome.status} {outcome.code}"}][:MOST_NAMED]
        elif len(self.slowest) < MOST_NAMED or told["latency_ms"] > self.slowest[-1]["latency_ms"]:
            self.slowest = _slowest([*self.slowest, told])

    def add(self, other: "TracedCommands") -> None:
        """Add the counts of other traces."""
        self.count += other.count
        self.slowest = _slowest([*self.slowest, *other.slowest])
        self.failed = [*self.failed, *other.failed][:MOST_NAMED]

    def figures(self) -> dict[str, Any] | None:
        """Return everything as a JSON object, or None if no command has a trace."""
        return {"commands": self.count, "slowest": self.slowest, "failed": self.failed} if self.count else None

    @classmethod
    def read(cls, figures: Mapping[str, Any] | None) -> Self:
        """Return the traces with these figures. Raises KeyError, TypeError and ValueError for invalid input."""
        traced = cls()
        if figures is not None:
            traced.count = int(figures["commands"])
            traced.slowest, traced.failed = list(figures["slowest"]), list(figures["failed"])
        return traced


def _slowest(commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(commands, key=lambda one: -float(one["latency_ms"]))[:MOST_NAMED]
