"""The form of the documents: what is in a database already must be read by every build of this version of the data."""

from dataclasses import replace
from typing import Any

import bson
import pytest

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import UnknownDataVersionError
from chalicelib.domain.journal import CashMoved, Entry, Event, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.store.documents import (
    LARGE_RESULT_BYTES,
    STATE,
    account_document,
    account_from_state,
    changed_fields,
    entry_document,
    entry_from_document,
    new_state,
    state_of,
)
from chalicelib.store.key_filter import KeyFilter

BUY = PendingOrder(11, "ABC", 2, 1000, 2000, 1_700_000_060_000, 7)
SELL = PendingOrder(12, "XYZ", 3, 500, 1500, 1_700_000_050_000, 8)
ACCOUNT = Account(
    "jane",
    cash_cents=5_000,
    holdings={"ABC": 4},
    pending_buys=(BUY,),
    pending_sells=(SELL,),
    buy_triggers={"DEF": BuyTrigger(900, 400, 13), "GHI": BuyTrigger(700), "LOW": BuyTrigger(300, 400, 15)},
    sell_triggers={"JKL": SellTrigger(800, 200, 4, 14), "MNO": SellTrigger(600)},
    cost_cents={"ABC": 3_900},
    realised_cents=-25,
)
ORDERS = {
    "pending_buys": [
        {"tx": 11, "sym": "ABC", "n": 2, "price": 1000, "value": 2000, "until": BUY.expires_at_ms, "num": 7}
    ],
    "pending_sells": [
        {"tx": 12, "sym": "XYZ", "n": 3, "price": 500, "value": 1500, "until": SELL.expires_at_ms, "num": 8}
    ],
}
ARMED = [
    {"sym": "DEF", "from": 0, "to": 400},
    {"sym": "LOW", "from": 0, "to": 300},
    {"sym": "JKL", "from": 200, "to": 800},
]
FIELDS = {
    "cash": 5_000,
    "holdings": {"ABC": 4},
    "cost": {"ABC": 3_900},
    "realised": -25,
    **ORDERS,
    "buy_triggers": {
        "DEF": {"amount": 900, "price": 400, "tx": 13},
        "GHI": {"amount": 700},
        "LOW": {"amount": 300, "price": 400, "tx": 15},
    },
    "sell_triggers": {"JKL": {"amount": 800, "n": 4, "price": 200, "tx": 14}, "MNO": {"amount": 600, "n": 0}},
    "armed": ARMED,
    "next_expiry": SELL.expires_at_ms,
}
ENTRY = Entry(
    transaction=21,
    timestamp_ms=1_700_000_000_000,
    command=CommandName.BUY,
    symbol="ABC",
    amount_cents=2_000,
    filename=None,
    of_all=False,
    key="key",
    outcome="ok",
    message=None,
    cash_cents=5_000,
    events=(),
    result={"order": 7, "shares": 2},
)


def state(account: Account, *entries: bytes, open_from: int = 1) -> dict[str, Any]:
    return dict(new_state(account, entries, last_ms=9, keys=KeyFilter(), open_from=open_from))


def test_a_new_state_has_the_form_that_is_in_every_database() -> None:
    entries = [bson.encode({"at": number}) for number in range(3)]
    made = state(ACCOUNT, *entries, open_from=65)
    journal = {"version": 67, "last_at": 9, "open_from": 65, "open_bytes": sum(map(len, entries))}
    assert [dict(entry) for entry in made.pop("open")] == [{"at": 0}, {"at": 1}, {"at": 2}]
    assert {name: made.pop(name) for name in journal} == journal
    assert made == {**FIELDS, **KeyFilter().fields()}


def test_money_and_times_are_stored_as_64_bits_however_small_they_are() -> None:
    stored = state(ACCOUNT)
    cells = [stored["cash"], stored["realised"], stored["cost"]["ABC"], stored["next_expiry"]]
    cells += [order[name] for order in (*stored["pending_buys"], *stored["pending_sells"]) for name in ("tx", "until")]
    assert {type(cell) for cell in cells} == {bson.Int64}


def test_an_account_is_read_as_it_was_written() -> None:
    assert account_from_state("jane", state(ACCOUNT)) == ACCOUNT
    assert account_from_state("john", state(Account("john"))) == Account("john")
    assert "next_expiry" not in state(Account("john"))


