"""An independent model of an account, written from the rules alone; `rules` says what each command does to it.

It shares no code with the system it judges. Amounts are integer cents. Sources: docs/rules.md sections 2, 3 and
5, cost and realised gain included.
"""

import copy
from dataclasses import dataclass, field

from loadgen.workload.amounts import parse_cents, spell
from loadgen.workload.files import Command

MOST_CENTS = 2**63 - 1
"""The most cash, including reserved cash, that an account can have (docs/rules.md section 3)."""


class RejectedError(Exception):
    """The rules refuse a command; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ImpossibleError(Exception):
    """The system says it did something that the account does not allow."""


@dataclass(slots=True)
class Order:
    """A pending order. `value` is its cost or its proceeds; `expires_at` is in ms, None if it is not known."""

    transaction: int | None
    symbol: str
    shares: int
    price: int
    value: int
    expires_at: int | None


@dataclass(slots=True)
class Trigger:
    """A trigger. `price` is None until set, `shares` are reserved (sells only), `transaction` set the price."""

    amount: int
    price: int | None = None
    shares: int = 0
    transaction: int | None = None


@dataclass(slots=True)
class Account:
    """The state of one account.

    `costs` is the cost of the shares held, including reserved ones, None for a symbol whose cost is unknown; `costs`
    itself is None for an account that was shown without costs, as in a summary.
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
        """Return an independent copy."""
        return copy.deepcopy(self)

    def verdict(self, command: Command, price: int) -> str:
        """Return the outcome of a BUY or SELL at a price, `ok` or the rejection's code; nothing changes."""
        shares = parse_cents(command.value) // price
        if shares == 0:
            return "amount_below_price"
        if command.name == "BUY":
            return "ok" if self.cash >= shares * price else "insufficient_funds"
        return "ok" if self.holdings.get((command.symbol or "").upper(), 0) >= shares else "insufficient_shares"

    def expire(self, command: str, transaction: int, value: int, at_ms: int) -> None:
        """Release the pending order that the log says expired at `at_ms`. Raises ImpossibleError."""
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
        """Undo a pending order: its cost is cash again, or its shares are held again."""
        if command == "BUY":
            _remove(self.pending_buys, order)
            self.cash += order.value
        else:
            _remove(self.pending_sells, order)
            self.hold(order.symbol, order.shares)

    def pending(self) -> list[tuple[str, Order]]:
        """Return the pending orders, the next to expire first."""
        orders = [("BUY", order) for order in self.pending_buys] + [("SELL", order) for order in self.pending_sells]
        return sorted((pair for pair in orders if pair[1].expires_at is not None), key=_expiry)

    def fire(self, command: str, transaction: int, symbol: str, quote: int) -> None:
        """Execute the trigger that the log says fired at `quote`. Raises ImpossibleError."""
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
            self.note_cost(symbol, shares * quote)
            self.hold(symbol, shares)
            self.cash += trigger.amount - shares * quote
        else:
            self.note_sale(symbol, shares, self.all_shares(symbol) + trigger.shares, shares * quote)
            self.hold(symbol, trigger.shares - shares)
            self.cash += shares * quote

    def worth(self, price: int) -> int:
        """Return the value of cash, reserved cash and all shares at one price."""
        shares = sum(self.holdings.values())
        shares += sum(order.shares for order in self.pending_sells)
        shares += sum(trigger.shares for trigger in self.sell_triggers.values())
        reserved = sum(order.value for order in self.pending_buys)
        reserved += sum(trigger.amount for trigger in self.buy_triggers.values())
        return self.cash + reserved + shares * price

    def all_shares(self, symbol: str) -> int:
        """Return all shares of a symbol, including those reserved by pending sells and a trigger."""
        reserved = sum(order.shares for order in self.pending_sells if order.symbol == symbol)
        trigger = self.sell_triggers.get(symbol)
        return self.holdings.get(symbol, 0) + reserved + (trigger.shares if trigger is not None else 0)

    def note_cost(self, symbol: str, cents: int) -> None:
        """Record the cost of shares about to be held: by average cost, all shares of a symbol have one cost."""
        if self.costs is None:
            return
        if not self.all_shares(symbol):
            self.costs[symbol] = cents
        elif (cost := self.costs.get(symbol)) is not None:
            self.costs[symbol] = cost + cents

    def note_sale(self, symbol: str, shares: int, of_shares: int, proceeds: int) -> None:
        """Record the sale of `shares` of `of_shares`: their part of the cost, rounded down, is removed."""
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
        """Return whether a limit may reject a command that the rules allow, because it brings the account nearer to it.

        The system decides how high the limits are; an empty account is at none.
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
        """Add cash. Raises RejectedError if the account would exceed the cash limit."""
        reserved = sum(order.value for order in self.pending_buys)
        reserved += sum(trigger.amount for trigger in self.buy_triggers.values())
        if self.cash + reserved + cents > MOST_CENTS:
            raise RejectedError("cash_limit")
        self.cash += cents

    def hold(self, symbol: str, shares: int) -> None:
        """Add shares to the holdings; `shares` may be negative."""
        held = self.holdings.get(symbol, 0) + shares
        if held:
            self.holdings[symbol] = held
        else:
            self.holdings.pop(symbol, None)


def _remove(orders: list[Order], order: Order) -> None:
    """Remove this very order; an equal one may be pending too."""
    del orders[next(index for index, other in enumerate(orders) if other is order)]


def _expiry(pair: tuple[str, Order]) -> int:
    return pair[1].expires_at or 0
