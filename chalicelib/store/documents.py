"""The format of accounts and journal entries as MongoDB documents.

`accounts`: one document per user. `_id` is the user id. `v3`, named after the data version, is an array of one: the
account's state. An update changes the element of the version it was decided on, or nothing (decision 38). The fields of
a state:

    version        entries written so far; every write is guarded by it and raises it by one
    cash           available cents
    holdings       {symbol: shares}
    cost           {symbol: cents}, the cost of the shares held, where known; absent in accounts of older builds
    realised       cents gained by sales; absent likewise
    pending_buys   [{tx, sym, n, price, value, until, num}], newest last; pending_sells the same
    buy_triggers   {symbol: {amount, price?, tx?}}; sell_triggers also n, the reserved shares
    armed          [{sym, from, to}]: for each trigger with a price, the quotes (cents) at which it is due, buys first,
                   by symbol, so that one can be set by its place; one index over the three finds the due ones
    next_expiry    when the first pending order expires; absent if there is none
    last_at        when the latest entry was made
    open           the latest entries of the user's journal
    open_from      the sequence number of the first of them
    open_bytes     their size
    keyed          how many entries have had an idempotency key
    keys           {a, b}: two generations of a filter of those keys (`chalicelib/store/key_filter.py`), each {from, and
                   blocks of bits by their number}

`journal`: the closed parts. `_id` is `user:from` with the sequence number padded, so that a user's parts are one range
of the index, in order.

Entries have short field names, since an account has up to 64 of them: at (ms), tx, cmd, sym, amt (cents),
file, all, key, ord (the order named), giv (funds that were refused), id (of the write; begins with that of its
attempt), out (absent when ok), msg, cash, srv (server), ev (events), res (result; larger ones as compressed JSON).
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from bson import Binary, Int64
from bson.raw_bson import RawBSONDocument

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import UnknownDataVersionError
from chalicelib.domain.history import EXPLAINED_BY_RESULT
from chalicelib.domain.journal import OK, CashMoved, Entry, Event, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.store.key_filter import KeyFilter

Document = dict[str, Any]

DATA_VERSION = 3
"""The version of this format, stored in `meta` (`chalicelib/store/registry.py`).

Version 1 had the state's fields in the document itself, version 2 in an array named `state`; neither had a `meta`.
"""

STATE = f"v{DATA_VERSION}"
"""The field of an `accounts` document that holds the account.

It is named for the data version, so a build can neither misread nor write a document of another version.
"""

LARGE_RESULT_BYTES = 512
"""Larger results, as JSON, are compressed. Only summaries are that large."""


def account_from_state(user: str, state: Mapping[str, Any]) -> Account:
    """Return a user's account from the state in its document."""
    return Account(
        user=user,
        cash_cents=state["cash"],
        holdings=dict(state["holdings"]),
        pending_buys=tuple(_order_from(order) for order in state["pending_buys"]),
        pending_sells=tuple(_order_from(order) for order in state["pending_sells"]),
        buy_triggers={
            symbol: BuyTrigger(trigger["amount"], trigger.get("price"), trigger.get("tx"))
            for symbol, trigger in state["buy_triggers"].items()
        },
        sell_triggers={
            symbol: SellTrigger(trigger["amount"], trigger.get("price"), trigger["n"], trigger.get("tx"))
            for symbol, trigger in state["sell_triggers"].items()
        },
        cost_cents=dict(state.get("cost", {})),
        realised_cents=state.get("realised", 0),
    )


def account_document(user: str, state: Mapping[str, Any]) -> Document:
    """Return the document of a user whose account has this state."""
    return {"_id": user, STATE: [state]}


def state_of(document: Mapping[str, Any]) -> Any:
    """Return the state in an `accounts` document.

    Raises UnknownDataVersionError for a document of another version.
    """
    try:
        return document[STATE][0]
    except KeyError:
        raise UnknownDataVersionError(None, DATA_VERSION) from None


def new_state(
    account: Account, entries: Sequence[bytes], *, last_ms: int, keys: KeyFilter, open_from: int = 1
) -> Document:
    """Return the state of an account that has no document yet. `entries` (BSON) are the open part of its journal."""
    return {
        **_account_fields(account),
        "version": open_from - 1 + len(entries),
        "last_at": last_ms,
        "open": [RawBSONDocument(entry) for entry in entries],
        "open_from": open_from,
        "open_bytes": sum(map(len, entries)),
        **keys.fields(),
    }


def _account_fields(account: Account) -> Document:
    fields: Document = {
        "cash": Int64(account.cash_cents),
        "holdings": dict(account.holdings),
        "cost": {symbol: Int64(cents) for symbol, cents in account.cost_cents.items()},
        "realised": Int64(account.realised_cents),
        "pending_buys": [_order_document(order) for order in account.pending_buys],
        "pending_sells": [_order_document(order) for order in account.pending_sells],
        "buy_triggers": {symbol: _trigger_document(trigger) for symbol, trigger in account.buy_triggers.items()},
        "sell_triggers": {symbol: _trigger_document(trigger) for symbol, trigger in account.sell_triggers.items()},
        "armed": _armed(account),
    }
    if (expiry := account.next_expiry_ms()) is not None:
        fields["next_expiry"] = Int64(expiry)
    return fields


