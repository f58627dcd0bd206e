"""One user's account, as an immutable value (docs/rules.md section 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Value = TypeVar("Value")

ORDER_LIFETIME_MS = 60_000
"""A pending order is valid while `now <= created + 60 s`."""


@dataclass(frozen=True, slots=True)
class PendingOrder:
    """A buy or sell that waits for its commit.

    `value_cents` is shares x price: the cost, already taken from cash, or the proceeds. `transaction` is the number of
    the command that made the order. `number` is the order's own: the sequence number of the entry that records it
    (docs/rules.md section 3), 0 for an order made before orders had numbers.
    """

    transaction: int
    symbol: str
    shares: int
    price_cents: int
    value_cents: int
    expires_at_ms: int
    number: int = 0

    def is_expired(self, now_ms: int) -> bool:
        """Return whether the order is past its 60 s."""
        return now_ms > self.expires_at_ms


@dataclass(frozen=True, slots=True)
class BuyTrigger:
    """An order to buy when the price falls to `price_cents` (None until set).

    `amount_cents` is already taken from cash; `transaction` is the number of the SET_BUY_TRIGGER that set the price.
    """

    amount_cents: int
    price_cents: int | None = None
    transaction: int | None = None


@dataclass(frozen=True, slots=True)
class SellTrigger:
    """An order to sell when the price rises to `price_cents` (None until set).

    `shares` are reserved: they left the holdings when the price was set. `transaction` is the number of the
    SET_SELL_TRIGGER that set the price.
    """

    amount_cents: int
    price_cents: int | None = None
    shares: int = 0
    transaction: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Everything a user owns. Nothing in it is ever negative except `realised_cents`, and no holding is kept at zero.

    `cost_cents` is the cost of the shares held, reserved ones included, by symbol; a symbol that is held but not in it
    has an unknown cost (`chalicelib/domain/positions.py`). `realised_cents` is the proceeds of all sales less the cost
    of the shares sold.
    """

    user: str
    cash_cents: int = 0
    holdings: Mapping[str, int] = field(default_factory=dict)
    pending_buys: tuple[PendingOrder, ...] = ()
    pending_sells: tuple[PendingOrder, ...] = ()
    buy_triggers: Mapping[str, BuyTrigger] = field(default_factory=dict)
    sell_triggers: Mapping[str, SellTrigger] = field(default_factory=dict)
    cost_cents: Mapping[str, int] = field(default_factory=dict)
    realised_cents: int = 0

    def shares(self, symbol: str) -> int:
        """Return the available shares of a symbol."""
        return self.holdings.get(symbol, 0)

    def reserved_shares(self, symbol: str) -> int:
        """Return the shares of a symbol that sell triggers and pending sells have reserved."""
        trigger = self.sell_triggers.get(symbol)
        pending = sum(order.shares for order in self.pending_sells if order.symbol == symbol)
        return pending + (0 if trigger is None else trigger.shares)

    def reserved_cents(self) -> int:
        """Return the cash that pending buys and buy triggers have reserved."""
        orders = sum(order.value_cents for order in self.pending_buys)
        return orders + sum(trigger.amount_cents for trigger in self.buy_triggers.values())

    def holdings_after(self, symbol: str, change: int) -> Mapping[str, int]:
        """Return the holdings after a change of a symbol's shares, which may be negative."""
        shares = self.shares(symbol) + change
        return {**self.holdings, symbol: shares} if shares else without(self.holdings, symbol)

    def next_expiry_ms(self) -> int | None:
        """Return when the first pending order expires, None when there is none."""
        return min([order.expires_at_ms for order in (*self.pending_buys, *self.pending_sells)], default=None)


def without(mapping: Mapping[str, Value], key: str) -> Mapping[str, Value]:
    """Return the mapping without a key."""
    return {name: value for name, value in mapping.items() if name != key}
