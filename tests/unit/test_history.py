"""What happened to an account, told from its journal (docs/api.md, `events`)."""

from dataclasses import replace

import pytest

from chalicelib.domain.commands import CommandName
from chalicelib.domain.history import AccountEvent, EventKind, events_of, is_trade
from chalicelib.domain.journal import Entry, OrderExpired, TriggerFired
from chalicelib.domain.system import settle
from tests.unit.trader import Trader


def told(entry: Entry) -> list[AccountEvent]:
    return list(events_of(entry, 9))


def kinds(entry: Entry) -> list[str]:
    return [str(event.kind) for event in told(entry)]


def rich() -> Trader:
    trader = Trader()
    trader.does("ADD", amount="1000.00")
    return trader


def test_added_cash_is_told_with_the_money() -> None:
    event = told(rich().entries[0])[0]
    assert event == AccountEvent(9, 0, 1_000_000, EventKind.CASH_ADDED, 1, money_cents=100_000)


def test_an_order_is_told_with_its_number_shares_price_and_money_from_start_to_end() -> None:
    trader = rich()
    for name, kind in (("BUY", "order_placed"), ("COMMIT_BUY", "order_committed")):
        entry = trader.does(name, *(("ABC", "25.00") if name == "BUY" else ()))
        event = told(entry)[0]
        assert (event.kind, event.order, event.side, event.symbol) == (kind, 2, "buy", "ABC")
        assert (event.shares, event.price_cents, event.money_cents) == (2, 1000, 2000)
    trader.does("SELL", "ABC", "10.00")
    event = told(trader.does("CANCEL_SELL"))[0]
    assert (event.kind, event.order, event.side, event.money_cents) == ("order_cancelled", 4, "sell", 1000)


def test_an_expiry_is_told_before_what_the_command_itself_did() -> None:
    trader = rich()
    trader.does("BUY", "ABC", "25.00")
    entry = trader.waits(60_001).does("ADD", amount="1.00")
    assert kinds(entry) == ["order_expired", "cash_added"]
    expired, added = told(entry)
    assert (expired.order, expired.shares, expired.price_cents, expired.money_cents) == (2, 2, 1000, 2000)
    assert (expired.place, added.place) == (0, 1)
    assert (expired.transaction, added.transaction) == (2, 3)


def test_a_trigger_is_set_once_it_has_a_price() -> None:
    trader = rich()
    assert kinds(trader.does("SET_BUY_AMOUNT", "ABC", "50.00")) == []
    event = told(trader.does("SET_BUY_TRIGGER", "ABC", "9.00"))[0]
    assert (event.kind, event.side, event.price_cents, event.money_cents) == ("trigger_set", "buy", 900, 5000)
    assert kinds(trader.does("SET_BUY_AMOUNT", "ABC", "60.00")) == ["trigger_set"]
    assert kinds(trader.does("CANCEL_SET_BUY", "ABC")) == ["trigger_cancelled"]


def test_a_firing_is_told_with_what_was_traded() -> None:
    trader = rich()
    trader.does("SET_BUY_AMOUNT", "ABC", "50.00")
    trader.does("SET_BUY_TRIGGER", "ABC", "9.00")
    decision = settle(trader.account, {"ABC": 880}, trader.now_ms)
    assert decision is not None
    event = told(decision.entry)[0]
    assert (event.kind, event.transaction, event.side) == ("trigger_fired", 3, "buy")
    assert (event.shares, event.price_cents, event.money_cents) == (5, 880, 4400)
    assert is_trade(decision.entry, 5)


@pytest.mark.parametrize("name", ["QUOTE", "DISPLAY_SUMMARY", "DUMPLOG"])
def test_looks_are_no_events(name: str) -> None:
    assert kinds(rich().does(name, "ABC" if name == "QUOTE" else None)) == []


def test_a_rejected_command_is_no_event() -> None:
    assert kinds(rich().does("BUY", "ABC", "9999.00")) == []


def test_only_what_moved_shares_is_a_trade() -> None:
    trader = rich()
    placed, committed = trader.does("BUY", "ABC", "25.00"), trader.does("COMMIT_BUY")
    assert (is_trade(placed, 2), is_trade(committed, 3)) == (False, True)


def test_an_entry_of_an_older_build_tells_what_it_knows() -> None:
    entry = rich().entries[0]
    fired = TriggerFired(CommandName.SET_SELL_TRIGGER, 4, "ABC", 900)
    expired = OrderExpired(CommandName.BUY, 3, "ABC", 2000)
    events = told(replace(entry, command=None, events=(fired, expired)))
    assert [(event.shares, event.money_cents) for event in events] == [(None, None), (None, 2000)]
    assert kinds(replace(rich().does("BUY", "ABC", "25.00"), result={})) == []
