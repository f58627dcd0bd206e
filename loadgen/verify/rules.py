"""What each command must do to an account of the model, and what its answer must say.

Sources: docs/rules.md sections 3 and 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.verify.model import Account, Order, RejectedError, Trigger
from loadgen.workload.amounts import parse_cents
from loadgen.workload.commands import has_money
from loadgen.workload.files import Command

PRICED = frozenset({"BUY", "SELL"})
"""The commands whose outcome depends on the current quote."""

QUOTED = PRICED | {"QUOTE"}
"""The commands whose answers carry the price of a quote."""

Fields = dict[str, Any]
"""The fields of an answer; money in cents."""


def apply(account: Account, command: Command, price: int | None = None, expires_at: int | None = None) -> Fields:
    """Execute a command and return what the answer must say. Raises RejectedError; then nothing has changed.

    `price` is the quote, for BUY and SELL.
    """
    symbol = "" if command.symbol is None else command.symbol.upper()
    amount = parse_cents(command.value) if has_money(command.name) else 0
    request = _Request(symbol, amount, price or 0, command.transaction, expires_at)
    fields = _EFFECTS[command.name](account, request)
    return {**fields, "cash": account.cash}


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
    account.hold(order.symbol, -order.shares)
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
    account.note_cost(order.symbol, order.value)
    account.hold(order.symbol, order.shares)
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
    account.note_sale(order.symbol, order.shares, account.all_shares(order.symbol), order.value)
    return _sold(account.pending_sells.pop())


def _cancel_sell(account: Account, _request: _Request) -> Fields:
    order = _newest(account.pending_sells, "no_pending_sell")
    account.hold(order.symbol, order.shares)
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
    """Reserve the shares that the trigger's amount is worth at `price`, instead of its current ones."""
    shares = trigger.amount // price
    if shares == 0:
        raise RejectedError("amount_below_price")
    if account.holdings.get(symbol, 0) + trigger.shares < shares:
        raise RejectedError("insufficient_shares")
    account.hold(symbol, trigger.shares - shares)
    trigger.shares = shares


def _cancel_set_sell(account: Account, request: _Request) -> Fields:
    trigger = _existing(account.sell_triggers, request.symbol, "no_sell_amount")
    del account.sell_triggers[request.symbol]
    account.hold(request.symbol, trigger.shares)
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
