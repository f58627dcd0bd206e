"""Where the judge draws its lines: lifetimes to the millisecond, prices that change under way, the lowest price."""

from array import array
from io import BytesIO
from typing import Any

import pytest

from loadgen.results.answers import RecordedAnswer
from loadgen.results.findings import Findings
from loadgen.verify.answer import Case, judge_rejection, judge_success
from loadgen.verify.audit_log import read_events
from loadgen.verify.differences import compare_history
from loadgen.verify.log_scan import UserLog, compare_order
from loadgen.verify.model import Account, Order, RejectedError, Trigger
from loadgen.verify.prices import PriceBook
from loadgen.verify.user import Checker
from loadgen.workload.files import Command

START = 1_000_000_000_000
LIFETIME = 60_000


def command(name: str, symbol: str | None = None, value: str | None = None, number: int = 7) -> Command:
    return Command(number, name, "jane", symbol, value)


ADD = command("ADD", None, "1.00")
SELL = command("SELL", "T", "30.00")
BUY = command("BUY", "S", "1.00")
LATER = command("COMMIT_BUY", number=8)


def answered(asked: Command, sent_ms: int, received_ms: int, code: str = "ok", **body: Any) -> RecordedAnswer:
    status = 200 if code == "ok" else 409
    whole = {"user": "jane", "command": asked.name, "transaction": asked.transaction, **body}
    return RecordedAnswer(asked.transaction, True, status, code, sent_ms, received_ms, whole if code == "ok" else None)


def bought(price: str, shares: int, cost: str, cash: str, expires_at: int) -> dict[str, Any]:
    return {"symbol": "S", "shares": shares, "price": price, "cost": cost, "expires_at": expires_at, "cash": cash}


def case_of(
    asked: Command, answer: RecordedAnswer, logged_ms: int | None = None, book: PriceBook | None = None
) -> Case:
    return Case(asked, answer, logged_ms, book or PriceBook(), (), {asked.transaction})


@pytest.mark.parametrize(
    ("lifetime_ms", "is_right"),
    [(LIFETIME - 1_000, True), (LIFETIME + 1_000, True), (LIFETIME - 1_001, False), (LIFETIME + 1_001, False)]
    + [(LIFETIME + 999, True), (LIFETIME - 999, True), (30_000, False), (90_000, False)],
)
def test_an_order_lives_60_s_by_the_log_give_or_take_a_second(lifetime_ms: int, is_right: bool) -> None:
    asked = command("BUY", "S", "20.00")
    answer = answered(asked, START, START + 5, **bought("10.00", 2, "20.00", "80.00", START + lifetime_ms))
    judgement = judge_success(Account(cash=100_00), case_of(asked, answer, START))
    wrong = [] if is_right else [f"expires_at is {lifetime_ms} ms after the command"]
    assert judgement.differences == wrong


@pytest.mark.parametrize(("late_ms", "is_right"), [(999, True), (1_000, True), (1_001, False), (30_000, False)])
def test_an_order_that_ran_out_is_given_back_before_the_next_command(late_ms: int, is_right: bool) -> None:
    """By the log, whose times of two events are compared give or take a second."""
    ended = START - late_ms
    account = Account(pending_sells=[Order(3, "S", 2, 1000, 2000, ended)])
    log = UserLog(None, None)
    log.commands.append(7)
    log.times.append(START)
    findings = Findings()
    checker = Checker("jane", [ADD], account, log, set(), PriceBook(), findings)
    assert checker.check(answered(ADD, START, START + 5, cash="1.00")) is is_right
    late = f"[7] ADD: the SELL [3] had expired {late_ms} ms before and was not given back"
    assert findings.shown == ([] if is_right else [("jane", late)])


def without_a_log(account: Account, asked: Command) -> tuple[Checker, Findings]:
    findings = Findings()
    return Checker("jane", [asked], account, None, set(), PriceBook(), findings), findings


@pytest.mark.parametrize(
    ("ended_ms", "may_be_back", "may_be_pending"),
    [(-1_001, True, False), (-1_000, True, True), (-999, True, True), (1_004, True, True), (1_005, False, True)],
)
def test_without_the_log_the_client_tells_the_end_of_an_order_give_or_take_a_second(
    ended_ms: int, may_be_back: bool, may_be_pending: bool
) -> None:
    """The ADD is sent at 0 and answered at 5 ms; 20.00 are in an order that ends `ended_ms` after it was sent."""
    for cash, may_be in (("21.00", may_be_back), ("1.00", may_be_pending)):
        account = Account(pending_buys=[Order(3, "S", 2, 1000, 2000, START + ended_ms)])
        checker, _ = without_a_log(account, ADD)
        assert checker.check(answered(ADD, START, START + 5, cash=cash)) is may_be


