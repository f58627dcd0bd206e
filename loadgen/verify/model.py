"""An independent model of an account: what every command must do to it, written from the rules alone.

It shares no rule with the system it judges, only the parser of money as it is written. Amounts are integer cents.
Sources: SPEC.md sections 2 (cost and realised gain among it), 3 and 5.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.workload.amounts import parse_cents, spell
from loadgen.workload.commands import has_money
from loadgen.workload.files import Command

PRICED = frozenset({"BUY", "SELL"})
"""The commands whose outcome hangs on the current quote."""

QUOTED = PRICED | {"QUOTE"}
"""The commands whose answers carry the price of a quote."""

MOST_CENTS = 2**63 - 1
"""The most cash, with what is reserved of it, that an account can have (SPEC.md section 3)."""

Fields = dict[str, Any]
"""What an answer says, by field; money in cents."""


class RejectedError(Exception):
    """The rules refuse a command; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ImpossibleError(Exception):
    """The system says it did something that the account does not allow."""


@dataclass(slots=True)
class Order:
    """A pending order. `value` is its cost or its proceeds; `expires_at` is in ms, None when it is not known."""

    transaction: int | None
    symbol: str
    shares: int
    price: int
    value: int
    expires_at: int | None


@dataclass(slots=True)
class Trigger:
    """A trigger; `price` is None until set, `shares` are those reserved (sells only), `transaction` set the price."""

    amount: int
    price: int | None = None
    shares: int = 0
    transaction: int | None = None


