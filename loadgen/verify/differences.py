"""How answers and accounts differ from the model's predictions, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadgen.verify.model import Account, Order, Trigger
from loadgen.workload.amounts import MONEY_FIELDS, read_money, spell
from loadgen.workload.files import Command

HISTORY_LENGTH = 20
"""How many of the latest commands a summary shows (docs/rules.md section 3)."""


def compare_answer(command: Command, expected: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Return how a success differs from its prediction; `expected` has money in cents."""
    wanted = {"transaction": command.transaction, "command": command.name, **expected}
    if command.user is not None:
        wanted["user"] = command.user
    if command.name == "DUMPLOG" and "cash" not in body:
        wanted.pop("cash", None)
    differences = []
    for name, value in wanted.items():
        if value is None or (name == "shares" and value == 0):
            given = body.get(name)
            if given is not None and given != value:
                differences.append(f"{name} is {given!r}, the model says {_spelled(name, value)}")
        elif name not in body:
            differences.append(f"{name} is missing, the model says {_spelled(name, value)}")
        elif not _same(name, value, body[name]):
            differences.append(f"{name} is {body[name]!r}, the model says {_spelled(name, value)}")
    return differences


def compare_accounts(expected: Account, shown: Account) -> list[str]:
    """Return how the account in a summary differs from the model's."""
    differences = []
    if shown.cash != expected.cash:
        differences.append(f"cash is {spell(shown.cash)}, the model says {spell(expected.cash)}")
    for symbol in sorted(expected.holdings.keys() | shown.holdings.keys()):
        has, needs = shown.holdings.get(symbol, 0), expected.holdings.get(symbol, 0)
        if has != needs:
            differences.append(f"holdings of {symbol} are {has}, the model says {needs}")
    differences += _compare_orders("buys", expected.pending_buys, shown.pending_buys)
    differences += _compare_orders("sells", expected.pending_sells, shown.pending_sells)
    differences += _compare_triggers("buy", expected.buy_triggers, shown.buy_triggers)
    differences += _compare_triggers("sell", expected.sell_triggers, shown.sell_triggers)
    return differences + _compare_gains(expected, shown)


def _compare_gains(expected: Account, shown: Account) -> list[str]:
    """Return how costs and realised gain differ, if both accounts have them."""
    if expected.costs is None or shown.costs is None:
        return []
    differences = []
    for symbol in sorted(expected.costs.keys() | shown.costs.keys()):
        has, needs = shown.costs.get(symbol, 0), expected.costs.get(symbol, 0)
        if has != needs:
            differences.append(f"the cost of {symbol} is {_cost(has)}, the model says {_cost(needs)}")
    if shown.realised != expected.realised:
        differences.append(f"realised is {spell(shown.realised)}, the model says {spell(expected.realised)}")
    return differences


def _cost(cents: int | None) -> str:
    return "unknown" if cents is None else spell(cents)


def compare_history(
    past: Sequence[tuple[int, str, str]], own: set[int], body: Mapping[str, Any], asking: int | None
) -> list[str]:
    """Return how a summary's history differs from the latest commands of the run, given oldest first.

    Commands outside the run (their numbers are not in `own`) are ignored, as is the summary `asking`.
    """
    history = body.get("history")
    if not isinstance(history, list) or len(history) > HISTORY_LENGTH:
        return ["the history is missing or too long"]
    try:
        shown = [(entry["transaction"], entry["command"], entry["outcome"]) for entry in history]
    except (KeyError, TypeError):
        return ["the history has an unexpected form"]
    if asking is not None and shown and shown[0][0] == asking:
        shown = shown[1:]
    if past and not shown:
        return ["the history is empty"]
    of_run = [entry for entry in shown if entry[0] in own]
    for given, wanted in zip(of_run, reversed(past), strict=False):
        if given != wanted:
            return [f"the history has {given}, the run has {wanted}"]
    return []


def _compare_orders(kind: str, expected: Sequence[Order], shown: Sequence[Order]) -> list[str]:
    if len(expected) != len(shown):
        return [f"{len(shown)} {kind} are pending, the model says {len(expected)}"]
    return [
        f"pending {kind}, number {place}: {_order(has)}, the model says {_order(needs)}"
        for place, (has, needs) in enumerate(zip(shown, expected, strict=True), 1)
        if not _same_order(has, needs)
    ]


def _same_order(one: Order, other: Order) -> bool:
    same_end = one.expires_at == other.expires_at or None in {one.expires_at, other.expires_at}
    return same_end and (one.symbol, one.shares, one.price, one.value) == (
        other.symbol,
        other.shares,
        other.price,
        other.value,
    )


def _compare_triggers(kind: str, expected: Mapping[str, Trigger], shown: Mapping[str, Trigger]) -> list[str]:
    differences = []
    for symbol in sorted(expected.keys() | shown.keys()):
        has, needs = shown.get(symbol), expected.get(symbol)
        if has is None or needs is None or (has.amount, has.price, has.shares) != _trigger_key(needs):
            differences.append(f"{kind} trigger of {symbol}: {_trigger(has)}, the model says {_trigger(needs)}")
    return differences


def _trigger_key(trigger: Trigger) -> tuple[int, int | None, int]:
    return trigger.amount, trigger.price, trigger.shares


def _order(order: Order) -> str:
    end = "" if order.expires_at is None else f" until {order.expires_at}"
    return f"{order.shares} {order.symbol} at {spell(order.price)} = {spell(order.value)}{end}"


def _trigger(trigger: Trigger | None) -> str:
    if trigger is None:
        return "none"
    price = "no price" if trigger.price is None else f"price {spell(trigger.price)}"
    shares = f", {trigger.shares} shares reserved" if trigger.shares else ""
    return f"amount {spell(trigger.amount)}, {price}{shares}"


def _same(name: str, value: Any, given: Any) -> bool:
    if name not in MONEY_FIELDS:
        return type(given) is type(value) and bool(given == value)
    try:
        return bool(read_money(given) == value)
    except ValueError:
        return False


def _spelled(name: str, value: Any) -> str:
    return repr(spell(value)) if name in MONEY_FIELDS and value is not None else repr(value)