def test_an_account_of_a_build_without_costs_and_order_numbers_is_read() -> None:
    older = {name: value for name, value in state(ACCOUNT).items() if name not in {"cost", "realised"}}
    older["pending_buys"] = [{name: value for name, value in ORDERS["pending_buys"][0].items() if name != "num"}]
    read = account_from_state("jane", older)
    assert read == replace(ACCOUNT, cost_cents={}, realised_cents=0, pending_buys=(replace(BUY, number=0),))


def test_a_document_names_its_version_and_one_of_another_is_refused() -> None:
    document = account_document("jane", {"cash": 1})
    assert document == {"_id": "jane", STATE: [{"cash": 1}]}
    assert state_of(document) == {"cash": 1}
    with pytest.raises(UnknownDataVersionError):
        state_of({"_id": "jane", "cash": 1})


@pytest.mark.parametrize(
    ("after", "operators"),
    [
        (ACCOUNT, {}),
        (replace(ACCOUNT, cash_cents=1), {"$set": {"cash": 1}}),
        (replace(ACCOUNT, realised_cents=5), {"$set": {"realised": 5}}),
        (replace(ACCOUNT, holdings={"ABC": 5, "NEW": 1}), {"$set": {"holdings.ABC": 5, "holdings.NEW": 1}}),
        (replace(ACCOUNT, holdings={}, cost_cents={}), {"$unset": {"holdings.ABC": "", "cost.ABC": ""}}),
        (replace(ACCOUNT, cost_cents={"ABC": 1}), {"$set": {"cost.ABC": 1}}),
        (
            replace(ACCOUNT, pending_buys=(BUY, SELL)),
            {"$set": {"pending_buys.1": ORDERS["pending_sells"][0]}},
        ),
        (replace(ACCOUNT, pending_buys=()), {"$pop": {"pending_buys": 1}}),
        (
            replace(ACCOUNT, pending_sells=()),
            {"$pop": {"pending_sells": 1}, "$set": {"next_expiry": BUY.expires_at_ms}},
        ),
        (
            replace(ACCOUNT, pending_sells=(BUY,)),
            {"$set": {"pending_sells": ORDERS["pending_buys"], "next_expiry": BUY.expires_at_ms}},
        ),
        (
            replace(ACCOUNT, pending_buys=(), pending_sells=()),
            {"$pop": {"pending_buys": 1, "pending_sells": 1}, "$unset": {"next_expiry": ""}},
        ),
        (
            replace(ACCOUNT, buy_triggers={**ACCOUNT.buy_triggers, "GHI": BuyTrigger(700, 90, 16)}),
            {
                "$set": {
                    "buy_triggers.GHI": {"amount": 700, "price": 90, "tx": 16},
                    "armed": [ARMED[0], {"sym": "GHI", "from": 0, "to": 90}, *ARMED[1:]],
                }
            },
        ),
        (
            replace(ACCOUNT, buy_triggers={**ACCOUNT.buy_triggers, "DEF": BuyTrigger(500, 70, 11)}),
            {
                "$set": {
                    "buy_triggers.DEF": {"amount": 500, "price": 70, "tx": 11},
                    "armed.0": {"sym": "DEF", "from": 0, "to": 70},
                }
            },
        ),
        (
            replace(ACCOUNT, buy_triggers={**ACCOUNT.buy_triggers, "LOW": BuyTrigger(250, 400, 15)}),
            {
                "$set": {
                    "buy_triggers.LOW": {"amount": 250, "price": 400, "tx": 15},
                    "armed.1": {"sym": "LOW", "from": 0, "to": 250},
                }
            },
        ),
        (
            replace(ACCOUNT, sell_triggers={**ACCOUNT.sell_triggers, "JKL": SellTrigger(800, 300, 2, 16)}),
            {
                "$set": {
                    "sell_triggers.JKL": {"amount": 800, "n": 2, "price": 300, "tx": 16},
                    "armed.2": {"sym": "JKL", "from": 300, "to": 800},
                }
            },
        ),
        (
            replace(ACCOUNT, buy_triggers={**ACCOUNT.buy_triggers, "DEF": BuyTrigger(900, 400, 17)}),
            {"$set": {"buy_triggers.DEF": {"amount": 900, "price": 400, "tx": 17}}},
        ),
        (
            replace(ACCOUNT, sell_triggers={"MNO": SellTrigger(600)}),
            {"$unset": {"sell_triggers.JKL": ""}, "$set": {"armed": ARMED[:2]}},
        ),
        (
            replace(ACCOUNT, sell_triggers={**ACCOUNT.sell_triggers, "MNO": SellTrigger(650)}),
            {"$set": {"sell_triggers.MNO": {"amount": 650, "n": 0}}},
        ),
    ],
)
def test_a_change_is_no_more_than_what_changes(after: Account, operators: dict[str, Any]) -> None:
    assert changed_fields(ACCOUNT, after) == operators


