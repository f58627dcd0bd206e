"""What happened to an account, event by event (docs/api.md, `events`), derived from its journal."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.domain.commands import CommandName
from chalicelib.domain.journal import OK, Entry, OrderExpired, TriggerFired


class EventKind(StrEnum):
    """The kinds of account event."""

    CASH_ADDED = "cash_added"
    ORDER_PLACED = "order_placed"
    ORDER_COMMITTED = "order_committed"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"
    TRIGGER_SET = "trigger_set"
    TRIGGER_CANCELLED = "trigger_cancelled"
    TRIGGER_FIRED = "trigger_fired"


TRADES = frozenset({EventKind.ORDER_COMMITTED, EventKind.TRIGGER_FIRED})
"""The events in which shares change hands."""

_BUYING = frozenset(
    {
        CommandName.BUY,
        CommandName.COMMIT_BUY,
        CommandName.CANCEL_BUY,
        CommandName.SET_BUY_AMOUNT,
        CommandName.SET_BUY_TRIGGER,
        CommandName.CANCEL_SET_BUY,
    }
)
_OF_ORDERS = {
    CommandName.BUY: EventKind.ORDER_PLACED,
    CommandName.SELL: EventKind.ORDER_PLACED,
    CommandName.COMMIT_BUY: EventKind.ORDER_COMMITTED,
    CommandName.COMMIT_SELL: EventKind.ORDER_COMMITTED,
    CommandName.CANCEL_BUY: EventKind.ORDER_CANCELLED,
    CommandName.CANCEL_SELL: EventKind.ORDER_CANCELLED,
}
_OF_TRIGGERS = {
    CommandName.SET_BUY_AMOUNT: EventKind.TRIGGER_SET,
    CommandName.SET_BUY_TRIGGER: EventKind.TRIGGER_SET,
    CommandName.SET_SELL_AMOUNT: EventKind.TRIGGER_SET,
    CommandName.SET_SELL_TRIGGER: EventKind.TRIGGER_SET,
    CommandName.CANCEL_SET_BUY: EventKind.TRIGGER_CANCELLED,
    CommandName.CANCEL_SET_SELL: EventKind.TRIGGER_CANCELLED,
}

EXPLAINED_BY_RESULT = frozenset({*_OF_ORDERS, *_OF_TRIGGERS})
"""The commands whose events are derived from the entry's result, which the store therefore always keeps."""


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """One event. `sequence` is that of its entry, `place` its index among the entry's events, from 0.

    `side` is `buy` or `sell` if shares are concerned. `money_cents` is the cash added, the value of the order or the
    firing (shares x price), or a trigger's amount. A field is None if it does not apply or if an entry of an older
    build does not have it.
    """

    sequence: int
    place: int
    timestamp_ms: int
    kind: EventKind
    transaction: int
    order: int | None = None
    side: str | None = None
    symbol: str | None = None
    shares: int | None = None
    price_cents: int | None = None
    money_cents: int | None = None


def events_of(entry: Entry, sequence: int) -> tuple[AccountEvent, ...]:
    """Return the events of entry `sequence` of a journal, in order."""
    return tuple(_told(entry, sequence))


def is_trade(entry: Entry, sequence: int) -> bool:
    """Return whether shares changed hands in an entry."""
    return any(event.kind in TRADES for event in events_of(entry, sequence))


def _told(entry: Entry, sequence: int) -> Iterator[AccountEvent]:
    place = 0
    for event in entry.events:
        match event:
            case OrderExpired(command, transaction, symbol, value, order, shares, price):
                kind = EventKind.ORDER_EXPIRED
                worth: int | None = value
            case TriggerFired(command, transaction, symbol, price, shares):
                kind, order = EventKind.TRIGGER_FIRED, None
                worth = None if shares is None else shares * event.price_cents
            case _:
                continue
        yield AccountEvent(
            sequence, place, entry.timestamp_ms, kind, transaction, order, _side(command), symbol, shares, price, worth
        )
        place += 1
    if entry.command is not None and entry.outcome == OK:
        yield from _of_command(entry, entry.command, sequence, place)


def _of_command(entry: Entry, command: CommandName, sequence: int, place: int) -> Iterator[AccountEvent]:
    result = entry.result
    if command is CommandName.ADD:
        yield AccountEvent(
            sequence, place, entry.timestamp_ms, EventKind.CASH_ADDED, entry.transaction, money_cents=entry.amount_cents
        )
    elif (kind := _OF_ORDERS.get(command) or _OF_TRIGGERS.get(command)) is not None and result:
        if kind is EventKind.TRIGGER_SET and result["price_cents"] is None:
            return  # an amount without a price: the trigger is not active yet
        yield AccountEvent(
            sequence,
            place,
            entry.timestamp_ms,
            kind,
            entry.transaction,
            order=result.get("order"),
            side=_side(command),
            symbol=result["symbol"],
            shares=result.get("shares"),
            price_cents=result["price_cents"],
            money_cents=result.get("cost_cents", result.get("proceeds_cents", result.get("amount_cents"))),
        )


def _side(command: CommandName) -> str:
    return "buy" if command in _BUYING else "sell"
