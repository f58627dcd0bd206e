"""What is held has an average cost, and sales realise the difference (docs/rules.md section 2)."""

from dataclasses import replace

import pytest

from chalicelib.domain.account import Account
from chalicelib.domain.positions import held
from chalicelib.domain.system import settle
from tests.unit.trader import Trader


def investor(*buys: tuple[str, str]) -> Trader:
    """Return a trader with 10,000.00 who has committed buys of ABC, each an amount at a price."""
    trader = Trader()
    trader.does("ADD", amount="10000.00")
    for amount, price in buys:
        trader.price = price
        trader.does("BUY", "ABC", amount)
        trader.does("COMMIT_BUY")
    return trader


def sells(trader: Trader, amount: str, price: str) -> None:
    trader.price = price
    trader.does("SELL", "ABC", amount)
    assert trader.does("COMMIT_SELL").outcome == "ok"


def figures(trader: Trader) -> tuple[dict[str, int], int]:
    return dict(trader.account.cost_cents), trader.account.realised_cents


def test_committed_buys_add_up_to_the_cost() -> None:
    assert figures(investor(("100.00", "10.00"), ("60.00", "20.00"))) == ({"ABC": 16000}, 0)


def test_a_pending_or_cancelled_buy_costs_nothing_yet() -> None:
    trader = investor()
    trader.does("BUY", "ABC", "100.00")
    assert figures(trader) == ({}, 0)
    trader.does("CANCEL_BUY")
    assert figures(trader) == ({}, 0)


def test_a_sale_takes_its_part_of_the_cost_rounded_down() -> None:
    trader = investor(("10.00", "3.33"), ("5.00", "5.00"))  # 3 at 3.33 and 1 at 5.00: 14.99 for 4
    sells(trader, "4.00", "4.00")
    assert figures(trader) == ({"ABC": 1499 - 374}, 400 - 374)


def test_the_last_share_takes_all_that_is_left_of_the_cost() -> None:
    trader = investor(("10.00", "3.33"))
    sells(trader, "2.00", "1.00")
    sells(trader, "1.00", "1.00")
    assert figures(trader) == ({}, 300 - 999)
    assert trader.account.holdings == {}


def test_reserved_shares_belong_to_the_holding() -> None:
    trader = investor(("100.00", "10.00"))
    trader.does("SET_SELL_AMOUNT", "ABC", "40.00")
    trader.does("SET_SELL_TRIGGER", "ABC", "20.00")  # reserves 2
    trader.does("SELL", "ABC", "30.00")  # 3 are pending, and stay so
    assert held(trader.account, "ABC") == 10
    sells(trader, "20.00", "10.00")
    assert figures(trader) == ({"ABC": 8000}, 0)


def test_firing_triggers_buy_and_sell_at_their_price() -> None:
    trader = investor(("100.00", "10.00"))
    trader.does("SET_BUY_AMOUNT", "ABC", "50.00")
    trader.does("SET_BUY_TRIGGER", "ABC", "6.00")
    bought = settle(trader.account, {"ABC": 500}, trader.now_ms)
    assert bought is not None
    assert (bought.account.cost_cents, bought.account.realised_cents) == ({"ABC": 15000}, 0)
    trader.account = bought.account
    trader.does("SET_SELL_AMOUNT", "ABC", "100.00")
    trader.does("SET_SELL_TRIGGER", "ABC", "10.00")
    sold = settle(trader.account, {"ABC": 2000}, trader.now_ms)  # 5 of 20 at 20.00
    assert sold is not None
    assert (sold.account.cost_cents, sold.account.realised_cents) == ({"ABC": 15000 - 3750}, 10000 - 3750)


@pytest.mark.parametrize("more", [False, True])
def test_shares_of_unknown_cost_stay_so_until_none_is_left(more: bool) -> None:
    trader = investor()
    trader.account = replace(trader.account, holdings={"ABC": 10})
    if more:
        trader.does("BUY", "ABC", "100.00")
        trader.does("COMMIT_BUY")
    sells(trader, "50.00", "10.00")
    assert figures(trader) == ({}, 0)
    sells(trader, "150.00" if more else "50.00", "10.00")
    trader.does("BUY", "ABC", "20.00")
    trader.does("COMMIT_BUY")
    assert figures(trader) == ({"ABC": 2000}, 0)


def test_an_account_starts_without_cost_or_gain() -> None:
    assert (Account("jane").cost_cents, Account("jane").realised_cents) == ({}, 0)
