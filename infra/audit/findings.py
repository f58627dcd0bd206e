"""The findings of a check: counted by rule, the first of each rule shown."""

from collections import Counter
from dataclasses import dataclass, field

SHOWN_OF_A_RULE = 10


@dataclass(slots=True)
class AuditFindings:
    """Findings, limited in number. `where` is the number of an event, counted from 1, or a user."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)

    def add(self, rule: str, where: str, what: str) -> None:
        """Record that a rule is broken."""
        self.counts[rule] += 1
        if self.counts[rule] <= SHOWN_OF_A_RULE:
            self.shown.append(f"{rule}: {where}: {what}")

    def lines(self) -> list[str]:
        """Return the findings, one per line."""
        more = [
            f"{rule}: {count - SHOWN_OF_A_RULE} more"
            for rule, count in sorted(self.counts.items())
            if count > SHOWN_OF_A_RULE
        ]
        return [*self.shown, *more]

    def __len__(self) -> int:
        """Return how many there are."""
        return self.counts.total()
