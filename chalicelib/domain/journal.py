"""The record of a command: its entry in the user's journal, with the events it caused.

An entry is written atomically with the change it describes. The audit log of docs/rules.md section 6 is the entries of
all users, written out (`chalicelib/audit/events.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from chalicelib.domain.commands import CommandName
from chalicelib.domain.quote import Quote

OK = "ok"
"""The outcome of a command that was not rejected."""


class Origin(StrEnum):
    """Who caused an entry."""

    USER = "user"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class CashMoved:
    """Cash was added or removed; `cents` is the amount moved, greater than 0."""

    action: Literal["add", "remove"]
    cents: int


@dataclass(frozen=True, slots=True)
class OrderExpired:
    """A pending order expired and was released: its cost as cash (BUY) or its shares (SELL).

    `order` is its number. Entries of older builds lack it, `shares` and `price_cents`.
    """

    command: CommandName
    transaction: int
    symbol: str
    value_cents: int
    order: int | None = None
    shares: int | None = None
    price_cents: int | None = None


@dataclass(frozen=True, slots=True)
class TriggerFired:
    """A trigger fired at the price `price_cents`. `transaction` is that of the command that set it.

    `shares` were bought or sold; entries of older builds lack it.
    """

    command: CommandName
    transaction: int
    symbol: str
    price_cents: int
    shares: int | None = None


@dataclass(frozen=True, slots=True)
class QuoteHit:
    """The quote source was asked and answered.

    `transaction` is set if it differs from the entry's: the number of the trigger the quote was for.
    """

    quote: Quote
    transaction: int | None = None


Event = CashMoved | OrderExpired | TriggerFired | QuoteHit


HISTORY_LENGTH = 20
"""How many of the latest commands a summary shows (docs/rules.md section 3)."""


@dataclass(frozen=True, slots=True)
class PastCommand:
    """A command, as a summary shows it."""

    transaction: int
    timestamp_ms: int
    command: CommandName
    symbol: str | None
    amount_cents: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One command, or one action of the system, in a user's journal.

    `command` is None for an action of the system. `order` is the order that a COMMIT_* or CANCEL_* named. `outcome` is
    `ok` or the code of the rejection or refusal, which `message` explains. `cash_cents` is the cash afterwards.
    `result` is what the answer adds for this command, kept so that a repeated request gets the first outcome; keys in
    `_cents` are money. `funds` is the amount or price of a refused command, if it is a number that can be recorded.
    """

    transaction: int
    timestamp_ms: int
    command: CommandName | None
    symbol: str | None
    amount_cents: int | None
    filename: str | None
    of_all: bool
    key: str | None
    outcome: str
    message: str | None
    cash_cents: int
    events: tuple[Event, ...]
    result: Mapping[str, Any]
    order: int | None = None
    funds: str | None = None

    def no_earlier_than(self, last_ms: int) -> "Entry":
        """Return the entry with a time not before `last_ms`: a journal is in order of time, whatever clocks say.

        Decisions use the clock only (docs/rules.md section 1).
        """
        return self if self.timestamp_ms >= last_ms else replace(self, timestamp_ms=last_ms)

    @property
    def past(self) -> "PastCommand | None":
        """Return the entry as a line of the history, or None for an action of the system."""
        if self.command is None:
            return None
        return PastCommand(
            self.transaction, self.timestamp_ms, self.command, self.symbol, self.amount_cents, self.outcome
        )

    @property
    def origin(self) -> Origin:
        """Return who caused the entry: a user's command, or the system."""
        return Origin.SYSTEM if self.command is None else Origin.USER
