"""How far an account can grow, and what can come back to it all the same (docs/rules.md section 3)."""

from dataclasses import replace

import pytest

from chalicelib.domain.account import Account, BuyTrigger, SellTrigger
from chalicelib.domain.journal import Entry
from chalicelib.domain.limits import MAX_INTEGER, AccountLimits
from chalicelib.domain.triggers import fire_due_triggers
from tests.unit.trader import Trader

FEW = AccountLimits(orders=2, triggers=2, holdings=3)


def trader(limits: AccountLimits = FEW) -> Trader:
    """Return a trader with 1000.00 in cash and 10 shares of ABC."""
    one = Trader(limits=limits)
    one.does("ADD", amount="1100.00")
    one.does("BUY", "ABC", "100.00")
    one.does("COMMIT_BUY")
    return one


def rejection(one: Trader, entry: Entry) -> tuple[str, str | None]:
    """Return code and message of a rejection, having seen that nothing changed."""
    assert (entry.events, entry.cash_cents) == ((), one.account.cash_cents)
    return entry.outcome, entry.message


def test_one_order_too_many_is_rejected_whatever_its_side_until_one_is_gone() -> None:
    one = trader()
    assert [one.does("BUY", "ABC", "10.00").outcome, one.does("SELL", "ABC", "10.00").outcome] == ["ok", "ok"]
    before = one.account
    for side in ("BUY", "SELL"):
        entry = one.does(side, "ABC", "10.00")
        assert rejection(one, entry) == ("too_many_orders", "has 2 pending orders, may have 2")
        assert one.account == before
    assert one.does("CANCEL_SELL").outcome == "ok"
    assert one.does("BUY", "ABC", "10.00").outcome == "ok"


def test_orders_that_have_run_out_make_room() -> None:
    one = trader()
    for _ in range(2):
        one.does("BUY", "ABC", "10.00")
    assert one.does("BUY", "ABC", "10.00").outcome == "too_many_orders"
    assert one.waits(60_001).does("BUY", "ABC", "10.00").outcome == "ok"


def test_what_the_rules_say_comes_before_the_limits() -> None:
    one = trader()
    for _ in range(2):
        one.does("BUY", "ABC", "10.00")
    assert one.does("BUY", "ABC", "1.00").outcome == "amount_below_price"
    assert one.does("BUY", "ABC", "5000.00").outcome == "insufficient_funds"
    assert one.does("SELL", "XYZ", "10.00").outcome == "insufficient_shares"


def test_one_trigger_too_many_is_rejected_and_those_that_are_there_can_be_changed() -> None:
    one = trader()
    assert [one.does(f"SET_{side}_AMOUNT", "ABC", "20.00").outcome for side in ("BUY", "SELL")] == ["ok", "ok"]
    entry = one.does("SET_BUY_AMOUNT", "XYZ", "20.00")
    assert rejection(one, entry) == ("too_many_triggers", "has 2 triggers, may have 2")
    assert one.does("SET_BUY_AMOUNT", "ABC", "30.00").outcome == "ok"
    assert one.does("SET_SELL_TRIGGER", "ABC", "15.00").outcome == "ok"
    assert one.does("CANCEL_SET_SELL", "ABC").outcome == "ok"
    assert one.does("SET_BUY_AMOUNT", "XYZ", "20.00").outcome == "ok"


def test_one_symbol_too_many_is_rejected_wherever_the_others_stand() -> None:
    one = trader()
    assert one.does("BUY", "B", "10.00").outcome == "ok"
    assert one.does("SET_BUY_AMOUNT", "C", "10.00").outcome == "ok"
    for name in ("BUY", "SET_BUY_AMOUNT"):
        entry = one.does(name, "D", "10.00")
        message = "holds, or has orders or triggers for, 3 symbols, may have 3"
        assert rejection(one, entry) == ("too_many_holdings", message)
    assert one.does("COMMIT_BUY").outcome == "ok", "a symbol that was counted when it was ordered is not counted again"
    assert one.does("CANCEL_SET_BUY", "C").outcome == "ok"
    assert one.does("BUY", "D", "10.00").outcome == "ok"


def test_an_account_past_a_limit_that_was_lowered_can_shrink_and_be_used() -> None:
    one = trader(AccountLimits())
    for symbol in ("A", "B", "C"):
        one.does("BUY", symbol, "10.00")
        one.does("SET_BUY_AMOUNT", symbol, "10.00")
    one.limits = AccountLimits(orders=1, triggers=1, holdings=1)
    assert one.does("BUY", "A", "10.00").outcome == "too_many_orders"
    assert one.does("SET_BUY_AMOUNT", "D", "10.00").outcome == "too_many_triggers"
    assert one.does("ADD", amount="1.00").outcome == "ok"
    assert [one.does(name).outcome for name in ("COMMIT_BUY", "CANCEL_BUY")] == ["ok", "ok"]
    assert one.does("SET_BUY_AMOUNT", "A", "11.00").outcome == "ok"
    assert one.does("CANCEL_SET_BUY", "A").outcome == "ok"