def test_an_entry_has_the_form_that_is_in_every_journal() -> None:
    assert entry_document(ENTRY, b"id", "server") == {
        "at": 1_700_000_000_000,
        "tx": 21,
        "cmd": "BUY",
        "sym": "ABC",
        "amt": 2_000,
        "key": "key",
        "id": b"id",
        "cash": 5_000,
        "srv": "server",
        "res": {"order": 7, "shares": 2},
    }


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY,
        replace(ENTRY, command=None, key=None, result={}),
        replace(ENTRY, outcome="insufficient_funds", message="needs 280.00, has 12.50", result={}, order=5),
        replace(ENTRY, command=CommandName.DUMPLOG, symbol=None, filename="log.xml", of_all=True, funds="12.505"),
    ],
)
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert entry_from_document(entry_document(entry, b"id", "server")) == entry


EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (CashMoved("add", 5), {"add": 5}),
    (CashMoved("remove", 6), {"remove": 6}),
    (OrderExpired(CommandName.BUY, 1, "A", 2), {"expired": "BUY", "tx": 1, "sym": "A", "value": 2}),
    (
        OrderExpired(CommandName.SELL, 1, "A", 2, 3, 4, 5),
        {"expired": "SELL", "tx": 1, "sym": "A", "value": 2, "num": 3, "n": 4, "price": 5},
    ),
    (
        TriggerFired(CommandName.SET_BUY_TRIGGER, 1, "A", 2),
        {"fired": "SET_BUY_TRIGGER", "tx": 1, "sym": "A", "price": 2},
    ),
    (
        TriggerFired(CommandName.SET_SELL_TRIGGER, 1, "A", 2, 3),
        {"fired": "SET_SELL_TRIGGER", "tx": 1, "sym": "A", "price": 2, "n": 3},
    ),
    (
        QuoteHit(Quote("A", 2, "jane", 3, "crypto")),
        {"hit": "A", "price": 2, "user": "jane", "time": 3, "crypto": "crypto"},
    ),
    (
        QuoteHit(Quote("A", 2, "jane", 3, "crypto"), 9),
        {"hit": "A", "price": 2, "user": "jane", "time": 3, "crypto": "crypto", "tx": 9},
    ),
]


@pytest.mark.parametrize(("event", "document"), EVENTS)
def test_an_event_has_one_form_and_is_read_as_it_was_written(event: Event, document: dict[str, Any]) -> None:
    stored = entry_document(replace(ENTRY, events=(event,)), b"id", "server")
    assert stored["ev"] == [document]
    assert entry_from_document(stored).events == (event,)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        entry_from_document({**entry_document(ENTRY, b"id", "server"), "ev": [{"moved": 5}]})


def test_a_result_is_kept_where_it_is_wanted_again() -> None:
    """By a repeated request, which has a key, or for what the events of a command are told from."""
    quote = replace(ENTRY, command=CommandName.QUOTE, key=None)
    assert "res" not in entry_document(quote, b"id", "server")
    assert "res" in entry_document(replace(quote, key="key"), b"id", "server")
    assert "res" in entry_document(replace(ENTRY, key=None), b"id", "server")


@pytest.mark.parametrize(("length", "is_packed"), [(LARGE_RESULT_BYTES - 18, False), (LARGE_RESULT_BYTES - 17, True)])
def test_a_large_result_with_parts_is_compressed_and_is_read_as_it_was(length: int, is_packed: bool) -> None:
    result = {"a": ["x" * length, 1], "b": 2}
    stored = entry_document(replace(ENTRY, result=result), b"id", "server")
    assert isinstance(stored["res"], bytes) is is_packed
    assert entry_from_document(stored).result == result
    flat = entry_document(replace(ENTRY, result={"a": "x" * 1_000}), b"id", "server")
    assert flat["res"] == {"a": "x" * 1_000}
