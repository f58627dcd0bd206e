"""A tiny exchange in memory, with an audit log, for tests of the load generator.

It executes commands with the load generator's own model: the tests check that the verification notices answers,
accounts and a log that do not agree. Whether the model itself is right is tested rule by rule in test_model.py, and by
verified replays against the real system.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from loadgen.verify.model import Account, RejectedError
from loadgen.verify.rules import PRICED, apply
from loadgen.workload.amounts import MONEY_FIELDS, spell, spell_number
from loadgen.workload.commands import has_money
from loadgen.workload.files import Command
from loadgen.workload.syntax import form_problems, spell_symbol

LIFETIME_MS = 60_000
Json = dict[str, Any]


@dataclass
class LogEntry:
    """One event of the audit log, which a test may change."""

    kind: str
    fields: dict[str, str]


@dataclass
class Exchange:
    """The accounts, their prices and the audit log. `clock_ms` may be moved ahead by a test."""

    price: Callable[[str], int] = lambda _symbol: 1000
    ahead_ms: int = 0
    accounts: dict[str, Account] = field(default_factory=lambda: defaultdict(Account))
    history: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    """The entries of each journal; the real system's entries have no command."""
    log: list[LogEntry] = field(default_factory=list)
    outcomes: dict[tuple[str | None, str], tuple[int, Json]] = field(default_factory=dict)
    executions: int = 0
    logs_quotes: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: int = 10**15

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def execute(self, command: Command, key: str | None) -> tuple[int, Json, bool]:
        """Return status, body and whether it is a repeated outcome."""
        with self._lock:
            if key is not None and (command.user, key) in self.outcomes:
                return *self.outcomes[command.user, key], True
            if not command.transaction:
                self._numbers += 1
                command = command._replace(transaction=self._numbers)
            outcome = self._execute(command)
            if key is not None:
                self.outcomes[command.user, key] = outcome
            return *outcome, False

    def _execute(self, command: Command) -> tuple[int, Json]:
        problems = form_problems(command)
        now = self.now_ms()
        if problems:
            return 400, self._refuse(command, now, problems)
        self.executions += 1
        if command.user is None:
            self.note("userCommand", now, command.transaction, command="DUMPLOG", filename=command.value or "")
            return 200, {"transaction": command.transaction, "command": "DUMPLOG", "location": "", "events": 0}
        account = self.accounts[command.user]
        self._expire(command.user, account, now)
        before = account.cash
        price = self.price(command.symbol.upper()) if command.symbol and _needs_quote(command) else None
        self._note_command("userCommand", now, command)
        if price is not None and self.logs_quotes:
            quote = {"price": spell(price), "stockSymbol": (command.symbol or "").upper(), "cryptokey": "k"}
            self.note("quoteServer", now, command.transaction, username=command.user, **quote)
        try:
            fields = apply(account, command, price, now + LIFETIME_MS)
        except RejectedError as error:
            self._note_command("errorEvent", now, command, errorMessage=error.code)
            self._remember(command, now, error.code)
            return 409, {"code": error.code, "status": 409}
        self._note_cash(now, command.transaction, command.user, account.cash - before)
        body = {"transaction": command.transaction, "command": command.name, "user": command.user, **fields}
        if command.name in PRICED:
            body["expires_at"] = now + LIFETIME_MS
        if command.name == "QUOTE":
            body.update(price=price, timestamp=now, cryptokey="k", cached=False)
        if command.name == "DUMPLOG":
            body.update(location="", events=0)
        if command.name == "DISPLAY_SUMMARY":
            body.update(summary(account), history=self._past_commands(command.user))
        self._remember(command, now, "ok")
        return 200, on_the_wire(body)

    def read_account(self, user: str) -> Json:
        """Return an account; this is not a command."""
        with self._lock:
            account = self.accounts[user] if user in self.accounts else Account()
            version = len(self.history[user])
            body = {"user": user, "exists": version > 0, "version": version, "cash": account.cash, **summary(account)}
            return on_the_wire(body)  # type: ignore[no-any-return]

    def read_history(self, user: str, before: int, limit: int) -> Json:
        """Return the latest entries of a journal before a sequence number."""
        with self._lock:
            return {"entries": self.history[user][: before - 1][::-1][:limit], "next": None}

    def fire(self, user: str, command: str, symbol: str, quote: int) -> None:
        """Execute a trigger, as the system does on its own."""
        with self._lock:
            account = self.accounts[user]
            triggers = account.buy_triggers if command == "SET_BUY_TRIGGER" else account.sell_triggers
            number = triggers[symbol].transaction or 0
            before, now = account.cash, self.now_ms()
            account.fire(command, number, symbol, quote)
            fields = {"command": command, "username": user, "stockSymbol": symbol, "funds": spell(quote)}
            self.note("systemEvent", now, number, **fields)
            self._note_cash(now, number, user, account.cash - before)
            entry = {"transaction": number, "timestamp": now, "command": None, "outcome": "ok"}
            self.history[user].append(entry)

    def note(self, kind: str, now: int, transaction: int, **fields: str) -> None:
        head = {"timestamp": str(now), "server": "stub", "transactionNum": str(transaction)}
        self.log.append(LogEntry(kind, {**head, **fields}))

    def log_xml(self) -> str:
        """Return the audit log."""
        with self._lock:
            events = "".join(_event_xml(entry) for entry in self.log)
        return f'<?xml version="1.0"?>\n<log>\n{events}</log>\n'

    def _expire(self, user: str, account: Account, now: int) -> None:
        for command, order in account.pending():
            if order.expires_at is not None and now > order.expires_at:
                account.give_back(command, order)
                fields = {
                    "command": command,
                    "username": user,
                    "stockSymbol": order.symbol,
                    "funds": spell(order.value),
                }
                self.note("systemEvent", now, order.transaction or 0, **fields)
                if command == "BUY":
                    self._note_cash(now, order.transaction or 0, user, order.value)

    def _note_cash(self, now: int, transaction: int, user: str, moved: int) -> None:
        if moved:
            action = "add" if moved > 0 else "remove"
            self.note("accountTransaction", now, transaction, action=action, username=user, funds=spell(abs(moved)))

    def _refuse(self, command: Command, now: int, problems: set[str]) -> Json:
        code = min(problems)
        if "invalid_user" not in problems:
            if command.user is not None:
                self._expire(command.user, self.accounts[command.user], now)
                self._remember(command, now, code)
            self._note_command("userCommand", now, command)
            self._note_command("errorEvent", now, command, errorMessage=code)
        return {"code": code, "status": 400}

    def _past_commands(self, user: str) -> list[Json]:
        return [entry for entry in self.history[user] if entry["command"] is not None][-20:][::-1]

    def _note_command(self, kind: str, now: int, command: Command, **more: str) -> None:
        fields = {"command": command.name}
        if command.user is not None:
            fields["username"] = command.user
        if (symbol := spell_symbol(command.symbol)) is not None:
            fields["stockSymbol"] = symbol
        if has_money(command.name) and (funds := spell_number(command.value)) is not None:
            fields["funds"] = funds
        if command.name == "DUMPLOG":
            fields["filename"] = command.value or ""
        self.note(kind, now, command.transaction, **fields, **more)

    def _remember(self, command: Command, now: int, outcome: str) -> None:
        self.history[command.user or ""].append(
            {"transaction": command.transaction, "timestamp": now, "command": command.name, "outcome": outcome}
        )


