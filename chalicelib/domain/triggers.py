"""Triggers: orders that execute when a price is reached (docs/rules.md section 5)."""

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.account import Account, without
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import RejectedError
from chalicelib.domain.journal import CashMoved, Event, TriggerFired
from chalicelib.domain.limits import check_numbers
from chalicelib.domain.positions import after_sale, cost_with


def fire_due_triggers(account: Account, prices: Mapping[str, int]) -> tuple[Account, tuple[Event, ...]]:
    """Return the account after all triggers due at `prices` (cents by symbol) have fired, and the events.

    A symbol without a price is skipped, and so is a trigger whose firing would exceed what an account can hold. If
    nothing is due, the account is returned unchanged, without events.
    """
    events: tuple[Event, ...] = ()
    for symbol in sorted(account.buy_triggers.keys() & prices.keys()):
        account, fired = _fitting(account, _fire_buy(account, symbol, prices[symbol]))
        events += fired
    for symbol in sorted(account.sell_triggers.keys() & prices.keys()):
        account, fired = _fitting(account, _fire_sell(account, symbol, prices[symbol]))
        events += fired
    return account, events


Firing = tuple[Account, tuple[Event, ...]]
"""The account after a trigger has fired, or unchanged, and the events."""


def _fitting(account: Account, firing: Firing) -> Firing:
    """Return the firing, or no firing if the account could not hold the result."""
    try:
        check_numbers(account, firing[0])
    except RejectedError:
        return account, ()
    return firing


def _fire_buy(account: Account, symbol: str, quote_cents: int) -> Firing:
    """Fire if the quote is at or below the trigger's price and the amount buys a share. The rest goes back to cash."""
    trigger = account.buy_triggers[symbol]
    shares = trigger.amount_cents // quote_cents
    if trigger.price_cents is None or trigger.transaction is None or quote_cents > trigger.price_cents or not shares:
        return account, ()
    rest = trigger.amount_cents - shares * quote_cents
    after = replace(
        account,
        cash_cents=account.cash_cents + rest,
        holdings=account.holdings_after(symbol, shares),
        buy_triggers=without(account.buy_triggers, symbol),
        cost_cents=cost_with(account, symbol, shares * quote_cents),
    )
    fired = TriggerFired(CommandName.SET_BUY_TRIGGER, trigger.transaction, symbol, quote_cents, shares)
    return after, (fired, CashMoved("add", rest)) if rest else (fired,)


def _fire_sell(account: Account, symbol: str, quote_cents: int) -> Firing:
    """Fire if the quote is at or above the trigger's price and the amount sells a share.

    The quote is not below the trigger's price, so the amount never sells more shares than were reserved.
    """
    trigger = account.sell_triggers[symbol]
    shares = trigger.amount_cents // quote_cents
    if trigger.price_cents is None or trigger.transaction is None or quote_cents < trigger.price_cents or not shares:
        return account, ()
    proceeds = shares * quote_cents
    after = replace(
        after_sale(account, symbol, shares, proceeds),
        cash_cents=account.cash_cents + proceeds,
        holdings=account.holdings_after(symbol, trigger.shares - shares),
        sell_triggers=without(account.sell_triggers, symbol),
    )
    fired = TriggerFired(CommandName.SET_SELL_TRIGGER, trigger.transaction, symbol, quote_cents, shares)
    return after, (fired, CashMoved("add", proceeds))
