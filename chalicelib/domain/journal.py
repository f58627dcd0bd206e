"""What is remembered of a command: its entry in the user's journal, with the events it caused.

An entry is written in the same atomic write as the change it describes. The audit log of SPEC.md section 6 is the
entries of all users, spelled out (`chalicelib/audit/events.py`).
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
    """A pending order ran out and was given back: its cost as cash (BUY) or its shares (SELL).

    `order` is its number. Entries of older builds have neither it nor `shares` and `price_cents`.
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
    """A trigger ran at the price `price_cents`; `transaction` is that of the command which set it.

    `shares` were bought or sold; entries of older builds do not say how many.
    """

    command: CommandName
    transaction: int
    symbol: str
    price_cents: int
    shares: int | None = None


@dataclass(frozen=True, slots=True)
class QuoteHit:
    """The quote source was asked and answered.

    `transaction` is the number it stands under when that is not its entry's: of the trigger that it was asked for.
    """

    quote: Quote
    transaction: int | None = None


Event = CashMoved | OrderExpired | TriggerFired | QuoteHit


HISTORY_LENGTH = 20
"""How many of the latest commands are shown (API.md)."""


@dataclass(frozen=True, slots=True)
class PastCommand:
    """What a summary shows of a command: no more of it need be at hand."""

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
    `ok` or the code of the rejection or refusal, `message` then says why. `cash_cents` is the cash after it. `result`
    is what the answer adds for this command, kept so that a repeated request gets the first outcome; keys in `_cents`
    are money. `funds` is what a refused command gave as its amount or price, where that is a number to record.
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
        """Return the entry in its place in time: a journal is in the order of its times, whatever the servers' clocks.

        Decisions are made by the clock alone (SPEC.md section 1).
        """
        return self if self.timestamp_ms >= last_ms else replace(self, timestamp_ms=last_ms)

    @property
    def past(self) -> "PastCommand | None":
        """Return the entry as a line of the history, None for an action of the system."""
        if self.command is None:
            return None
        return PastCommand(
            self.transaction, self.timestamp_ms, self.command, self.symbol, self.amount_cents, self.outcome
        )

    @property
    def origin(self) -> Origin:
        """Return whether a user's command or the system caused the entry."""
        return Origin.SYSTEM if self.command is None else Origin.USER