def test_a_sell_that_ends_before_a_buy_is_given_back_before_it() -> None:
    """The new SELL of the same shares was accepted, so the old one had ended; the BUY, which ends later, had not."""
    buy, sell = Order(1, "S", 2, 1000, 2000, START + 500), Order(2, "T", 3, 1000, 3000, START + 400)
    account = Account(pending_buys=[buy], pending_sells=[sell])
    assert account.pending() == [("SELL", sell), ("BUY", buy)]
    checker, findings = without_a_log(account, SELL)
    sold: dict[str, Any] = {
        "symbol": "T",
        "shares": 3,
        "price": "10.00",
        "proceeds": "30.00",
        "expires_at": START + 60_450,
    }
    assert checker.check(answered(SELL, START + 450, START + 455, cash="0.00", **sold)), findings.lines()
    assert checker.account.pending_buys == [buy]


def rejected_slowly(book: PriceBook) -> tuple[list[str], int, int]:
    """Judge a BUY for 18.00 that took 9 s to be rejected because that buys no share."""
    asked = command("BUY", "S", "18.00")
    answer = answered(asked, START, START + 9_000, "amount_below_price")
    judgement = judge_rejection(Account(cash=50_00), case_of(asked, answer, book=book))
    return judgement.differences, judgement.exact, judgement.plausible


def test_a_price_that_stays_is_the_price_of_a_slow_rejection() -> None:
    book = PriceBook()
    book.saw("S", 10_00, START - 2_000, START - 1_990)
    book.saw("S", 10_00, START + 9_000, START + 9_010)
    wrong = "rejected with amount_below_price, the model says ok at 10.00"
    assert rejected_slowly(book) == ([wrong], 0, 0)


def test_a_price_that_changes_during_a_slow_rejection_is_not_taken_for_known() -> None:
    """What was asked before the rejection came may have had the old price, however late its answer was."""
    book = PriceBook()
    book.saw("S", 10_00, START - 2_000, START - 1_990)
    book.saw("S", 10_00, START + 1_000, START + 9_400)
    book.saw("S", 20_00, START + 9_500, START + 9_510)
    assert rejected_slowly(book) == ([], 0, 1)


def test_the_lowest_price_is_a_price_and_nothing_is_none() -> None:
    account = Account(cash=100)
    answer = answered(BUY, START, START + 5, **bought("0.01", 100, "1.00", "0.00", START + LIFETIME))
    assert judge_success(account, case_of(BUY, answer)).differences == []
    assert account.cash == 0
    for price, wrong in (("0.01", []), ("0.00", ["the price is 0.00"])):
        asked = command("QUOTE", "S")
        answer = answered(asked, START, START + 5, symbol="S", price=price, cash="0.00")
        assert judge_success(account, case_of(asked, answer)).differences == wrong
    answer = answered(BUY, START, START + 5, **bought("0.00", 100, "1.00", "0.00", START + LIFETIME))
    judgement = judge_success(Account(cash=100), case_of(BUY, answer))
    assert (judgement.differences, judgement.lost) == (["the price is 0.00"], True)


def test_at_a_price_that_nobody_knows_what_one_cent_a_share_makes_possible_is_plausible() -> None:
    for cash, code, is_possible in (
        (100, "insufficient_funds", False),
        (99, "insufficient_funds", True),
        (100, "amount_below_price", True),
        (100, "no_pending_buy", False),
    ):
        case = case_of(BUY, answered(BUY, START, START + 5, code))
        judgement = judge_rejection(Account(cash=cash), case)
        assert (judgement.plausible, bool(judgement.differences)) == (int(is_possible), not is_possible)


def test_a_rejection_that_should_have_been_a_success_leaves_the_account_in_doubt() -> None:
    book = PriceBook()
    for at in (START - 20, START + 20):
        book.saw("S", 100, at, at + 1)
    for asked, code in ((BUY, "insufficient_funds"), (ADD, "insufficient_funds")):
        case = case_of(asked, answered(asked, START, START + 5, code), book=book)
        judgement = judge_rejection(Account(cash=100), case)
        assert (len(judgement.differences), judgement.lost) == (1, True)
    case = case_of(BUY, answered(BUY, START, START + 5, "amount_below_price"), book=book)
    judgement = judge_rejection(Account(cash=99), case)
    assert (len(judgement.differences), judgement.lost) == (1, False), "rejected all the same"


def test_after_an_answer_out_of_place_no_more_of_that_user_is_checked() -> None:
    findings = Findings()
    checker = Checker("jane", [ADD, LATER], Account(), None, set(), PriceBook(), findings)
    for _ in range(3):
        assert not checker.check(answered(LATER, START, START + 5, "no_pending_buy"))
    assert findings.total == 1