@pytest.mark.parametrize("reserved", [0, 5_00])
def test_cash_ends_where_the_database_can_hold_no_more_and_what_is_reserved_counts(reserved: int) -> None:
    one = Trader(Account("jane", cash_cents=MAX_INTEGER - 100))
    if reserved:
        assert one.does("SET_BUY_AMOUNT", "ABC", "5.00").outcome == "ok"
    before = one.account
    entry = one.does("ADD", amount="1.01")
    assert entry.outcome == "cash_limit"
    assert entry.message is not None
    assert "would be 92233720368547758.08, the most is 92233720368547758.07" in entry.message
    assert one.account == before
    assert one.does("ADD", amount="1.00").outcome == "ok"
    if reserved:
        assert one.does("CANCEL_SET_BUY", "ABC").outcome == "ok"
    assert one.account.cash_cents == MAX_INTEGER


def test_an_account_full_of_cash_gets_back_what_is_its_own() -> None:
    one = Trader(Account("jane", cash_cents=MAX_INTEGER))
    for _ in range(2):
        assert one.does("BUY", "ABC", "10.00").outcome == "ok"
    assert one.does("ADD", amount="0.01").outcome == "cash_limit"
    assert one.does("CANCEL_BUY").outcome == "ok"
    assert one.waits(60_001).does("QUOTE", "ABC").outcome == "ok"
    assert one.account.cash_cents == MAX_INTEGER


def test_a_sale_that_the_cash_has_no_room_for_is_rejected_and_its_shares_come_back() -> None:
    one = Trader(Account("jane", cash_cents=MAX_INTEGER, holdings={"ABC": 3}))
    assert one.does("SELL", "ABC", "30.00").outcome == "ok"
    assert one.does("COMMIT_SELL").outcome == "cash_limit"
    assert one.does("CANCEL_SELL").outcome == "ok"
    assert one.account.holdings == {"ABC": 3}


def test_shares_end_where_the_database_can_hold_no_more_and_those_in_orders_count() -> None:
    one = Trader(Account("jane", cash_cents=100_00, holdings={"ABC": MAX_INTEGER}))
    assert one.does("SELL", "ABC", "50.00").outcome == "ok"
    assert one.does("BUY", "ABC", "10.00").outcome == "ok"
    entry = one.does("COMMIT_BUY")
    assert rejection(one, entry) == (
        "too_many_holdings",
        f"would hold {MAX_INTEGER + 1} ABC, the most is {MAX_INTEGER}",
    )
    assert one.does("CANCEL_SELL").outcome == "ok"
    assert one.account.holdings == {"ABC": MAX_INTEGER}


def test_costs_and_gains_end_there_too() -> None:
    one = Trader(Account("jane", cash_cents=100_00, holdings={"ABC": 9}, cost_cents={"ABC": MAX_INTEGER}))
    one.does("BUY", "ABC", "10.00")
    assert one.does("COMMIT_BUY").outcome == "cash_limit"
    one.account = replace(one.account, cost_cents={"ABC": 0}, realised_cents=MAX_INTEGER)
    one.does("SELL", "ABC", "10.00")
    assert one.does("COMMIT_SELL").outcome == "cash_limit"


def test_a_trigger_that_the_account_has_no_room_for_waits_and_the_others_fire() -> None:
    sells = {symbol: SellTrigger(20_00, 10_00, 2, 7) for symbol in ("ABC", "XYZ")}
    account = Account("jane", cash_cents=MAX_INTEGER - 30_00, sell_triggers=sells)
    after, events = fire_due_triggers(account, {"ABC": 10_00, "XYZ": 10_00})
    assert (list(after.sell_triggers), after.cash_cents, len(events)) == (["XYZ"], MAX_INTEGER - 10_00, 2)
    buys = {"ABC": BuyTrigger(20_00, 10_00, 7)}
    full = Account("jane", holdings={"ABC": MAX_INTEGER - 1}, buy_triggers=buys)
    assert fire_due_triggers(full, {"ABC": 10_00}) == (full, ())


def test_commands_that_change_nothing_meet_no_limit() -> None:
    one = trader()
    one.limits = AccountLimits(orders=1, triggers=1, holdings=1)
    one.account = replace(one.account, cash_cents=MAX_INTEGER + 1)
    for name, symbol in (("QUOTE", "ABC"), ("DISPLAY_SUMMARY", None), ("DUMPLOG", None)):
        assert one.does(name, symbol).outcome == "ok"
