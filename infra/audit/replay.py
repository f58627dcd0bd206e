"""The rules between the events of a log (docs/audit.md), checked in one pass.

Memory grows with the users, not with the events: it holds each user's cash, pending buys and active triggers, and the
commands of one moment.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.audit.findings import AuditFindings
from infra.audit.logfile import LogfileEvent

KINDS = ("userCommand", "quoteServer", "accountTransaction", "systemEvent", "errorEvent", "debugEvent")
AHEAD_MS = 60_000
"""How far the clock of the server that wrote the log may be ahead of ours."""

_MOMENT_EVENTS = 1_000_000

Pending = list[tuple[str, int]]


@dataclass(slots=True)
class _Command:
    """A userCommand whose outcome is not known yet, and the cash it moved."""

    number: int
    name: str
    transaction: str
    symbol: str
    added: int = 0
    removed: int = 0


@dataclass(slots=True)
class LogReplay:
    """The accounts according to the log, after the events processed so far."""

    findings: AuditFindings
    now_ms: int
    kinds: Counter[str] = field(default_factory=Counter)
    cash: dict[str, int] = field(default_factory=dict)
    pending: dict[str, Pending] = field(default_factory=dict)
    active: dict[str, set[str]] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0
    _causes: set[tuple[str, str]] = field(default_factory=set)
    _given: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _open: dict[str, _Command] = field(default_factory=dict)

    def take(self, event: LogfileEvent) -> None:
        """Check the next event of a log; unreadable fields are skipped: the schema is checked elsewhere."""
        self.kinds[event.kind] += 1
        at = _whole(event.fields.get("timestamp"))
        if at is not None:
            self._advance(event, at)
        user = event.fields.get("username", "")
        if user and event.kind != "quoteServer":
            self.cash.setdefault(user, 0)
        match event.kind:
            case "userCommand":
                self._user_command(event, user)
            case "systemEvent":
                self._system_event(event, user)
            case "accountTransaction":
                self._account_transaction(event, user)
            case "errorEvent":
                self._error_event(event, user)

    def end(self) -> None:
        """Settle what the last events left open."""
        for user in list(self._open):
            self._settle(user)

    def committed(self, user: str) -> int:
        """Return the cents in the pending buys of a user."""
        return sum(cost for _, cost in self.pending.get(user, ()))

    def _advance(self, event: LogfileEvent, at: int) -> None:
        if at < self.last_ms:
            self._found("time", event, f"{at} comes after {self.last_ms}")
        if at > self.now_ms + AHEAD_MS:
            self._found("time", event, f"{at} is in the future")
        self.first_ms = self.first_ms or at
        if at != self.last_ms or len(self._given) > _MOMENT_EVENTS:
            self.end()
            self._causes.clear()
            self._given.clear()
        self.last_ms = max(at, self.last_ms)

    def _user_command(self, event: LogfileEvent, user: str) -> None:
        self._settle(user)
        name, transaction = event.fields.get("command", ""), event.fields.get("transactionNum", "")
        self._causes.add((user, transaction))
        self._given[user, transaction, name] += 1
        self._open[user] = _Command(event.number, name, transaction, event.fields.get("stockSymbol", ""))

    def _system_event(self, event: LogfileEvent, user: str) -> None:
        self._settle(user)
        name, transaction = event.fields.get("command", ""), event.fields.get("transactionNum", "")
        symbol = event.fields.get("stockSymbol", "")
        self._causes.add((user, transaction))
        if name == "BUY":
            self._expire(event, user, transaction)
        elif name in _SIDES:
            self._drop_trigger(user, f"{_SIDES[name]} {symbol}")

    def _expire(self, event: LogfileEvent, user: str, transaction: str) -> None:
        orders = self.pending.get(user, [])
        place = next((place for place, order in enumerate(orders) if order[0] == transaction), None)
        if place is None:
            self._found("orders", event, f"{user} has no pending buy {transaction} that could expire")
        else:
            self._drop_order(user, place)

    def _account_transaction(self, event: LogfileEvent, user: str) -> None:
        action, cents = event.fields.get("action"), _cents(event.fields.get("funds"))
        transaction = event.fields.get("transactionNum", "")
        if (user, transaction) not in self._causes:
            what = f"cash of {user} moved, and no userCommand or systemEvent {transaction} of that moment says why"
            self._found("cause", event, what)
        if cents is None or action not in {"add", "remove"}:
            return
        command = self._open.get(user)
        is_of_command = command is not None and command.transaction == transaction
        if action == "add":
            self.cash[user] = self.cash.get(user, 0) + cents
        else:
            self.cash[user] = self.cash.get(user, 0) - cents
            if self.cash[user] < 0:
                self._found("cash", event, f"{user} is left with {_money(self.cash[user])}")
        if command is not None and is_of_command:
            if action == "add":
                command.added += cents
            else:
                command.removed += cents

    def _error_event(self, event: LogfileEvent, user: str) -> None:
        name, transaction = event.fields.get("command", ""), event.fields.get("transactionNum", "")
        key = (user, transaction, name)
        if self._given[key] < 1:
            self._found("rejection", event, f"no userCommand {name} {transaction} of {user or 'nobody'} at that moment")
        else:
            self._given[key] -= 1
        command = self._open.pop(user, None)
        if command is not None and (command.added or command.removed):
            self._found("rejection", event, f"{name} {transaction} of {user} was rejected and moved cash")

    def _settle(self, user: str) -> None:
        """Apply a user's latest command: without an errorEvent, it was executed."""
        command = self._open.pop(user, None)
        if command is None:
            return
        match command.name:
            case "BUY":
                self.pending.setdefault(user, []).append((command.transaction, command.removed))
            case "COMMIT_BUY" | "CANCEL_BUY":
                self._pop_order(user, command)
            case "SET_BUY_TRIGGER" | "SET_SELL_TRIGGER":
                self.active.setdefault(user, set()).add(f"{_SIDES[command.name]} {command.symbol}")
            case "CANCEL_SET_BUY" | "CANCEL_SET_SELL":
                self._drop_trigger(user, f"{_SIDES[command.name]} {command.symbol}")

    def _pop_order(self, user: str, command: _Command) -> None:
        orders = self.pending.get(user)
        if not orders:
            self.findings.add("orders", f"event {command.number}", f"{command.name} of {user} with no pending buy")
            return
        _, cost = orders[-1]
        self._drop_order(user, len(orders) - 1)
        given_back = cost if command.name == "CANCEL_BUY" else 0
        if command.added != given_back:
            what = f"{command.name} of {user} gave {_money(command.added)} back, not {_money(given_back)}"
            self.findings.add("orders", f"event {command.number}", what)

    def _drop_order(self, user: str, place: int) -> None:
        orders = self.pending[user]
        del orders[place]
        if not orders:
            del self.pending[user]

    def _drop_trigger(self, user: str, trigger: str) -> None:
        triggers = self.active.get(user, set())
        triggers.discard(trigger)
        if not triggers:
            self.active.pop(user, None)

    def _found(self, rule: str, event: LogfileEvent, what: str) -> None:
        self.findings.add(rule, f"event {event.number}", what)