def test_after_a_command_that_the_log_has_done_and_the_model_has_not_no_more_is_checked() -> None:
    log = UserLog(None, None, commands=array("q", [8, 7]), times=array("q", [START, START + 9]))
    findings = Findings()
    checker = Checker("jane", [LATER, ADD], Account(), log, set(), PriceBook(), findings)
    checker.check(RecordedAnswer(8, False, 0, "timeout", START, START + 5, None))
    wrong = "[8] COMMIT_BUY: no final answer; the log has it done, the model says no_pending_buy"
    assert findings.shown == [("jane", wrong)]
    assert not checker.check(answered(ADD, START + 8, START + 12, cash="7.77"))
    assert findings.total == 1


def test_prices_of_the_log_need_not_come_in_order() -> None:
    book = PriceBook()
    for price, at in ((2, START + 100_000), (1, START), (3, START + 200_000)):
        book.quoted("S", price, at)
    book.complete = True
    assert book.candidates("S", 0, 0, START + 110_000) == {2}
    assert not book.was_quoted("S", 3, START + 110_000)


def test_of_a_log_in_another_order_the_first_place_is_named_and_no_other() -> None:
    log = UserLog(None, None, commands=array("q", [3, 2, 1]), times=array("q", [START] * 3))
    assert compare_order([1, 2, 3], set(), log) == ["[3] is in the audit log where [1] should be"]


@pytest.mark.parametrize(
    ("history", "wrong"),
    [
        ([{}], "has an unexpected form"),
        ([7], "has an unexpected form"),
        (None, "is missing or too long"),
        ([{}] * 21, "is missing or too long"),
    ],
)
def test_a_history_without_its_form_is_said(history: object, wrong: str) -> None:
    assert compare_history([], set(), {"history": history}, None) == [f"the history {wrong}"]


def test_every_kind_of_event_is_known_and_a_rejection_tells_its_code() -> None:
    """An own debugEvent is no difference, so that a system may explain itself in its log."""
    log = b"<log><debugEvent><timestamp>5</timestamp><transactionNum>7</transactionNum></debugEvent></log>"
    assert [(event.kind, event.transaction) for event in read_events(BytesIO(log))] == [("debugEvent", 7)]
    assert str(RejectedError("no_pending_buy")) == "no_pending_buy"


@pytest.mark.parametrize("known", [True, False])
def test_a_limit_that_may_have_been_reached_is_plausible_and_one_that_cannot_be_is_not(known: bool) -> None:
    """How high the limits are is not told; what the rules reject is not a matter of limits."""
    book = PriceBook()
    for at in (START - 20, START + 20) if known else ():
        book.saw("S", 100, at, at + 1)
    order = Order(1, "T", 1, 100, 100, START + LIFETIME)
    for account, code, is_plausible in (
        (Account(cash=100, pending_buys=[order]), "too_many_orders", True),
        (Account(cash=100, pending_sells=[order]), "too_many_orders", True),
        (Account(cash=100), "too_many_orders", False),
        (Account(cash=99, pending_buys=[order]), "too_many_orders", False),
        (Account(cash=100, holdings={"T": 1}), "too_many_holdings", True),
        (Account(cash=100, holdings={"S": 1}), "too_many_holdings", False),
        (Account(cash=100, buy_triggers={"T": Trigger(5)}), "too_many_triggers", False),
    ):
        before = account.copy()
        judgement = judge_rejection(account, case_of(BUY, answered(BUY, START, START + 5, code), book=book))
        assert (judgement.plausible, bool(judgement.differences)) == (int(is_plausible), not is_plausible)
        assert account == before or judgement.lost


def test_limits_of_triggers_are_judged_likewise() -> None:
    asked = command("SET_BUY_AMOUNT", "S", "1.00")
    for account, code, is_plausible in (
        (Account(cash=100, sell_triggers={"S": Trigger(5)}), "too_many_triggers", True),
        (Account(cash=99, sell_triggers={"S": Trigger(5)}), "too_many_triggers", False),
        (Account(cash=100, buy_triggers={"S": Trigger(5)}), "too_many_triggers", False),
        (Account(cash=100), "too_many_triggers", False),
        (Account(cash=100, buy_triggers={"T": Trigger(5)}), "too_many_holdings", True),
        (Account(cash=100), "too_many_orders", False),
    ):
        judgement = judge_rejection(account, case_of(asked, answered(asked, START, START + 5, code)))
        assert (judgement.plausible, bool(judgement.differences)) == (int(is_plausible), not is_plausible)
