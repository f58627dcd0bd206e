"""Expired orders are released after 60 s, so that a trader never loses money or shares (docs/rules.md section 3).

An order made by a server whose clock was ahead expires at most 60 s after it is read (docs/rules.md section 1).
"""

from dataclasses import replace

from chalicelib.domain.account import ORDER_LIFETIME_MS, Account, PendingOrder
from chalicelib.domain.commands import CommandName
from chalicelib.domain.journal import Event, OrderExpired


def give_back_expired(account: Account, now_ms: int) -> tuple[Account, tuple[Event, ...]]:
    """Return the account with its expired orders released, and an event for each.

    An order made after `now_ms` counts as made now.
    """
    latest_ms = now_ms + ORDER_LIFETIME_MS
    expiries = [order.expires_at_ms for order in (*account.pending_buys, *account.pending_sells)]
    if not expiries or (now_ms <= min(expiries) and max(expiries) <= latest_ms):
        return account, ()
    account = _made_by(account, now_ms)
    buys, old_buys = _split(account.pending_buys, now_ms)
    sells, old_sells = _split(account.pending_sells, now_ms)
    holdings = dict(account.holdings)
    for order in old_sells:
        holdings[order.symbol] = holdings.get(order.symbol, 0) + order.shares
    after = replace(
        account,
        cash_cents=account.cash_cents + sum(order.value_cents for order in old_buys),
        holdings=holdings,
        pending_buys=buys,
        pending_sells=sells,
    )
    events = (
        *(_expired(CommandName.BUY, order) for order in old_buys),
        *(_expired(CommandName.SELL, order) for order in old_sells),
    )
    return after, events


def _made_by(account: Account, now_ms: int) -> Account:
    latest_ms = now_ms + ORDER_LIFETIME_MS
    buys, sells = (
        tuple(replace(order, expires_at_ms=min(order.expires_at_ms, latest_ms)) for order in orders)
        for orders in (account.pending_buys, account.pending_sells)
    )
    return replace(account, pending_buys=buys, pending_sells=sells)


def _split(orders: tuple[PendingOrder, ...], now_ms: int) -> tuple[tuple[PendingOrder, ...], tuple[PendingOrder, ...]]:
    valid = tuple(order for order in orders if not order.is_expired(now_ms))
    expired = tuple(order for order in orders if order.is_expired(now_ms))
    return valid, expired


def _expired(command: CommandName, order: PendingOrder) -> OrderExpired:
    return OrderExpired(
        command, order.transaction, order.symbol, order.value_cents, order.number, order.shares, order.price_cents
    )
