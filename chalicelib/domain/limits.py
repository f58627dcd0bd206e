"""Limits on the size of an account: a command that exceeds one is rejected (docs/rules.md section 3).

An account is one MongoDB document of at most 16 MiB, read and written with every command, so its size needs a bound.
What is reserved counts as owned, so releasing an order or a trigger never hits a limit.
"""

from dataclasses import dataclass

from chalicelib.domain.account import Account
from chalicelib.domain.errors import RejectedError
from chalicelib.domain.money import format_cents
from chalicelib.domain.positions import held

MAX_INTEGER = 2**63 - 1
"""The most cents, or shares of a symbol, that the database can hold as an integer."""

_MOST_CASH = f"the most is {format_cents(MAX_INTEGER)}"


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """The most that an account may have: pending orders and triggers (both sides together), and symbols."""

    orders: int = 1_000
    triggers: int = 1_000
    holdings: int = 1_000


def check_growth(before: Account, after: Account, limits: AccountLimits) -> None:
    """Raise RejectedError if `after` exceeds a limit by more than `before` did.

    An account that is past a limit because the limit was lowered can still shrink.
    """
    if after is before:
        return
    if (orders := _orders(after)) > limits.orders and orders > _orders(before):
        raise RejectedError("too_many_orders", f"has {_orders(before)} pending orders, may have {limits.orders}")
    if (triggers := _triggers(after)) > limits.triggers and triggers > _triggers(before):
        raise RejectedError("too_many_triggers", f"has {_triggers(before)} triggers, may have {limits.triggers}")
    _check_symbols(before, after, limits)
    check_numbers(before, after)


def check_numbers(before: Account, after: Account) -> None:
    """Raise RejectedError if cash, including reserved cash, or shares have grown past what the database can hold."""
    if after.cash_cents > before.cash_cents:  # otherwise what is reserved cannot have grown by more than cash fell
        worth = after.cash_cents + after.reserved_cents()
        if worth > MAX_INTEGER and worth > before.cash_cents + before.reserved_cents():
            raise RejectedError(
                "cash_limit", f"cash, with what is reserved, would be {format_cents(worth)}, {_MOST_CASH}"
            )
    if after.holdings is not before.holdings:
        for symbol, shares in after.holdings.items():
            if shares > before.shares(symbol) and MAX_INTEGER < (owned := held(after, symbol)) > held(before, symbol):
                raise RejectedError("too_many_holdings", f"would hold {owned} {symbol}, the most is {MAX_INTEGER}")
    if after.cost_cents is not before.cost_cents and max(after.cost_cents.values(), default=0) > MAX_INTEGER:
        raise RejectedError("cash_limit", f"the cost of what is held would pass the limit, {_MOST_CASH}")
    if abs(after.realised_cents) > MAX_INTEGER:
        raise RejectedError("cash_limit", f"the realised gain would pass the limit, {_MOST_CASH}")


def _check_symbols(before: Account, after: Account, limits: AccountLimits) -> None:
    if len(after.holdings) + _orders(after) + _triggers(after) <= limits.holdings:
        return  # within the limit, whatever the symbols
    symbols, had = len(_symbols(after)), len(_symbols(before))
    if symbols > limits.holdings and symbols > had:
        raise RejectedError(
            "too_many_holdings", f"holds, or has orders or triggers for, {had} symbols, may have {limits.holdings}"
        )


def _orders(account: Account) -> int:
    return len(account.pending_buys) + len(account.pending_sells)


def _triggers(account: Account) -> int:
    return len(account.buy_triggers) + len(account.sell_triggers)


def _symbols(account: Account) -> set[str]:
    ordered = {order.symbol for order in (*account.pending_buys, *account.pending_sells)}
    return ordered | account.holdings.keys() | account.buy_triggers.keys() | account.sell_triggers.keys()