_SIDES: Mapping[str, str] = {
    "SET_BUY_TRIGGER": "buy",
    "SET_SELL_TRIGGER": "sell",
    "CANCEL_SET_BUY": "buy",
    "CANCEL_SET_SELL": "sell",
}

_TRADES_OF_NOBODY = frozenset({"QUOTE", "DISPLAY_SUMMARY", "DUMPLOG"})
"""Commands that change no account."""


@dataclass(slots=True)
class Comparison:
    """How the accounts of a log compare with summaries requested later."""

    replay: LogReplay
    equal: int = 0
    moved_on: int = 0
    holding_equal: int = 0
    archived: int = 0

    def take(self, user: str, summary: Mapping[str, Any]) -> None:
        """Compare an account with a summary.

        Releasing expired buys moves money from pending buys to cash, so their sum is compared. A user who traded after
        the log, or whose trigger fired since, is only counted. Raises ValueError for what is not a summary.
        """
        replay = self.replay
        logged, cash = replay.cash.get(user, 0), _must_be_cents(summary.get("cash"))
        if "pending_buys" in summary:
            logged += replay.committed(user)
            cash += sum(_must_be_cents(order.get("cost")) for order in summary["pending_buys"])
        if logged == cash:
            self.equal += 1
        elif self._has_moved_on(user, summary):
            self.moved_on += 1
        else:
            what = f"{_money(cash)} in the summary, {_money(logged)} in the log"
            replay.findings.add("summary", user, what)

    def take_holding(self, user: str, held: Mapping[str, int], told: Mapping[str, int] | None) -> None:
        """Compare a user's holdings with those of the history; None is a history of which some is archived."""
        if told is None:
            self.archived += 1
            return
        wrong = [what for what in sorted(held.keys() | told.keys()) if held.get(what, 0) != told.get(what, 0)]
        for what in wrong:
            both = f"{held.get(what, 0)} {what} in the account, {told.get(what, 0)} by its history"
            self.replay.findings.add("holding", user, both)
        self.holding_equal += not wrong

    def _has_moved_on(self, user: str, summary: Mapping[str, Any]) -> bool:
        traded = any(
            past["timestamp"] > self.replay.last_ms and past["command"] not in _TRADES_OF_NOBODY
            for past in summary.get("history", ())
        )
        active = {
            f"{side} {trigger['symbol']}"
            for side in ("buy", "sell")
            for trigger in summary.get(f"{side}_triggers", ())
            if trigger["price"] is not None
        }
        return traded or bool(self.replay.active.get(user, set()) - active)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


def _cents(text: str | None) -> int | None:
    whole, dot, rest = (text or "").partition(".")
    digits = whole + rest
    return (
        int(digits) if dot and len(rest) == 2 and digits.isascii() and digits.isdigit() and len(digits) < 40 else None
    )


def _must_be_cents(value: Any) -> int:
    cents = _cents(value) if isinstance(value, str) else None
    if cents is None:
        raise ValueError(f"{value!r} is not an amount of money")
    return cents


def _money(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