@dataclass(slots=True)
class Account:
    """The state of one account.

    `costs` is what the shares held have cost, reserved ones included, None where that is not known; as a whole it is
    None for an account that was shown without costs, as a summary shows it.
    """

    cash: int = 0
    holdings: dict[str, int] = field(default_factory=dict)
    pending_buys: list[Order] = field(default_factory=list)
    pending_sells: list[Order] = field(default_factory=list)
    buy_triggers: dict[str, Trigger] = field(default_factory=dict)
    sell_triggers: dict[str, Trigger] = field(default_factory=dict)
    costs: dict[str, int | None] | None = field(default_factory=dict)
    realised: int = 0

    def copy(self) -> "Account":
        """Return an account that can change on its own."""
        return copy.deepcopy(self)

    def apply(self, command: Command, price: int | None = None, expires_at: int | None = None) -> Fields:
        """Carry out a command and return what the answer must say. Raises RejectedError; then nothing has changed.

        `price` is the quote, for BUY and SELL.
        """
        symbol = "" if command.symbol is None else command.symbol.upper()
        amount = 0
        if has_money(command.name):
            amount = parse_cents(command.value)
        request = _Request(symbol, amount, price or 0, command.transaction, expires_at)
        fields = _EFFECTS[command.name](self, request)
        return {**fields, "cash": self.cash}

    def verdict(self, command: Command, price: int) -> str:
        """Return what a BUY or SELL would come to at a price, `ok` or the rejection's code; nothing changes."""
        shares = parse_cents(command.value) // price
        if shares == 0:
            return "amount_below_price"
        if command.name == "BUY":
            return "ok" if self.cash >= shares * price else "insufficient_funds"
        return "ok" if self.holdings.get((command.symbol or "").upper(), 0) >= shares else "insufficient_shares"

    def expire(self, command: str, transaction: int, value: int, at_ms: int) -> None:
        """Give back the pending order that the log says ran out at `at_ms`. Raises ImpossibleError."""
        orders = self.pending_buys if command == "BUY" else self.pending_sells
        for order in orders:
            if order.transaction in {transaction, None} and order.value == value:
                break
        else:
            raise ImpossibleError(f"the {command} of transaction {transaction} expired, but no such order was pending")
        if order.expires_at is not None and at_ms <= order.expires_at:
            raise ImpossibleError(
                f"the {command} of transaction {transaction} expired at {at_ms}, but is valid until {order.expires_at}"
            )
        self.give_back(command, order)

    def give_back(self, command: str, order: Order) -> None:
        """Undo a pending order: its cost is cash again, its shares are held again."""
        if command == "BUY":
            _remove(self.pending_buys, order)
            self.cash += order.value
        else:
            _remove(self.pending_sells, order)
            self._hold(order.symbol, order.shares)

    def pending(self) -> list[tuple[str, Order]]:
        """Return the pending orders, the next one to expire first."""
        orders = [("BUY", order) for order in self.pending_buys] + [("SELL", order) for order in self.pending_sells]
        return sorted((pair for pair in orders if pair[1].expires_at is not None), key=_expiry)

    def fire(self, command: str, transaction: int, symbol: str, quote: int) -> None:
        """Run the trigger that the log says fired at `quote`. Raises ImpossibleError."""
        triggers = self.buy_triggers if command == "SET_BUY_TRIGGER" else self.sell_triggers
        trigger = triggers.get(symbol)
        if trigger is None or trigger.price is None:
            raise ImpossibleError(f"the {command} of {symbol} fired, but no such trigger was active")
        if trigger.transaction not in {transaction, None}:
            raise ImpossibleError(
                f"the {command} of {symbol} fired for transaction {transaction}, but {trigger.transaction} had set it"
            )
        shares = trigger.amount // quote
        due = quote <= trigger.price if command == "SET_BUY_TRIGGER" else quote >= trigger.price
        if not due or shares == 0 or (command == "SET_SELL_TRIGGER" and shares > trigger.shares):
            raise ImpossibleError(
                f"the {command} of {symbol} fired at {spell(quote)}, but its price is {spell(trigger.price)} "
                f"and its amount {spell(trigger.amount)}"
            )
        del triggers[symbol]
        if command == "SET_BUY_TRIGGER":
            self._paid(symbol, shares * quote)
            self._hold(symbol, shares)
            self.cash += trigger.amount - shares * quote
        else:
            self._sold(symbol, shares, self._all_shares(symbol) + trigger.shares, shares * quote)
            self._hold(symbol, trigger.shares - shares)
            self.cash += shares * quote

    def worth(self, price: int) -> int:
        """Return cash, reserved cash and all shares at one price."""
        shares = sum(self.holdings.values())
        shares += sum(order.shares for order in self.pending_sells)
        shares += sum(trigger.shares for trigger in self.sell_triggers.values())
        reserved = sum(order.value for order in self.pending_buys)
        reserved += sum(trigger.amount for trigger in self.buy_triggers.values())
        return self.cash + reserved + shares * price

    def _all_shares(self, symbol: str) -> int:
        """Return the shares of a symbol that are held, those that a pending sell or a trigger reserves included."""
        reserved = sum(order.shares for order in self.pending_sells if order.symbol == symbol)
        trigger = self.sell_triggers.get(symbol)
        return self.holdings.get(symbol, 0) + reserved + (trigger.shares if trigger is not None else 0)

    def _paid(self, symbol: str, cents: int) -> None:
        """Note what shares have cost that are about to be held: by average cost, all of a symbol have one cost."""
        if self.costs is None:
            return
        if not self._all_shares(symbol):
            self.costs[symbol] = cents
        elif (cost := self.costs.get(symbol)) is not None:
            self.costs[symbol] = cost + cents

    def _sold(self, symbol: str, shares: int, of_shares: int, proceeds: int) -> None:
        """Note that `shares` of `of_shares` were sold: their part of the cost, rounded down, goes with them."""
        if self.costs is None:
            return
        cost = self.costs.get(symbol)
        if cost is not None:
            part = cost if shares == of_shares else cost * shares // of_shares
            self.realised += proceeds - part
            self.costs[symbol] = cost - part
        if shares == of_shares:
            self.costs.pop(symbol, None)

    def is_limited_by(self, code: str, command: Command) -> bool:
        """Return whether a limit may reject a command that the rules allow, which would take the account nearer to it.

        How high the limits are is for the system to say; an account that has nothing yet is at none.
        """
        symbol = (command.symbol or "").upper()
        orders = self.pending_buys + self.pending_sells
        triggers = self.buy_triggers if command.name == "SET_BUY_AMOUNT" else self.sell_triggers
        match code, command.name:
            case "too_many_orders", "BUY" | "SELL":
                return bool(orders)
            case "too_many_triggers", "SET_BUY_AMOUNT" | "SET_SELL_AMOUNT":
                return symbol not in triggers and bool(self.buy_triggers or self.sell_triggers)
            case "too_many_holdings", "BUY" | "SET_BUY_AMOUNT":
                symbols = {order.symbol for order in orders} | self.holdings.keys()
                symbols |= self.buy_triggers.keys() | self.sell_triggers.keys()
                return bool(symbols) and symbol not in symbols
            case _:
                return False

    def take_in(self, cents: int) -> None:
        """Add cash. Raises RejectedError when that is more than an account can have."""
        reserved = sum(order.value for order in self.pending_buys)
        reserved += sum(trigger.amount for trigger in self.buy_triggers.values())
        if self.cash + reserved + cents > MOST_CENTS:
            raise RejectedError("cash_limit")
        self.cash += cents

    def _hold(self, symbol: str, shares: int) -> None:
        held = self.holdings.get(symbol, 0) + shares
        if held:
            self.holdings[symbol] = held
        else:
            self.holdings.pop(symbol, None)


