"""Triggers, edge by edge (docs/rules.md section 5), and what the system writes when they fire or an order runs out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.account import Account, BuyTrigger, SellTrigger
from chalicelib.domain.commands import CommandName
from chalicelib.domain.journal import CashMoved, OrderExpired, Origin, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.domain.system import note_hit, settle
from chalicelib.domain.triggers import fire_due_triggers
from chalicelib.store.documents import new_state
from chalicelib.store.key_filter import KeyFilter
from tests.unit.trader import Trader


def buyer(amount: str, price: str) -> Trader:
    """Return a trader whose 100.00 have gone into a buy trigger as far as `amount`; its number is 3."""
    trader = Trader()
    trader.does("ADD", amount="100.00")
    trader.does("SET_BUY_AMOUNT", "ABC", amount)
    assert trader.does("SET_BUY_TRIGGER", "ABC", price).outcome == "ok"
    return trader


def seller(amount: str, price: str) -> Trader:
    """Return a trader with 20 shares of ABC and a sell trigger on them; its number is 5."""
    trader = Trader()
    trader.does("ADD", amount="200.00")
    trader.does("BUY", "ABC", "200.00")
    trader.does("COMMIT_BUY")
    trader.does("SET_SELL_AMOUNT", "ABC", amount)
    assert trader.does("SET_SELL_TRIGGER", "ABC", price).outcome == "ok"
    return trader


def fires(trader: Trader, quote_cents: int) -> bool:
    """Let the system act at a quote of ABC; tell whether it did anything."""
    decision = settle(trader.account, {"ABC": quote_cents}, trader.now_ms)
    if decision is None:
        return False
    trader.account = decision.account
    trader.entries.append(decision.entry)
    return True


@pytest.mark.parametrize(("quote", "fired"), [(1001, False), (1000, True), (999, True)])
def test_a_buy_fires_at_its_price_and_below(quote: int, fired: bool) -> None:
    assert fires(buyer("50.00", "10.00"), quote) is fired


@pytest.mark.parametrize(("quote", "fired"), [(1199, False), (1200, True), (1201, True)])
def test_a_sell_fires_at_its_price_and_above(quote: int, fired: bool) -> None:
    assert fires(seller("50.00", "12.00"), quote) is fired


def test_a_buy_takes_whole_shares_and_gives_the_rest_back() -> None:
    trader = buyer("50.00", "10.00")
    assert fires(trader, 980)
    assert trader.account == Account("jane", cash_cents=5000 + 100, holdings={"ABC": 5}, cost_cents={"ABC": 4900})
    assert trader.entries[-1].events == (
        TriggerFired(CommandName.SET_BUY_TRIGGER, 3, "ABC", 980, 5),
        CashMoved("add", 100),
    )


def test_a_buy_that_leaves_no_rest_moves_no_cash() -> None:
    trader = buyer("50.00", "10.00")
    assert fires(trader, 1000)
    assert (trader.account.cash_cents, trader.account.holdings) == (5000, {"ABC": 5})
    assert trader.entries[-1].events == (TriggerFired(CommandName.SET_BUY_TRIGGER, 3, "ABC", 1000, 5),)


def test_a_sell_takes_in_whole_shares_at_the_quote() -> None:
    trader = seller("50.00", "12.00")
    assert trader.account.holdings == {"ABC": 16}
    assert fires(trader, 1200)
    assert trader.account == Account(
        "jane", cash_cents=4800, holdings={"ABC": 16}, cost_cents={"ABC": 16000}, realised_cents=800
    )
    assert trader.entries[-1].events == (
        TriggerFired(CommandName.SET_SELL_TRIGGER, 5, "ABC", 1200, 4),
        CashMoved("add", 4800),
    )


def test_a_sell_at_a_higher_quote_gives_reserved_shares_back() -> None:
    trader = seller("50.00", "12.00")  # reserves 4
    assert fires(trader, 2000)  # sells 2
    assert trader.account == Account(
        "jane", cash_cents=4000, holdings={"ABC": 18}, cost_cents={"ABC": 18000}, realised_cents=2000
    )


def test_a_sell_of_all_shares_leaves_no_holding_of_zero() -> None:
    trader = seller("240.00", "12.00")
    assert fires(trader, 1200)
    assert trader.account == Account("jane", cash_cents=24000, realised_cents=4000)


def test_a_buy_of_less_than_a_share_waits() -> None:
    trader = buyer("9.00", "10.00")
    assert not fires(trader, 1000)
    assert not fires(trader, 901)
    assert fires(trader, 900)


def test_a_sell_of_less_than_a_share_waits() -> None:
    trader = seller("20.00", "12.00")
    assert not fires(trader, 2001)
    assert fires(trader, 2000)


def test_a_trigger_without_a_price_never_fires() -> None:
    trader = Trader()
    trader.does("ADD", amount="300.00")
    trader.does("BUY", "ABC", "200.00")
    trader.does("COMMIT_BUY")
    trader.does("SET_BUY_AMOUNT", "ABC", "50.00")
    trader.does("SET_SELL_AMOUNT", "ABC", "50.00")
    assert not fires(trader, 1)
    assert not fires(trader, 5000)


def test_a_buy_amount_replaced_after_the_price_was_set_is_the_one_that_fires() -> None:
    trader = buyer("9.00", "10.00")
    trader.does("SET_BUY_AMOUNT", "ABC", "30.00")
    assert fires(trader, 1000)
    assert (trader.account.cash_cents, trader.account.holdings) == (7000, {"ABC": 3})


def test_a_sell_amount_replaced_after_the_price_was_set_is_the_one_that_fires() -> None:
    trader = seller("50.00", "12.00")
    trader.does("SET_SELL_AMOUNT", "ABC", "24.00")
    assert fires(trader, 1200)
    assert (trader.account.cash_cents, trader.account.holdings) == (2400, {"ABC": 18})


def test_a_fired_trigger_is_gone() -> None:
    trader = buyer("50.00", "10.00")
    assert fires(trader, 1000)
    assert not fires(trader, 1000)
    assert trader.does("CANCEL_SET_BUY", "ABC").outcome == "no_buy_amount"


def test_a_cancelled_trigger_does_not_fire() -> None:
    trader = seller("50.00", "12.00")
    trader.does("CANCEL_SET_SELL", "ABC")
    assert not fires(trader, 1200)


def test_all_due_triggers_of_an_account_fire_in_one_entry_each_under_its_own_number() -> None:
    trader = seller("50.00", "12.00")
    trader.does("ADD", amount="100.00")
    trader.does("SET_BUY_AMOUNT", "XYZ", "55.00")
    trader.does("SET_BUY_TRIGGER", "XYZ", "20.00")
    decision = settle(trader.account, {"ABC": 1200, "XYZ": 1000}, trader.now_ms)
    assert decision is not None
    assert (decision.entry.transaction, decision.entry.origin) == (8, Origin.SYSTEM)
    assert decision.entry.events == (
        TriggerFired(CommandName.SET_BUY_TRIGGER, 8, "XYZ", 1000, 5),
        CashMoved("add", 500),
        TriggerFired(CommandName.SET_SELL_TRIGGER, 5, "ABC", 1200, 4),
        CashMoved("add", 4800),
    )


def test_symbols_that_are_due_at_once_fire_in_their_order_buys_before_sells() -> None:
    symbols = ("XYZ", "ABC", "MNO")
    account = Account(
        "jane",
        buy_triggers={symbol: BuyTrigger(1000, 1000, 5) for symbol in symbols},
        sell_triggers={symbol: SellTrigger(1000, 1000, 1, 6) for symbol in symbols},
    )
    _, events = fire_due_triggers(account, dict.fromkeys(("MNO", "XYZ", "ABC"), 1000))
    fired = [(event.command, event.symbol) for event in events if isinstance(event, TriggerFired)]
    in_order = sorted(symbols)
    assert fired == [(CommandName.SET_BUY_TRIGGER, symbol) for symbol in in_order] + [
        (CommandName.SET_SELL_TRIGGER, symbol) for symbol in in_order
    ]


@pytest.mark.parametrize(("waited", "given_back"), [(59_999, False), (60_000, False), (60_001, True)])
def test_an_order_is_valid_up_to_its_sixtieth_second(waited: int, given_back: bool) -> None:
    trader = Trader()
    trader.does("ADD", amount="100.00")
    trader.does("BUY", "ABC", "30.00")
    decision = settle(trader.account, {}, trader.waits(waited).now_ms)
    assert (decision is not None) is given_back
    if decision is not None:
        assert decision.account == Account("jane", cash_cents=10000)
        assert decision.entry.events == (OrderExpired(CommandName.BUY, 2, "ABC", 3000, 2, 3, 1000),)


def test_an_expiry_and_a_firing_share_an_entry_and_keep_their_numbers() -> None:
    trader = buyer("50.00", "10.00")
    trader.does("BUY", "XYZ", "20.00")
    decision = settle(trader.account, {"ABC": 990}, trader.waits(60_001).now_ms)
    assert decision is not None
    assert decision.account == Account("jane", cash_cents=5000 + 50, holdings={"ABC": 5}, cost_cents={"ABC": 4950})
    assert decision.entry.transaction == 3
    assert decision.entry.events == (
        OrderExpired(CommandName.BUY, 4, "XYZ", 2000, 4, 2, 1000),
        TriggerFired(CommandName.SET_BUY_TRIGGER, 3, "ABC", 990, 5),
        CashMoved("add", 50),
    )


def test_a_hit_on_the_source_is_noted_under_the_number_of_the_trigger_it_was_for() -> None:
    trader = buyer("50.00", "10.00")
    quote = Quote("ABC", 1500, "jane", 7, "key")
    decision = note_hit(quote, 3, trader.account, trader.now_ms)
    assert decision.account == trader.account
    assert (decision.entry.events, decision.entry.transaction) == ((QuoteHit(quote),), 3)
    assert decision.entry.origin is Origin.SYSTEM


CENTS = st.integers(1, 40)
BUYS = st.builds(BuyTrigger, CENTS, st.none() | CENTS, st.just(1))
SELLS = st.builds(lambda amount, price: SellTrigger(amount, price, amount // price, 2), CENTS, CENTS)


@given(
    buys=st.dictionaries(st.sampled_from("AB"), BUYS),
    sells=st.dictionaries(st.sampled_from("AB"), SELLS),
    quote=CENTS,
)
def test_the_index_keys_say_exactly_when_a_trigger_fires(
    buys: dict[str, BuyTrigger], sells: dict[str, SellTrigger], quote: int
) -> None:
    """A key too many would be looked at in every sweep, for ever; one too few would never fire."""
    account = Account("jane", buy_triggers=buys, sell_triggers=sells)
    armed = new_state(account, [], last_ms=0, keys=KeyFilter())["armed"]
    for symbol in "AB":
        found = sum(key["sym"] == symbol and key["from"] <= quote <= key["to"] for key in armed)
        _, events = fire_due_triggers(account, {symbol: quote})
        assert found == sum(isinstance(event, TriggerFired) for event in events)