def changed_fields(before: Account, after: Account) -> dict[str, Document]:
    """Return the minimal update operators that turn the state of `before` into that of `after`."""
    to_set: Document = {}
    to_unset: Document = {}
    operators: dict[str, Document] = {"$set": to_set, "$unset": to_unset}
    if before.cash_cents != after.cash_cents:
        to_set["cash"] = Int64(after.cash_cents)
    _diff_map("holdings", before.holdings, after.holdings, operators)
    _diff_map("cost", before.cost_cents, after.cost_cents, operators)
    if before.realised_cents != after.realised_cents:
        to_set["realised"] = Int64(after.realised_cents)
    _diff_orders("pending_buys", before.pending_buys, after.pending_buys, operators)
    _diff_orders("pending_sells", before.pending_sells, after.pending_sells, operators)
    _diff_map("buy_triggers", before.buy_triggers, after.buy_triggers, operators)
    _diff_map("sell_triggers", before.sell_triggers, after.sell_triggers, operators)
    if before.buy_triggers is not after.buy_triggers or before.sell_triggers is not after.sell_triggers:
        to_set.update(_armed_changes(before, after))
    if before.pending_buys is not after.pending_buys or before.pending_sells is not after.pending_sells:
        expiry = after.next_expiry_ms()
        if expiry is None:
            to_unset["next_expiry"] = ""
        elif expiry != before.next_expiry_ms():
            to_set["next_expiry"] = Int64(expiry)
    return {operator: fields for operator, fields in operators.items() if fields}


def _diff_map(name: str, before: Mapping[str, Any], after: Mapping[str, Any], operators: dict[str, Document]) -> None:
    if before is after:
        return
    for key, value in after.items():
        known = before.get(key)
        if known is not value and known != value:  # most are the same objects, which are quicker compared so
            operators["$set"][f"{name}.{key}"] = value if isinstance(value, int) else _trigger_document(value)
    for key in before.keys() - after.keys():
        operators["$unset"][f"{name}.{key}"] = ""


def _diff_orders(
    name: str,
    before: tuple[PendingOrder, ...],
    after: tuple[PendingOrder, ...],
    operators: dict[str, Document],
) -> None:
    if before is after or before == after:
        return
    if len(after) == len(before) + 1 and after[:-1] == before:
        operators["$set"][f"{name}.{len(before)}"] = _order_document(after[-1])  # see `Accounts._update`: not `$push`
    elif after == before[:-1]:
        operators.setdefault("$pop", {})[name] = 1
    else:
        operators["$set"][name] = [_order_document(order) for order in after]


def _armed(account: Account) -> list[Document]:
    """Return the range of quotes at which each priced trigger is due, both ends included (docs/rules.md section 5).

    A trigger cannot fire while its amount is below one share, so the amount is an upper bound on the quote. The index
    range then holds only triggers that fire, and none that every sweep would look at in vain.
    """
    sides = (account.buy_triggers, account.sell_triggers)
    return [_range(symbol, side[symbol]) for side in sides for symbol in sorted(_priced(side))]


def _armed_changes(before: Account, after: Account) -> Document:
    """Return the fields that bring `armed` up to date.

    They are the ranges that changed, each by its place, or all of `armed` if other symbols have a price than before.
    """
    changes: Document = {}
    ahead = 0
    for was, now in ((before.buy_triggers, after.buy_triggers), (before.sell_triggers, after.sell_triggers)):
        priced = _priced(now)
        if priced != _priced(was):
            return {"armed": _armed(after)}
        for symbol in priced:
            if now[symbol] is was[symbol]:
                continue
            changed = _range(symbol, now[symbol])
            if changed != _range(symbol, was[symbol]):
                changes[f"armed.{ahead + sum(other < symbol for other in priced)}"] = changed
        ahead += len(priced)
    return changes


def _priced(triggers: Mapping[str, BuyTrigger] | Mapping[str, SellTrigger]) -> set[str]:
    return {symbol for symbol, trigger in triggers.items() if trigger.price_cents is not None}


def _range(symbol: str, trigger: BuyTrigger | SellTrigger) -> Document:
    assert trigger.price_cents is not None, "only a trigger with a price is armed"
    if isinstance(trigger, BuyTrigger):
        return {"sym": symbol, "from": 0, "to": min(trigger.price_cents, trigger.amount_cents)}
    return {"sym": symbol, "from": trigger.price_cents, "to": trigger.amount_cents}


def _order_document(order: PendingOrder) -> Document:
    return {
        "tx": Int64(order.transaction),
        "sym": order.symbol,
        "n": order.shares,
        "price": order.price_cents,
        "value": order.value_cents,
        "until": Int64(order.expires_at_ms),
        "num": order.number,
    }


