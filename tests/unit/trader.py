"""A trader whose commands are decided one after another, without a server: helper of the tests of the rules."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from chalicelib.domain.account import Account
from chalicelib.domain.commands import PRICED, Command, CommandName
from chalicelib.domain.decide import DEFAULT_LIMITS, decide
from chalicelib.domain.journal import CashMoved, Entry, OrderExpired
from chalicelib.domain.limits import AccountLimits
from chalicelib.domain.money import parse_cents
from chalicelib.domain.quote import Quote, QuoteAnswer


@dataclass
class Trader:
    """Gives commands as text (`trader.does("BUY", "ABC", "100.00")`) and remembers the entries."""

    account: Account = field(default_factory=lambda: Account("jane"))
    entries: list[Entry] = field(default_factory=list)
    now_ms: int = 1_000_000
    price: str = "10.00"
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    limits: AccountLimits = DEFAULT_LIMITS

    def does(self, name: str, symbol: str | None = None, amount: str | None = None, order: int | None = None) -> Entry:
        """Decide a command now, at the current price."""
        command = Command(
            name=CommandName(name),
            user=self.account.user,
            transaction=next(self.numbers),
            symbol=symbol,
            amount_cents=None if amount is None else parse_cents(amount),
            filename="log.xml" if name == "DUMPLOG" else None,
            order=order,
        )
        quote = None
        if command.name in PRICED:
            quote = QuoteAnswer(Quote(symbol or "", parse_cents(self.price), "jane", self.now_ms, "key"), cached=True)
        history = [past for entry in reversed(self.entries) if (past := entry.past) is not None]
        decision = decide(self.account, command, quote, self.now_ms, len(self.entries) + 1, history, self.limits)
        self.account = decision.account
        self.entries.append(decision.entry)
        return decision.entry

    def waits(self, milliseconds: int) -> "Trader":
        """Let time pass."""
        self.now_ms += milliseconds
        return self

    def logged_cash(self) -> int:
        """Return the cash according to the journal: adds minus removes."""
        return sum(cash_moved(entry) for entry in self.entries)

    def result(self) -> dict[str, Any]:
        """Return what the latest answer added."""
        return dict(self.entries[-1].result)


def cash_moved(entry: Entry) -> int:
    """Return what an entry's events add to the cash, in cents."""
    moved = 0
    for event in entry.events:
        match event:
            case CashMoved("add", cents):
                moved += cents
            case CashMoved("remove", cents):
                moved -= cents
            case OrderExpired(CommandName.BUY, value_cents=cents):
                moved += cents
            case _:
                pass
    return moved
