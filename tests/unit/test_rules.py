"""The sixteen commands, rule by rule (docs/rules.md section 3)."""

from dataclasses import replace

import pytest

from chalicelib.domain.account import PendingOrder
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import RULES, decide
from chalicelib.domain.journal import CashMoved, OrderExpired, QuoteHit
from chalicelib.domain.quote import Quote, QuoteAnswer
from tests.unit.trader import Trader


def rich() -> Trader:
    """Return a trader with 1000.00 in cash."""
    trader = Trader()
    trader.does("ADD", amount="1000.00")
    return trader


def owner(shares: int = 20) -> Trader:
    """Return a trader with 1000.00 in cash and shares of ABC bought at 10.00."""
    trader = Trader()
    trader.does("ADD", amount=f"{1000 + shares * 10}.00")
    trader.does("BUY", "ABC", f"{shares * 10}.00")
    trader.does("COMMIT_BUY")
    return trader


def test_every_command_has_a_rule() -> None:
    assert set(RULES) == set(CommandName)


def test_add_raises_the_cash() -> None:
    trader = Trader()
    entry = trader.does("ADD", amount="63511.53")
    assert (trader.account.cash_cents, entry.outcome, entry.cash_cents) == (6351153, "ok", 6351153)
    assert entry.events == (CashMoved("add", 6351153),)


def test_quote_tells_the_price_and_changes_nothing() -> None:
    trader = rich()
    before = trader.account
    trader.does("QUOTE", "ABC")
    assert trader.account == before
    assert trader.result() == {
        "symbol": "ABC",
        "price_cents": 1000,
        "timestamp": 1_000_000,
        "cryptokey": "key",
        "cached": True,
    }


def test_a_quote_from_the_source_is_an_event_and_one_from_the_cache_is_not() -> None:
    quote = Quote("ABC", 1000, "jane", 5, "key")
    command = Command(CommandName.QUOTE, "jane", 1, symbol="ABC")
    fresh = decide(Trader().account, command, QuoteAnswer(quote, cached=False), 10, 1)
    cached = decide(Trader().account, command, QuoteAnswer(quote, cached=True), 10, 1)
    assert fresh.entry.events == (QuoteHit(quote),)
    assert cached.entry.events == ()


def test_buy_takes_what_the_whole_shares_cost_and_leaves_the_rest() -> None:
    trader = rich()
    entry = trader.does("BUY", "ABC", "276.83")
    assert trader.account.cash_cents == 100000 - 27000
    assert trader.account.pending_buys == (PendingOrder(2, "ABC", 27, 1000, 27000, 1_060_000, 2),)
    assert trader.account.holdings == {}
    assert entry.events == (CashMoved("remove", 27000),)
    assert trader.result() == {
        "order": 2,
        "symbol": "ABC",
        "shares": 27,
        "price_cents": 1000,
        "cost_cents": 27000,
        "expires_at": 1_060_000,
        "cached": True,
    }


def test_buy_with_exactly_the_cash_there_is() -> None:
    trader = rich()
    assert trader.does("BUY", "ABC", "1000.00").outcome == "ok"
    assert trader.account.cash_cents == 0


@pytest.mark.parametrize(
    ("amount", "code"), [("9.99", "amount_below_price"), ("1010.00", "insufficient_funds"), ("1009.99", "ok")]
)
def test_buy_is_rejected_for_less_than_a_share_or_more_than_the_cash(amount: str, code: str) -> None:
    assert rich().does("BUY", "ABC", amount).outcome == code


def test_the_first_failing_condition_is_named() -> None:
    trader = Trader()
    assert trader.does("BUY", "ABC", "0.01").outcome == "amount_below_price"
    assert trader.does("SELL", "ABC", "0.01").outcome == "amount_below_price"


def test_commit_and_cancel_take_the_newest_order_first() -> None:
    trader = rich()
    trader.does("BUY", "AAA", "100.00")
    trader.does("BUY", "BBB", "200.00")
    trader.does("BUY", "CCC", "300.00")
    assert trader.does("COMMIT_BUY").result["symbol"] == "CCC"
    assert trader.does("CANCEL_BUY").result["symbol"] == "BBB"
    assert trader.account.holdings == {"CCC": 30}
    assert trader.account.cash_cents == 100000 - 10000 - 30000
    assert [order.symbol for order in trader.account.pending_buys] == ["AAA"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("COMMIT_BUY", "no_pending_buy"),
        ("CANCEL_BUY", "no_pending_buy"),
        ("COMMIT_SELL", "no_pending_sell"),
        ("CANCEL_SELL", "no_pending_sell"),
    ],
)
def test_commit_and_cancel_need_an_order(command: str, code: str) -> None:
    assert owner().does(command).outcome == code


