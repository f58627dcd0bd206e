"""The model rule by rule, from docs/rules.md sections 3 and 5, and what must hold for any sequence of commands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loadgen
from chalicelib.domain import account as domain_account
from chalicelib.domain.positions import after_sale, cost_with
from loadgen.verify.differences import compare_accounts
from loadgen.verify.model import Account, ImpossibleError, Order, RejectedError, Trigger
from loadgen.verify.rules import apply
from loadgen.verify.summaries import read_summary
from loadgen.workload.commands import COMMANDS, has_money
from loadgen.workload.files import Command
from loadgen.workload.syntax import form_problems, may_be_refused


def command(name: str, symbol: str | None = None, value: str | None = None, number: int = 7) -> Command:
    return Command(number, name, "jane", symbol, value)


def rejected(account: Account, asked: Command, price: int | None = None) -> str:
    """Return with which code a command is rejected, having checked that nothing changed."""
    before = account.copy()
    with pytest.raises(RejectedError) as raised:
        apply(account, asked, price)
    assert account == before
    return raised.value.code


def test_an_add_is_exact() -> None:
    account = Account(cash=5)
    assert apply(account, command("ADD", None, "63511.53")) == {"cash": 6351158}


def test_a_buy_takes_its_cost_and_leaves_the_rest() -> None:
    account = Account(cash=10_000)
    fields = apply(account, command("BUY", "abc", "27.68"), 1000, 60_000)
    assert fields == {"cash": 8_000, "symbol": "ABC", "shares": 2, "price": 1000, "cost": 2000}
    assert account.pending_buys == [Order(7, "ABC", 2, 1000, 2000, 60_000)]


def test_a_buy_needs_a_share_first_and_its_cost_then() -> None:
    assert rejected(Account(cash=0), command("BUY", "S", "9.99"), 1000) == "amount_below_price"
    assert rejected(Account(cash=1999), command("BUY", "S", "25.00"), 1000) == "insufficient_funds"
    apply(Account(cash=2000), command("BUY", "S", "25.00"), 1000)


def test_commits_and_cancels_take_the_newest_order() -> None:
    account = Account(cash=10_000, holdings={"S": 9})
    for number, price in ((1, 1000), (2, 500)):
        apply(account, command("BUY", "S", "10.00", number), price)
        apply(account, command("SELL", "S", "10.00", number), price)
    assert apply(account, command("COMMIT_BUY"))["price"] == 500
    assert apply(account, command("CANCEL_BUY")) == {
        "cash": 9_000, "symbol": "S", "shares": 1, "price": 1000, "cost": 1000,
    }  # fmt: skip
    assert apply(account, command("COMMIT_SELL"))["proceeds"] == 1000
    assert apply(account, command("CANCEL_SELL"))["shares"] == 1
    assert (account.cash, account.holdings) == (10_000, {"S": 9})
    for name, code in (("BUY", "no_pending_buy"), ("SELL", "no_pending_sell")):
        assert rejected(account, command(f"COMMIT_{name}")) == code
        assert rejected(account, command(f"CANCEL_{name}")) == code


def test_a_sell_needs_a_share_first_and_its_shares_then() -> None:
    account = Account(holdings={"S": 2})
    assert rejected(account, command("SELL", "S", "9.99"), 1000) == "amount_below_price"
    assert rejected(account, command("SELL", "S", "30.00"), 1000) == "insufficient_shares"
    assert rejected(account, command("SELL", "T", "10.00"), 1000) == "insufficient_shares"
    apply(account, command("SELL", "S", "29.99"), 1000)
    assert account.holdings == {}


def test_a_buy_amount_is_reserved_and_a_new_one_gives_the_old_one_back() -> None:
    account = Account(cash=1000)
    assert apply(account, command("SET_BUY_AMOUNT", "S", "8.00")) == {
        "cash": 200, "symbol": "S", "amount": 800, "price": None,
    }  # fmt: skip
    assert rejected(account, command("SET_BUY_AMOUNT", "S", "10.01")) == "insufficient_funds"
    assert rejected(account, command("SET_BUY_AMOUNT", "T", "2.01")) == "insufficient_funds"
    apply(account, command("SET_BUY_TRIGGER", "S", "3.00"))
    assert apply(account, command("SET_BUY_AMOUNT", "S", "10.00"))["price"] == 300
    assert account.cash == 0
    assert apply(account, command("CANCEL_SET_BUY", "S")) == {
        "cash": 1000, "symbol": "S", "amount": 1000, "price": 300,
    }  # fmt: skip
    assert rejected(account, command("SET_BUY_TRIGGER", "S", "1.00")) == "no_buy_amount"
    assert rejected(account, command("CANCEL_SET_BUY", "S")) == "no_buy_amount"


def test_a_sell_trigger_reserves_shares_when_its_price_is_set() -> None:
    account = Account(holdings={"S": 5})
    assert rejected(account, command("SET_SELL_AMOUNT", "T", "1.00")) == "insufficient_shares"
    apply(account, command("SET_SELL_AMOUNT", "S", "10.00"))
    assert account.holdings == {"S": 5}
    assert rejected(account, command("SET_SELL_TRIGGER", "S", "10.01")) == "amount_below_price"
    assert rejected(account, command("SET_SELL_TRIGGER", "S", "1.00")) == "insufficient_shares"
    assert apply(account, command("SET_SELL_TRIGGER", "S", "3.00"))["shares"] == 3
    assert account.holdings == {"S": 2}
    assert apply(account, command("SET_SELL_TRIGGER", "S", "2.00"))["shares"] == 5
    assert rejected(account, command("SET_SELL_AMOUNT", "S", "12.00")) == "insufficient_shares"
    assert rejected(account, command("SET_SELL_AMOUNT", "S", "1.99")) == "amount_below_price"
    assert apply(account, command("SET_SELL_AMOUNT", "S", "4.00"))["shares"] == 2
    assert apply(account, command("CANCEL_SET_SELL", "S"))["shares"] == 2
    assert account.holdings == {"S": 5}
    assert rejected(account, command("SET_SELL_TRIGGER", "S", "1.00")) == "no_sell_amount"
    assert rejected(account, command("CANCEL_SET_SELL", "S")) == "no_sell_amount"


def test_an_expiry_gives_back_cash_or_shares_and_only_after_its_time() -> None:
    account = Account(
        pending_buys=[Order(1, "S", 2, 1000, 2000, 500), Order(2, "S", 2, 1000, 2000, 600)],
        pending_sells=[Order(None, "T", 3, 100, 300, 500)],
    )
    with pytest.raises(ImpossibleError, match="valid until 500"):
        account.expire("BUY", 1, 2000, 500)
    with pytest.raises(ImpossibleError, match="no such order"):
        account.expire("BUY", 1, 2001, 501)
    account.expire("BUY", 1, 2000, 501)
    account.expire("SELL", 99, 300, 501)
    assert (account.cash, account.holdings) == (2000, {"T": 3})
    assert [order.transaction for order in account.pending_buys] == [2]


def test_a_buy_trigger_fires_at_or_below_its_price_and_keeps_the_rest_as_cash() -> None:
    account = Account(buy_triggers={"S": Trigger(1000, 300, 0, 7)})
    for quote, number in ((301, 7), (300, 8)):
        with pytest.raises(ImpossibleError):
            account.fire("SET_BUY_TRIGGER", number, "S", quote)
    account.fire("SET_BUY_TRIGGER", 7, "S", 300)
    assert (account.cash, account.holdings, account.buy_triggers) == (100, {"S": 3}, {})


def test_a_sell_trigger_fires_at_or_above_its_price_and_gives_back_what_it_does_not_need() -> None:
    account = Account(sell_triggers={"S": Trigger(1000, 300, 3, 7), "T": Trigger(1000, None)})
    with pytest.raises(ImpossibleError):
        account.fire("SET_SELL_TRIGGER", 7, "S", 299)
    with pytest.raises(ImpossibleError, match="no such trigger"):
        account.fire("SET_SELL_TRIGGER", 7, "T", 400)
    account.fire("SET_SELL_TRIGGER", 7, "S", 500)
    assert (account.cash, account.holdings) == (1000, {"S": 1})


def test_a_trigger_whose_amount_buys_nothing_cannot_have_fired() -> None:
    account = Account(buy_triggers={"S": Trigger(100, 300, 0, 7)})
    with pytest.raises(ImpossibleError):
        account.fire("SET_BUY_TRIGGER", 7, "S", 200)


ACCOUNT_COMMANDS = st.builds(
    lambda name, symbol, cents: Command(
        1,
        name,
        "jane",
        symbol if "symbol" in COMMANDS[name].fields else None,
        f"{cents // 100}.{cents % 100:02d}" if has_money(name) else "x",
    ),
    st.sampled_from(sorted(COMMANDS)),
    st.sampled_from(["S", "T"]),
    st.integers(1, 50_00),
)


@given(st.lists(ACCOUNT_COMMANDS, max_size=60))
def test_at_one_price_nothing_is_lost_or_made_and_nothing_is_negative(commands: list[Command]) -> None:
    account, added = Account(), 0
    for asked in commands:
        before = account.copy()
        try:
            apply(account, asked, 1000, 0)
        except RejectedError:
            assert account == before
            continue
        if asked.name == "ADD":
            added += account.cash - before.cash
        assert account.worth(1000) == added
        assert account.cash >= 0
        assert all(shares > 0 for shares in account.holdings.values())


@given(
    st.lists(ACCOUNT_COMMANDS, max_size=60),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
def test_the_verdict_at_a_price_is_what_applying_would_come_to(
    commands: list[Command], name: str, cents: int, price: int
) -> None:
    account = Account(cash=20_00)
    for asked in commands:
        try:
            apply(account, asked, 500, 0)
        except RejectedError:
            continue
    asked = command(name, "S", f"{cents // 100}.{cents % 100:02d}")
    verdict = account.verdict(asked, price)
    outcome = "ok"
    try:
        apply(account, asked, price, 0)
    except RejectedError as error:
        outcome = error.code
    assert verdict == outcome


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, set()),
        ({"value": "-1.00"}, {"invalid_amount"}),
        ({"value": "1.001"}, {"invalid_amount"}),
        ({"value": "0.00"}, {"invalid_amount"}),
        ({"value": "1000000000.01"}, {"invalid_amount"}),
        ({"symbol": "ABCD"}, {"invalid_symbol"}),
        ({"symbol": "A1"}, {"invalid_symbol"}),
        ({"user": "a b"}, {"invalid_user"}),
        ({"user": "x" * 65}, {"invalid_user"}),
        ({"user": "a b", "symbol": "ABCD", "value": "x"}, {"invalid_user", "invalid_symbol", "invalid_amount"}),
    ],
)
def test_what_is_wrong_with_the_form_of_a_command(change: dict[str, Any], codes: set[str]) -> None:
    assert form_problems(command("BUY", "abc", "1000000000.00")._replace(**change)) == codes


@pytest.mark.parametrize(
    ("name", "wrong", "open_"),
    [
        ("log.xml", False, False),
        ("./log", False, False),
        ("../log", True, True),
        ("a/b", True, True),
        ("a b", False, True),
    ],
)
def test_a_file_name_is_right_wrong_or_open(name: str, wrong: bool, open_: bool) -> None:
    asked = command("DUMPLOG", None, name)
    assert bool(form_problems(asked)) is wrong
    assert may_be_refused(asked) is open_


def test_the_load_generator_imports_nothing_of_the_system() -> None:
    imported: set[str] = set()
    for path in Path(loadgen.__file__).parent.rglob("*.py"):
        lines = path.read_text().splitlines()
        imported |= {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert {name for name in imported if name.split(".")[0] in {"chalicelib", "infra", "app"}} == set()


def test_the_cost_is_an_average_and_a_sale_realises_its_part() -> None:
    account = Account(cash=100_000)
    for amount, price in (("20.00", 1000), ("20.00", 2000)):
        apply(account, command("BUY", "S", amount), price)
        apply(account, command("COMMIT_BUY"))
    assert account.costs == {"S": 4000}
    apply(account, command("SELL", "S", "30.00"), 3000)
    assert (account.costs, account.realised) == ({"S": 4000}, 0), "a pending sell has sold nothing"
    apply(account, command("COMMIT_SELL"))
    assert (account.costs, account.realised) == ({"S": 4000 - 4000 // 3}, 3000 - 4000 // 3)
    apply(account, command("SELL", "S", "20.00"), 1000)
    apply(account, command("COMMIT_SELL"))
    assert (account.costs, account.realised) == ({}, 3000 + 2000 - 4000)


def test_triggers_that_fire_buy_and_sell_at_a_cost_too() -> None:
    account = Account(
        buy_triggers={"S": Trigger(2500, 1000, 0, 7)},
        sell_triggers={"T": Trigger(1000, 500, 2, 7)},
        holdings={"T": 1},
        costs={"T": 900},
    )
    account.fire("SET_BUY_TRIGGER", 7, "S", 800)
    account.fire("SET_SELL_TRIGGER", 7, "T", 600)
    assert (account.costs, account.realised) == ({"S": 2400, "T": 600}, 600 - 300)


def test_a_cost_that_is_unknown_stays_so_until_nothing_is_left() -> None:
    account = Account(cash=10_000, holdings={"S": 1}, costs={"S": None})
    apply(account, command("BUY", "S", "10.00"), 1000)
    apply(account, command("COMMIT_BUY"))
    assert account.costs == {"S": None}
    apply(account, command("SELL", "S", "20.00"), 1000)
    apply(account, command("COMMIT_SELL"))
    assert (account.costs, account.realised) == ({}, 0)


def test_costs_and_gains_are_compared_where_both_accounts_tell_of_them() -> None:
    told = Account(costs={"S": 100, "T": None}, realised=5)
    assert compare_accounts(told, Account(costs={"S": 100, "T": None}, realised=5)) == []
    assert compare_accounts(told, Account(costs={"S": 101, "T": 0}, realised=-6)) == [
        "the cost of S is 1.01, the model says 1.00",
        "the cost of T is 0.00, the model says unknown",
        "realised is -0.06, the model says 0.05",
    ]
    assert compare_accounts(told, Account(costs=None, realised=7)) == []


def test_a_read_account_has_costs_and_a_summary_has_none() -> None:
    body = {
        "cash": "1.00",
        "holdings": {},
        "pending_buys": [],
        "pending_sells": [],
        "buy_triggers": [],
        "sell_triggers": [],
    }
    assert read_summary(body).costs is None
    positions = {"S": {"shares": 1, "reserved": 0, "cost": "1.50"}, "T": {"shares": 1, "reserved": 0, "cost": None}}
    read = read_summary({**body, "positions": positions, "realised": "-2.00"})
    assert (read.costs, read.realised) == ({"S": 150, "T": None}, -200)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(1, 5000)), max_size=25))
def test_model_and_domain_agree_on_costs_and_gains(steps: list[tuple[bool, int, int]]) -> None:
    """Two ways to the same figures, written apart."""
    model, real = Account(cash=10**9), domain_account.Account("jane")
    for buys, shares, price in steps:
        held = real.shares("S")
        if buys:
            real = replace(real, holdings={"S": held + shares}, cost_cents=cost_with(real, "S", shares * price))
        elif held < shares:
            continue
        else:
            sold = after_sale(real, "S", shares, shares * price)
            real = replace(sold, holdings={"S": held - shares} if held > shares else {})
        side = "BUY" if buys else "SELL"
        apply(model, command(side, "S", f"{shares * price // 100}.{shares * price % 100:02}"), price)
        apply(model, command(f"COMMIT_{side}"))
        assert (model.costs, model.realised) == (real.cost_cents, real.realised_cents)


def test_cash_with_what_is_reserved_of_it_ends_at_63_bits() -> None:
    pending = Order(1, "S", 1, 5, 5, None)
    account = Account(cash=2**63 - 1 - 20, pending_buys=[pending], buy_triggers={"S": Trigger(5)}, holdings={"S": 1})
    assert rejected(account, command("ADD", None, "0.11")) == "cash_limit"
    apply(account, command("ADD", None, "0.10"))
    apply(account, command("SELL", "S", "0.01"), 1)
    assert rejected(account, command("COMMIT_SELL")) == "cash_limit"
    apply(account, command("CANCEL_BUY"))
    apply(account, command("CANCEL_SET_BUY", "S"))
    assert account.cash == 2**63 - 1