def summary(account: Account) -> Json:
    """Return an account as a summary shows it, money in cents."""
    return {
        "holdings": dict(account.holdings),
        "pending_buys": [_order(order, "cost") for order in account.pending_buys],
        "pending_sells": [_order(order, "proceeds") for order in account.pending_sells],
        "buy_triggers": [
            {"symbol": symbol, "amount": trigger.amount, "price": trigger.price}
            for symbol, trigger in account.buy_triggers.items()
        ],
        "sell_triggers": [
            {"symbol": symbol, "amount": trigger.amount, "price": trigger.price, "shares": trigger.shares}
            for symbol, trigger in account.sell_triggers.items()
        ],
    }


def on_the_wire(value: Any, name: str = "") -> Any:
    """Return an answer with its money as strings."""
    if isinstance(value, dict):
        return {key: on_the_wire(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [on_the_wire(inner) for inner in value]
    return spell(value) if name in MONEY_FIELDS and isinstance(value, int) else value


def _order(order: Any, value: str) -> Json:
    return {
        "symbol": order.symbol,
        "shares": order.shares,
        "price": order.price,
        value: order.value,
        "expires_at": order.expires_at,
    }


def _needs_quote(command: Command) -> bool:
    return command.name in PRICED or command.name == "QUOTE"


def _event_xml(entry: LogEntry) -> str:
    children = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in entry.fields.items())
    return f"  <{entry.kind}>{children}</{entry.kind}>\n"