def test_sell_takes_the_shares_out_and_commit_brings_the_proceeds() -> None:
    trader = owner(20)
    entry = trader.does("SELL", "ABC", "55.00")
    assert trader.account.holdings == {"ABC": 15}
    assert (entry.events, entry.result["proceeds_cents"]) == ((), 5000)
    entry = trader.does("COMMIT_SELL")
    assert trader.account.cash_cents == 105000
    assert entry.events == (CashMoved("add", 5000),)


def test_cancel_sell_gives_the_shares_back() -> None:
    trader = owner(20)
    trader.does("SELL", "ABC", "200.00")
    assert trader.account.holdings == {}
    trader.does("CANCEL_SELL")
    assert trader.account.holdings == {"ABC": 20}


def test_sell_of_more_than_there_is_is_rejected() -> None:
    assert owner(20).does("SELL", "ABC", "210.00").outcome == "insufficient_shares"
    assert owner(20).does("SELL", "XYZ", "10.00").outcome == "insufficient_shares"


def test_a_price_that_moves_does_not_touch_a_pending_order() -> None:
    trader = owner(20)
    trader.does("SELL", "ABC", "100.00")
    trader.price = "99.00"
    assert trader.does("COMMIT_SELL").result == {
        "order": 4,
        "symbol": "ABC",
        "shares": 10,
        "price_cents": 1000,
        "proceeds_cents": 10000,
    }


def test_set_buy_amount_reserves_cash_and_a_second_one_gives_the_first_back() -> None:
    trader = rich()
    trader.does("SET_BUY_AMOUNT", "ABC", "600.00")
    trader.does("SET_BUY_TRIGGER", "ABC", "5.00")
    entry = trader.does("SET_BUY_AMOUNT", "ABC", "1000.00")
    assert entry.events == (CashMoved("add", 60000), CashMoved("remove", 100000))
    assert entry.result == {"symbol": "ABC", "amount_cents": 100000, "price_cents": 500}
    assert trader.account.cash_cents == 0


def test_set_buy_amount_beyond_cash_and_old_amount_is_rejected_and_keeps_the_trigger() -> None:
    trader = rich()
    trader.does("SET_BUY_AMOUNT", "ABC", "600.00")
    assert trader.does("SET_BUY_AMOUNT", "ABC", "1000.01").outcome == "insufficient_funds"
    assert trader.account.buy_triggers["ABC"].amount_cents == 60000


def test_set_buy_trigger_needs_an_amount_and_replaces_the_price() -> None:
    trader = rich()
    assert trader.does("SET_BUY_TRIGGER", "ABC", "5.00").outcome == "no_buy_amount"
    trader.does("SET_BUY_AMOUNT", "ABC", "100.00")
    assert trader.result()["price_cents"] is None
    trader.does("SET_BUY_TRIGGER", "ABC", "5.00")
    trader.does("SET_BUY_TRIGGER", "ABC", "6.00")
    trigger = trader.account.buy_triggers["ABC"]
    assert (trigger.price_cents, trigger.transaction) == (600, 5)


def test_cancel_set_buy_gives_the_amount_back() -> None:
    trader = rich()
    assert trader.does("CANCEL_SET_BUY", "ABC").outcome == "no_buy_amount"
    trader.does("SET_BUY_AMOUNT", "ABC", "100.00")
    entry = trader.does("CANCEL_SET_BUY", "ABC")
    assert entry.result == {"symbol": "ABC", "amount_cents": 10000, "price_cents": None}
    assert (trader.account.cash_cents, trader.account.buy_triggers) == (100000, {})


def test_set_sell_amount_needs_a_share() -> None:
    assert rich().does("SET_SELL_AMOUNT", "ABC", "10.00").outcome == "insufficient_shares"
    assert owner(1).does("SET_SELL_AMOUNT", "ABC", "999.00").outcome == "ok"


def test_set_sell_trigger_reserves_the_shares_and_again_gives_them_back_first() -> None:
    trader = owner(20)
    trader.does("SET_SELL_AMOUNT", "ABC", "200.00")
    assert trader.account.holdings == {"ABC": 20}
    entry = trader.does("SET_SELL_TRIGGER", "ABC", "10.00")
    assert entry.result == {"symbol": "ABC", "amount_cents": 20000, "price_cents": 1000, "shares": 20}
    assert trader.account.holdings == {}
    trader.does("SET_SELL_TRIGGER", "ABC", "15.00")
    assert trader.account.holdings == {"ABC": 7}
    assert trader.account.sell_triggers["ABC"].shares == 13