@dataclass(frozen=True, slots=True)
class _Request:
    """A command's parameters; `amount` is the price of a SET_..._TRIGGER."""

    symbol: str
    amount: int
    price: int
    transaction: int
    expires_at: int | None


def _add(account: Account, request: _Request) -> Fields:
    account.take_in(request.amount)
    return {}


def _nothing(_account: Account, _request: _Request) -> Fields:
    return {}


def _quote(_account: Account, request: _Request) -> Fields:
    return {"symbol": request.symbol}


def _buy(account: Account, request: _Request) -> Fields:
    order = _order(request)
    if account.cash < order.value:
        raise RejectedError("insufficient_funds")
    account.cash -= order.value
    account.pending_buys.append(order)
    return _bought(order)


def _sell(account: Account, request: _Request) -> Fields:
    order = _order(request)
    if account.holdings.get(request.symbol, 0) < order.shares:
        raise RejectedError("insufficient_shares")
    account._hold(order.symbol, -order.shares)  # noqa: SLF001 (the rules are part of the model)
    account.pending_sells.append(order)
    return _sold(order)


def _order(request: _Request) -> Order:
    shares = request.amount // request.price
    if shares == 0:
        raise RejectedError("amount_below_price")
    value = shares * request.price
    return Order(request.transaction, request.symbol, shares, request.price, value, request.expires_at)


def _commit_buy(account: Account, _request: _Request) -> Fields:
    order = _newest(account.pending_buys, "no_pending_buy")
    account._paid(order.symbol, order.value)  # noqa: SLF001
    account._hold(order.symbol, order.shares)  # noqa: SLF001
    return _bought(order)


def _cancel_buy(account: Account, _request: _Request) -> Fields:
    order = _newest(account.pending_buys, "no_pending_buy")
    account.cash += order.value
    return _bought(order)


def _commit_sell(account: Account, _request: _Request) -> Fields:
    if not account.pending_sells:
        raise RejectedError("no_pending_sell")
    order = account.pending_sells[-1]
    account.take_in(order.value)
    account._sold(order.symbol, order.shares, account._all_shares(order.symbol), order.value)  # noqa: SLF001
    return _sold(account.pending_sells.pop())


def _cancel_sell(account: Account, _request: _Request) -> Fields:
    order = _newest(account.pending_sells, "no_pending_sell")
    account._hold(order.symbol, order.shares)  # noqa: SLF001
    return _sold(order)


def _newest(orders: list[Order], code: str) -> Order:
    if not orders:
        raise RejectedError(code)
    return orders.pop()


def _set_buy_amount(account: Account, request: _Request) -> Fields:
    old = account.buy_triggers.get(request.symbol, Trigger(0))
    if account.cash + old.amount < request.amount:
        raise RejectedError("insufficient_funds")
    account.cash += old.amount - request.amount
    new = Trigger(request.amount, old.price, 0, old.transaction)
    account.buy_triggers[request.symbol] = new
    return _buy_view(request.symbol, new)


