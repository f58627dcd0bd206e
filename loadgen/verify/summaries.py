"""Reads accounts from summaries and from account requests."""

from collections.abc import Mapping
from typing import Any

from loadgen.verify.model import Account, Order, Trigger
from loadgen.workload.amounts import read_money, read_whole


class UnreadableSummariesError(Exception):
    """An account does not have the format of the interface."""


def read_summary(body: Mapping[str, Any]) -> Account:
    """Return the account in a summary or an account body. Raises UnreadableSummariesError."""
    try:
        return Account(
            read_money(body["cash"]),
            {symbol: read_whole(shares) for symbol, shares in body["holdings"].items() if shares != 0},
            [_read_order(order, "cost") for order in body["pending_buys"]],
            [_read_order(order, "proceeds") for order in body["pending_sells"]],
            {trigger["symbol"]: _read_trigger(trigger, 0) for trigger in body["buy_triggers"]},
            {trigger["symbol"]: _read_trigger(trigger, trigger.get("shares")) for trigger in body["sell_triggers"]},
            _read_costs(body["positions"]) if "positions" in body else None,
            read_money(body.get("realised", "0.00")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableSummariesError(f"the account has an unexpected form: {type(error).__name__} {error}") from error


def _read_costs(positions: Mapping[str, Any]) -> dict[str, int | None]:
    costs = {symbol: position["cost"] for symbol, position in positions.items()}
    return {symbol: None if cost is None else read_money(cost) for symbol, cost in costs.items()}


def _read_order(order: Mapping[str, Any], value: str) -> Order:
    shares, price = read_whole(order["shares"]), read_money(order["price"])
    return Order(None, order["symbol"], shares, price, read_money(order[value]), read_whole(order["expires_at"]))


def _read_trigger(trigger: Mapping[str, Any], shares: object) -> Trigger:
    price = trigger.get("price")
    return Trigger(
        read_money(trigger["amount"]),
        None if price is None else read_money(price),
        0 if shares is None else read_whole(shares),
    )