@pytest.mark.parametrize(
    ("price", "code"), [("200.01", "amount_below_price"), ("9.52", "insufficient_shares"), ("200.00", "ok")]
)
def test_set_sell_trigger_is_rejected_in_the_order_of_the_table(price: str, code: str) -> None:
    trader = owner(20)
    assert trader.does("SET_SELL_TRIGGER", "ABC", price).outcome == "no_sell_amount"
    trader.does("SET_SELL_AMOUNT", "ABC", "200.00")
    assert trader.does("SET_SELL_TRIGGER", "ABC", price).outcome == code


def test_set_sell_amount_works_the_reserved_shares_out_again_when_a_price_is_set() -> None:
    trader = owner(20)
    trader.does("SET_SELL_AMOUNT", "ABC", "200.00")
    trader.does("SET_SELL_TRIGGER", "ABC", "10.00")
    trader.does("SET_SELL_AMOUNT", "ABC", "50.00")
    assert (trader.account.holdings, trader.account.sell_triggers["ABC"].shares) == ({"ABC": 15}, 5)


@pytest.mark.parametrize(("amount", "code"), [("9.99", "amount_below_price"), ("210.00", "insufficient_shares")])
def test_a_rejected_set_sell_amount_leaves_the_reserved_shares_alone(amount: str, code: str) -> None:
    trader = owner(20)
    trader.does("SET_SELL_AMOUNT", "ABC", "200.00")
    trader.does("SET_SELL_TRIGGER", "ABC", "10.00")
    before = trader.account
    assert trader.does("SET_SELL_AMOUNT", "ABC", amount).outcome == code
    assert trader.account == before


def test_cancel_set_sell_gives_the_shares_back() -> None:
    trader = owner(20)
    assert trader.does("CANCEL_SET_SELL", "ABC").outcome == "no_sell_amount"
    trader.does("SET_SELL_AMOUNT", "ABC", "200.00")
    trader.does("SET_SELL_TRIGGER", "ABC", "10.00")
    entry = trader.does("CANCEL_SET_SELL", "ABC")
    assert entry.result["shares"] == 20
    assert (trader.account.holdings, trader.account.sell_triggers) == ({"ABC": 20}, {})


@pytest.mark.parametrize(("waited_ms", "outcome"), [(59_000, "ok"), (60_000, "ok"), (60_001, "no_pending_buy")])
def test_an_order_is_valid_for_sixty_seconds_and_no_longer(waited_ms: int, outcome: str) -> None:
    trader = rich()
    trader.does("BUY", "ABC", "100.00")
    assert trader.waits(waited_ms).does("COMMIT_BUY").outcome == outcome


@pytest.mark.parametrize("command", ["BUY", "SELL"])
@pytest.mark.parametrize(("waited_ms", "outcome"), [(60_000, "ok"), (60_001, "no_pending")])
def test_an_order_made_an_hour_ahead_lives_for_sixty_seconds_from_when_it_is_read(
    command: str, waited_ms: int, outcome: str
) -> None:
    """A server with a wrong clock made it; what is read counts as made now at the latest (docs/rules.md section 1)."""
    trader = owner(10)
    trader.waits(3_600_000).does(command, "ABC", "30.00")
    trader.waits(-3_600_000).does("ADD", amount="1.00")
    orders = (*trader.account.pending_buys, *trader.account.pending_sells)
    assert [order.expires_at_ms for order in orders] == [trader.now_ms + 60_000]
    assert trader.waits(waited_ms).does(f"COMMIT_{command}").outcome.startswith(outcome)


def test_an_entry_stands_behind_the_one_before_it_whatever_the_clocks() -> None:
    entry = Trader().does("ADD", amount="1.00")
    assert entry.no_earlier_than(entry.timestamp_ms - 1) is entry
    assert entry.no_earlier_than(entry.timestamp_ms + 1).timestamp_ms == entry.timestamp_ms + 1


def test_expired_buy_gives_the_cash_back_before_the_next_command_is_decided() -> None:
    trader = rich()
    trader.does("BUY", "ABC", "1000.00")
    entry = trader.waits(60_001).does("BUY", "XYZ", "500.00")
    assert entry.outcome == "ok"
    assert entry.events == (OrderExpired(CommandName.BUY, 2, "ABC", 100000, 2, 100, 1000), CashMoved("remove", 50000))
    assert trader.account.cash_cents == 50000


