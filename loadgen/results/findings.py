"""Results of a verification: differences, limited in number, and what was verified."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_SHOWN = 200
MAX_SHOWN_PER_USER = 5


@dataclass(slots=True)
class Findings:
    """Differences by user (None: not about a user), and notes on what could not be checked."""

    shown: list[tuple[str | None, str]] = field(default_factory=list)
    counts: Counter[str | None] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    exact_rejections: int = 0
    plausible_rejections: int = 0
    unlogged_prices: int = 0

    def differ(self, user: str | None, message: str) -> None:
        """Record a difference."""
        self.counts[user] += 1
        if len(self.shown) < MAX_SHOWN and self.counts[user] <= MAX_SHOWN_PER_USER:
            self.shown.append((user, message))

    def note(self, message: str) -> None:
        """Record what could not be checked."""
        self.notes.append(message)

    @property
    def total(self) -> int:
        """Return how many differences there are, including those not kept."""
        return self.counts.total()

    def lines(self) -> list[str]:
        """Return the kept differences in words, by user."""
        lines = [f"{user or 'no user'}: {message}" for user, message in sorted(self.shown, key=_by_user)]
        if self.total > len(self.shown):
            lines.append(f"and {self.total - len(self.shown)} more differences")
        return lines


@dataclass(slots=True)
class Verification:
    """The result of a verification."""

    findings: Findings
    accounts: int = 0
    answers: int = 0
    logged: int | None = None
    conservation: str = "conservation was not checked"

    @property
    def passed(self) -> bool:
        """Return whether everything was as it must be."""
        return self.findings.total == 0

    def sentence(self) -> str:
        """Return in one line what was verified, or how much is wrong."""
        found = self.findings
        if not self.passed:
            return f"{found.total:,} differences in {len(found.counts):,} of {self.accounts:,} accounts"
        log = "the audit log was not read"
        if self.logged is not None:
            log = f"each of {self.logged:,} commands is in the audit log once and in order"
        accounts = f"{self.accounts:,} account{'' if self.accounts == 1 else 's'} equal to the cent"
        return f"{accounts}; {self.answers:,} answers as the model predicts; {log}; {self.conservation}"

    def figures(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        found = self.findings
        return {
            "passed": self.passed,
            "accounts": self.accounts,
            "answers": self.answers,
            "logged": self.logged,
            "conservation": self.conservation,
            "exact_rejections": found.exact_rejections,
            "plausible_rejections": found.plausible_rejections,
            "unlogged_prices": found.unlogged_prices,
            "differences": found.total,
            "shown": found.lines(),
            "notes": found.notes,
        }


def _by_user(difference: tuple[str | None, str]) -> str:
    """Return a sort key that puts differences about no user last."""
    return difference[0] or "~"