def _order_from(document: Mapping[str, Any]) -> PendingOrder:
    return PendingOrder(
        transaction=document["tx"],
        symbol=document["sym"],
        shares=document["n"],
        price_cents=document["price"],
        value_cents=document["value"],
        expires_at_ms=document["until"],
        number=document.get("num", 0),
    )


def _trigger_document(trigger: BuyTrigger | SellTrigger) -> Document:
    document: Document = {"amount": trigger.amount_cents}
    if isinstance(trigger, SellTrigger):
        document["n"] = trigger.shares
    if trigger.price_cents is not None:
        document["price"] = trigger.price_cents
    if trigger.transaction is not None:
        document["tx"] = trigger.transaction
    return document


def entry_document(entry: Entry, write_id: bytes, server: str) -> Document:
    """Return an entry as stored in `open` and in the journal, without its empty fields."""
    document: Document = {
        "at": entry.timestamp_ms,
        "tx": entry.transaction,
        "cmd": entry.command,
        "sym": entry.symbol,
        "amt": entry.amount_cents,
        "file": entry.filename,
        "all": entry.of_all or None,
        "key": entry.key,
        "ord": entry.order,
        "giv": entry.funds,
        "id": write_id,
        "out": None if entry.outcome == OK else entry.outcome,
        "msg": entry.message,
        "cash": entry.cash_cents,
        "srv": server,
        "ev": [_event_document(event) for event in entry.events] or None,
        "res": _packed(entry.result) if entry.result and _is_result_kept(entry) else None,
    }
    return {name: value for name, value in document.items() if value is not None}


def entry_from_document(document: Mapping[str, Any]) -> Entry:
    """Return the entry that `entry_document` made."""
    command = document.get("cmd")
    return Entry(
        transaction=document["tx"],
        timestamp_ms=document["at"],
        command=None if command is None else CommandName(command),
        symbol=document.get("sym"),
        amount_cents=document.get("amt"),
        filename=document.get("file"),
        of_all=document.get("all", False),
        key=document.get("key"),
        outcome=document.get("out", OK),
        message=document.get("msg"),
        cash_cents=document["cash"],
        events=tuple(_event_from(event) for event in document.get("ev", ())),
        result=_unpacked(document.get("res")),
        order=document.get("ord"),
        funds=document.get("giv"),
    )


def _is_result_kept(entry: Entry) -> bool:
    """Return whether a result will be needed again: for a repeated request, or for the account's history."""
    return entry.key is not None or entry.command in EXPLAINED_BY_RESULT


def _packed(result: Mapping[str, Any]) -> Document | Binary:
    if not any(isinstance(value, list | dict) for value in result.values()):
        return dict(result)  # without nested parts it is short: there is no need to measure it
    text = json.dumps(result, separators=(",", ":"))
    if len(text) <= LARGE_RESULT_BYTES:
        return dict(result)
    return Binary(zlib.compress(text.encode(), level=1))


def _unpacked(stored: Any) -> Mapping[str, Any]:
    if isinstance(stored, bytes):
        result: Mapping[str, Any] = json.loads(zlib.decompress(stored))
        return result
    return dict(stored) if stored else {}


def _event_document(event: Event) -> Document:
    match event:
        case CashMoved(action, cents):
            return {action: cents}
        case OrderExpired(command, transaction, symbol, value, order, shares, price):
            known = {"expired": command, "tx": transaction, "sym": symbol, "value": value}
            return known if order is None else {**known, "num": order, "n": shares, "price": price}
        case TriggerFired(command, transaction, symbol, price, shares):
            fired = {"fired": command, "tx": transaction, "sym": symbol, "price": price}
            return fired if shares is None else {**fired, "n": shares}
        case QuoteHit(quote, transaction):
            return {
                "hit": quote.symbol,
                "price": quote.price_cents,
                "user": quote.user,
                "time": quote.timestamp_ms,
                "crypto": quote.cryptokey,
                **({} if transaction is None else {"tx": transaction}),
            }


def _event_from(document: Mapping[str, Any]) -> Event:
    match document:
        case {"add": cents}:
            return CashMoved("add", cents)
        case {"remove": cents}:
            return CashMoved("remove", cents)
        case {"expired": command, "tx": transaction, "sym": symbol, "value": value}:
            number, shares, price = document.get("num"), document.get("n"), document.get("price")
            return OrderExpired(CommandName(command), transaction, symbol, value, number, shares, price)
        case {"fired": command, "tx": transaction, "sym": symbol, "price": price}:
            return TriggerFired(CommandName(command), transaction, symbol, price, document.get("n"))
        case {"hit": symbol, "price": price, "user": user, "time": time, "crypto": crypto}:
            return QuoteHit(Quote(symbol, price, user, time, crypto), document.get("tx"))
    raise ValueError(f"not an event: {dict(document)}")