def test_expired_sell_gives_the_shares_back_also_when_the_command_is_rejected() -> None:
    trader = owner(20)
    trader.does("SELL", "ABC", "200.00")
    entry = trader.waits(60_001).does("COMMIT_SELL")
    assert entry.outcome == "no_pending_sell"
    assert entry.events == (OrderExpired(CommandName.SELL, 4, "ABC", 20000, 4, 20, 1000),)
    assert trader.account.holdings == {"ABC": 20}


def test_only_the_expired_order_goes() -> None:
    trader = rich()
    trader.does("BUY", "AAA", "100.00")
    trader.waits(30_000).does("BUY", "BBB", "100.00")
    trader.waits(30_001).does("QUOTE", "ABC")
    assert [order.symbol for order in trader.account.pending_buys] == ["BBB"]


def test_a_rejection_says_why_and_records_the_command() -> None:
    entry = Trader().does("BUY", "ABC", "12.00")
    assert entry.outcome == "insufficient_funds"
    assert entry.message == "needs 10.00, has 0.00"
    assert (entry.command, entry.symbol, entry.amount_cents) == (CommandName.BUY, "ABC", 1200)


def test_summary_shows_all_of_the_account_and_the_latest_twenty_commands() -> None:
    trader = owner(20)
    trader.does("SELL", "ABC", "10.00")
    trader.does("BUY", "XYZ", "20.00")
    trader.does("SET_BUY_AMOUNT", "DEF", "30.00")
    trader.does("SET_SELL_AMOUNT", "ABC", "40.00")
    for _ in range(20):
        trader.does("CANCEL_SET_BUY", "NO")
    result = trader.does("DISPLAY_SUMMARY").result
    assert result["holdings"] == {"ABC": 19}
    assert [order["cost_cents"] for order in result["pending_buys"]] == [2000]
    assert [order["proceeds_cents"] for order in result["pending_sells"]] == [1000]
    assert result["buy_triggers"] == [{"symbol": "DEF", "amount_cents": 3000, "price_cents": None}]
    assert result["sell_triggers"] == [{"symbol": "ABC", "amount_cents": 4000, "price_cents": None, "shares": 0}]
    assert [past["transaction"] for past in result["history"]] == list(range(27, 7, -1))
    assert result["history"][0] == {
        "transaction": 27,
        "timestamp": 1_000_000,
        "command": "CANCEL_SET_BUY",
        "symbol": "NO",
        "amount_cents": None,
        "outcome": "no_buy_amount",
    }


@pytest.mark.parametrize("name", ["COMMIT_BUY", "CANCEL_BUY"])
def test_a_command_that_names_the_newest_buy_takes_it(name: str) -> None:
    trader = rich()
    trader.does("BUY", "AAA", "100.00")
    newest = trader.does("BUY", "BBB", "200.00").result["order"]
    assert trader.does(name, order=newest).result["symbol"] == "BBB"


@pytest.mark.parametrize("name", ["COMMIT_BUY", "CANCEL_BUY"])
def test_a_command_that_names_an_older_buy_is_rejected_and_changes_nothing(name: str) -> None:
    trader = rich()
    older = trader.does("BUY", "AAA", "100.00").result["order"]
    trader.does("BUY", "BBB", "200.00")
    before = trader.account
    entry = trader.does(name, order=older)
    assert (entry.outcome, entry.message) == ("order_changed", "the newest pending buy is order 3, not 2")
    assert trader.account == before


@pytest.mark.parametrize("name", ["COMMIT_SELL", "CANCEL_SELL"])
def test_sells_are_named_as_buys_are(name: str) -> None:
    trader = owner(20)
    older = trader.does("SELL", "ABC", "100.00").result["order"]
    newest = trader.does("SELL", "ABC", "50.00").result["order"]
    assert trader.does(name, order=older).outcome == "order_changed"
    assert trader.does(name, order=newest).result["shares"] == 5


def test_without_a_pending_order_the_named_one_is_not_what_is_wrong() -> None:
    assert rich().does("COMMIT_BUY", order=7).outcome == "no_pending_buy"


def test_an_order_from_before_orders_had_numbers_is_never_the_one_named() -> None:
    trader = rich()
    trader.account = replace(trader.account, pending_buys=(PendingOrder(2, "ABC", 1, 1000, 1000, 1_060_000),))
    assert trader.does("COMMIT_BUY", order=2).outcome == "order_changed"
    assert trader.does("COMMIT_BUY").outcome == "ok"
