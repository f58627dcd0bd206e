"""How answers show orders, triggers and accounts (docs/api.md). Keys ending in `_cents` are money."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.domain.journal import HISTORY_LENGTH, PastCommand


def bought(order: PendingOrder) -> dict[str, Any]:
    """Return a buy, with its cost."""
    return {
        "order": order.number,
        "symbol": order.symbol,
        "shares": order.shares,
        "price_cents": order.price_cents,
        "cost_cents": order.value_cents,
    }


def sold(order: PendingOrder) -> dict[str, Any]:
    """Return a sell, with its proceeds."""
    return {
        "order": order.number,
        "symbol": order.symbol,
        "shares": order.shares,
        "price_cents": order.price_cents,
        "proceeds_cents": order.value_cents,
    }


def buy_trigger_view(symbol: str, trigger: BuyTrigger) -> dict[str, Any]:
    """Return a buy trigger; its price is None until set."""
    return {"symbol": symbol, "amount_cents": trigger.amount_cents, "price_cents": trigger.price_cents}


def sell_trigger_view(symbol: str, trigger: SellTrigger) -> dict[str, Any]:
    """Return a sell trigger, with the shares it has reserved; its price is None until set."""
    return {
        "symbol": symbol,
        "amount_cents": trigger.amount_cents,
        "price_cents": trigger.price_cents,
        "shares": trigger.shares,
    }


def summarize(account: Account, history: Sequence[PastCommand]) -> Mapping[str, Any]:
    """Return an account with its triggers, its pending orders (newest last) and its latest commands.

    `history` is newest first and does not include the summary itself.
    """
    return {
        "holdings": dict(sorted(account.holdings.items())),
        "pending_buys": [{**bought(order), "expires_at": order.expires_at_ms} for order in account.pending_buys],
        "pending_sells": [{**sold(order), "expires_at": order.expires_at_ms} for order in account.pending_sells],
        "buy_triggers": [buy_trigger_view(*item) for item in sorted(account.buy_triggers.items(), key=_by_symbol)],
        "sell_triggers": [sell_trigger_view(*item) for item in sorted(account.sell_triggers.items(), key=_by_symbol)],
        "history": [_past_view(past) for past in history[:HISTORY_LENGTH]],
    }


def _by_symbol(item: tuple[str, Any]) -> str:
    return item[0]


def _past_view(past: PastCommand) -> dict[str, Any]:
    return {
        "transaction": past.transaction,
        "timestamp": past.timestamp_ms,
        "command": past.command,
        "symbol": past.symbol,
        "amount_cents": past.amount_cents,
        "outcome": past.outcome,
    }