def _set_buy_trigger(account: Account, request: _Request) -> Fields:
    trigger = _existing(account.buy_triggers, request.symbol, "no_buy_amount")
    trigger.price, trigger.transaction = request.amount, request.transaction
    return _buy_view(request.symbol, trigger)


def _cancel_set_buy(account: Account, request: _Request) -> Fields:
    trigger = _existing(account.buy_triggers, request.symbol, "no_buy_amount")
    del account.buy_triggers[request.symbol]
    account.cash += trigger.amount
    return _buy_view(request.symbol, trigger)


def _set_sell_amount(account: Account, request: _Request) -> Fields:
    old = account.sell_triggers.get(request.symbol, Trigger(0))
    if account.holdings.get(request.symbol, 0) + old.shares < 1:
        raise RejectedError("insufficient_shares")
    new = Trigger(request.amount, old.price, old.shares, old.transaction)
    if new.price is not None:
        _reserve(account, request.symbol, new, new.price)
    account.sell_triggers[request.symbol] = new
    return _sell_view(request.symbol, new)


def _set_sell_trigger(account: Account, request: _Request) -> Fields:
    trigger = _existing(account.sell_triggers, request.symbol, "no_sell_amount")
    _reserve(account, request.symbol, trigger, request.amount)
    trigger.price, trigger.transaction = request.amount, request.transaction
    return _sell_view(request.symbol, trigger)


def _reserve(account: Account, symbol: str, trigger: Trigger, price: int) -> None:
    """Reserve the shares that the trigger's amount is worth at `price`, in place of those it has."""
    shares = trigger.amount // price
    if shares == 0:
        raise RejectedError("amount_below_price")
    if account.holdings.get(symbol, 0) + trigger.shares < shares:
        raise RejectedError("insufficient_shares")
    account._hold(symbol, trigger.shares - shares)  # noqa: SLF001
    trigger.shares = shares


def _cancel_set_sell(account: Account, request: _Request) -> Fields:
    trigger = _existing(account.sell_triggers, request.symbol, "no_sell_amount")
    del account.sell_triggers[request.symbol]
    account._hold(request.symbol, trigger.shares)  # noqa: SLF001
    return _sell_view(request.symbol, trigger)


def _existing(triggers: Mapping[str, Trigger], symbol: str, code: str) -> Trigger:
    trigger = triggers.get(symbol)
    if trigger is None:
        raise RejectedError(code)
    return trigger


_EFFECTS: dict[str, Callable[[Account, _Request], Fields]] = {
    "ADD": _add,
    "QUOTE": _quote,
    "BUY": _buy,
    "COMMIT_BUY": _commit_buy,
    "CANCEL_BUY": _cancel_buy,
    "SELL": _sell,
    "COMMIT_SELL": _commit_sell,
    "CANCEL_SELL": _cancel_sell,
    "SET_BUY_AMOUNT": _set_buy_amount,
    "SET_BUY_TRIGGER": _set_buy_trigger,
    "CANCEL_SET_BUY": _cancel_set_buy,
    "SET_SELL_AMOUNT": _set_sell_amount,
    "SET_SELL_TRIGGER": _set_sell_trigger,
    "CANCEL_SET_SELL": _cancel_set_sell,
    "DUMPLOG": _nothing,
    "DISPLAY_SUMMARY": _nothing,
}


def _bought(order: Order) -> Fields:
    return {"symbol": order.symbol, "shares": order.shares, "price": order.price, "cost": order.value}


def _sold(order: Order) -> Fields:
    return {"symbol": order.symbol, "shares": order.shares, "price": order.price, "proceeds": order.value}


def _buy_view(symbol: str, trigger: Trigger) -> Fields:
    return {"symbol": symbol, "amount": trigger.amount, "price": trigger.price}


def _sell_view(symbol: str, trigger: Trigger) -> Fields:
    return {**_buy_view(symbol, trigger), "shares": trigger.shares}


def _remove(orders: list[Order], order: Order) -> None:
    """Remove this very order; an equal one may be pending beside it."""
    del orders[next(index for index, other in enumerate(orders) if other is order)]


def _expiry(pair: tuple[str, Order]) -> int:
    return pair[1].expires_at or 0
