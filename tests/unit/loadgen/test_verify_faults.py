"""Verification names whatever is not as it must be: in accounts, answers, the log, and the record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.exchange import Exchange
from tests.unit.loadgen.story import Verified, change, logged
from tests.unit.loadgen.stub import StubServer

STATE_FAULTS: dict[str, tuple[Callable[[Exchange], Any], str]] = {
    "a cent too much": (
        lambda exchange: setattr(exchange.accounts["a"], "cash", exchange.accounts["a"].cash + 1),
        "a: at the end: cash is 850.01, the model says 850.00",
    ),
    "a missing holding": (
        lambda exchange: exchange.accounts["a"].holdings.pop("S"),
        "a: at the end: holdings of S are 0, the model says 5",
    ),
    "a holding from nowhere": (
        lambda exchange: exchange.accounts["b"].holdings.update(X=1),
        "b: at the end: holdings of X are 1, the model says 0",
    ),
    "a lost order": (
        lambda exchange: exchange.accounts["b"].pending_buys.clear(),
        "b: at the end: 0 buys are pending, the model says 1",
    ),
    "an order of another size": (
        lambda exchange: setattr(exchange.accounts["a"].pending_sells[0], "shares", 4),
        "a: at the end: pending sells, number 1: 4 S at 10.00 = 30.00",
    ),
    "a lost trigger": (
        lambda exchange: exchange.accounts["a"].buy_triggers.clear(),
        "a: at the end: buy trigger of T: none, the model says amount 50.00, price 5.00",
    ),
    "a trigger with fewer shares": (
        lambda exchange: setattr(exchange.accounts["a"].sell_triggers["S"], "shares", 1),
        "a: at the end: sell trigger of S: amount 40.00, price 20.00, 1 shares reserved",
    ),
    "a forgotten command": (
        lambda exchange: exchange.history["b"].pop(3),
        "b: at the end: the history has",
    ),
}


@pytest.mark.parametrize("fault", STATE_FAULTS)
def test_an_account_that_is_not_as_it_must_be_is_named(
    recorded: Path, verified: Verified, stub: StubServer, fault: str
) -> None:
    spoil, message = STATE_FAULTS[fault]
    spoil(stub.exchange)
    code, said = verified(recorded)
    assert code == 1
    assert message in said
    assert "NOT VERIFIED" in said


ANSWER_FAULTS: dict[str, tuple[int, dict[str, Any], dict[str, Any], str]] = {
    "cash off by a cent": (3, {}, {"cash": "900.01"}, "[3] BUY: cash is '900.01', the model says '900.00'"),
    "a wrong cost": (3, {}, {"cost": "100.01"}, "[3] BUY: cost is '100.01', the model says '100.00'"),
    "money as a number": (3, {}, {"cost": 100.0}, "[3] BUY: cost is 100.0, the model says '100.00'"),
    "wrong shares": (6, {}, {"shares": 4}, "[6] SELL: shares is 4, the model says 3"),
    "a price that does not fit": (3, {}, {"price": "11.00"}, "[3] BUY: shares is 10, the model says 9"),
    "no price": (3, {}, {"price": None}, "[3] BUY: the answer lacks its price or its end"),
    "another life": (3, {}, {"expires_at": 5}, "[3] BUY: expires_at is"),
    "another user": (5, {}, {"user": "a"}, "[5] QUOTE: user is 'a', the model says 'b'"),
    "another transaction": (5, {}, {"transaction": 6}, "[5] QUOTE: transaction is 6, the model says 5"),
    "another symbol": (4, {}, {"symbol": "T"}, "[4] COMMIT_BUY: symbol is 'T', the model says 'S'"),
    "a trigger's price": (10, {}, {"price": "5.01"}, "[10] SET_BUY_TRIGGER: price is '5.01', the model says '5.00'"),
    "a quote without a price": (5, {}, {"price": "free"}, "[5] QUOTE: the quote has no price"),
    "a summary without holdings": (16, {}, {"holdings": {}}, "[16] DISPLAY_SUMMARY: holdings of S are 0"),
    "a summary without form": (16, {}, {"holdings": None}, "[16] DISPLAY_SUMMARY: the account has an unexpected form"),
    "a summary without past": (16, {}, {"history": []}, "[16] DISPLAY_SUMMARY: the history is empty"),
    "a rejection that was none": (
        4, {"status": 409, "code": "no_pending_buy"}, {},
        "[4] COMMIT_BUY: rejected with no_pending_buy, the model says ok",
    ),
    "another rejection": (
        13, {"code": "insufficient_shares"}, {},
        "[13] CANCEL_SET_SELL: rejected with insufficient_shares, the model says no_sell_amount",
    ),
    "another rejection at a known price": (
        8, {"code": "amount_below_price"}, {},
        "[8] BUY: rejected with amount_below_price, the model says insufficient_funds at 10.00",
    ),
    "a success that was none": (
        13, {"status": 200, "code": "ok"}, {}, "[13] CANCEL_SET_SELL: answered ok, the model says no_sell_amount",
    ),
    "a refusal without reason": (
        2, {"status": 400, "code": "invalid_amount"}, {},
        "[2] ADD: refused as 400 invalid_amount, but nothing is wrong",
    ),
    "no refusal": (14, {"status": 200, "code": "ok"}, {}, "[14] ADD: answered 200 ok, but it is invalid_amount"),
    "a dump of all without a place": (18, {}, {"location": None}, "no user: [18] DUMPLOG: the answer lacks"),
    "a dump without a place": (17, {}, {"location": None}, "[17] DUMPLOG: the answer has no location"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ANSWER_FAULTS)
def test_an_answer_that_is_not_as_it_must_be_is_named(recorded: Path, verified: Verified, fault: str) -> None:
    number, outer, inner, message = ANSWER_FAULTS[fault]

    def edit(line: dict[str, Any]) -> None:
        line.update(outer)
        line["answer"].update(inner)

    change(recorded, number, edit)
    code, said = verified(recorded)
    assert code == 1
    assert message in said


def _happened(exchange: Exchange, kind: str, number: int, ahead_ms: int = 0, **fields: str) -> None:
    """Have something happen to a journal after the run, before the account is read."""
    now = exchange.now_ms() + ahead_ms
    exchange.note(kind, now, number, **fields)
    command = fields["command"] if kind == "userCommand" else None
    entry = {"transaction": number, "timestamp": now, "command": command, "outcome": "ok"}
    exchange.history[fields["username"]].append(entry)


LOG_FAULTS: dict[str, tuple[Callable[[Exchange], Any], str]] = {
    "a lost command": (
        lambda exchange: exchange.log.remove(logged(exchange, "userCommand", 5)),
        "b: [5] was acknowledged but is not in the audit log",
    ),
    "a doubled command": (
        lambda exchange: exchange.log.append(logged(exchange, "userCommand", 5)),
        "b: [5] is in the audit log 2 times",
    ),
    "a swapped pair": (
        lambda exchange: _swap(exchange, 3, 4),
        "a: [4] is in the audit log where [3] should be",
    ),
    "another amount": (
        lambda exchange: logged(exchange, "userCommand", 3).fields.update(funds="100.01"),
        "a: [3] BUY: the log says funds '100.01', not '100.00'",
    ),
    "another command": (
        lambda exchange: logged(exchange, "userCommand", 4).fields.update(command="CANCEL_BUY"),
        "a: [4] COMMIT_BUY: the log says command 'CANCEL_BUY', not 'COMMIT_BUY'",
    ),
    "another symbol": (
        lambda exchange: logged(exchange, "userCommand", 3).fields.update(stockSymbol="T"),
        "a: [3] BUY: the log says stockSymbol 'T', not 'S'",
    ),
    "a refused command that is missing": (
        lambda exchange: exchange.log.remove(logged(exchange, "userCommand", 14)),
        "a: [14] was acknowledged but is not in the audit log",
    ),
    "another refused amount": (
        lambda exchange: logged(exchange, "userCommand", 14).fields.update(funds="1.00"),
        "a: [14] ADD: the log says funds '1.00', not '-1.00'",
    ),
    "another file name": (
        lambda exchange: logged(exchange, "userCommand", 17).fields.update(filename="own"),
        "b: [17] DUMPLOG: the log says filename 'own', not './own'",
    ),
    "cash that did not move": (
        lambda exchange: exchange.log.remove(logged(exchange, "accountTransaction", 3)),
        "a: cash is 850.00, but adds minus removes in the audit log are 950.00",
    ),
    "cash that moved by itself": (
        lambda exchange: _happened(exchange, "accountTransaction", 3, action="add", username="b", funds="0.01"),
        "b: cash is 480.00, but adds minus removes in the audit log are 480.01",
    ),
    "an event without sense": (
        lambda exchange: logged(exchange, "accountTransaction", 3).fields.update(action="burn"),
        "a: the log's accountTransaction of transaction 3 lacks a field or has a bad one",
    ),
    "an expiry of nothing": (
        lambda exchange: _happened(
            exchange, "systemEvent", 3, ahead_ms=99_000, command="BUY", username="a", stockSymbol="S", funds="100.00"
        ),
        "a: the audit log says that the BUY of transaction 3 expired, but no such order was pending",
    ),
    "an expiry before its time": (
        lambda exchange: _happened(
            exchange, "systemEvent", 15, command="BUY", username="b", stockSymbol="T", funds="20.00"
        ),
        "b: the audit log says that the BUY of transaction 15 expired at",
    ),
    "a firing that was not due": (
        lambda exchange: _happened(
            exchange, "systemEvent", 10, command="SET_BUY_TRIGGER", username="a", stockSymbol="T", funds="5.01"
        ),
        "a: the audit log says that the SET_BUY_TRIGGER of T fired at 5.01, but its price is 5.00",
    ),
    "somebody else's command": (
        lambda exchange: _happened(exchange, "userCommand", 999, command="ADD", username="b", funds="5.00"),
        "b: a ADD that is not of this run (transaction 999) came in between",
    ),
    "a dump of all that is not there": (
        lambda exchange: exchange.log.remove(logged(exchange, "userCommand", 18)),
        "no user: [18] DUMPLOG: it was acknowledged but is not in the audit log",
    ),
}


def _swap(exchange: Exchange, one: int, other: int) -> None:
    first, second = logged(exchange, "userCommand", one), logged(exchange, "userCommand", other)
    first.fields, second.fields = second.fields, first.fields


@pytest.mark.parametrize("fault", LOG_FAULTS)
def test_a_log_that_is_not_as_it_must_be_is_named(
    recorded: Path, verified: Verified, stub: StubServer, fault: str
) -> None:
    spoil, message = LOG_FAULTS[fault]
    spoil(stub.exchange)
    code, said = verified(recorded)
    assert code == 1
    assert message in said


def test_a_log_that_is_cut_off_is_named(recorded: Path, verified: Verified, stub: StubServer) -> None:
    whole = stub.exchange.log_xml
    stub.exchange.log_xml = lambda: whole()[:-200]  # type: ignore[method-assign]
    code, said = verified(recorded)
    assert code == 1
    assert "the log is not well-formed XML" in said


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: "", "is not an answers file"),
        (lambda text: "{}\n" + text, "is not an answers file"),
        (lambda text: text + "{cut", "is damaged"),
        (lambda text: text.replace('"commands": 18', '"commands": 17'), "the answers to another workload"),
        (lambda text: text.replace('"n":5', '"n":555'), "the answer to [555] is to no command of the workload"),
        (lambda text: text + text.splitlines()[-1] + "\n", "stands twice in the record"),
        (lambda text: "\n".join(text.splitlines()[:-3]) + "\n", "no answer is recorded for"),
        (lambda text: text.replace('"baseline":"b"', '"baseline":"c"'), "what the account was before the run"),
    ],
)
def test_a_record_that_is_damaged_is_no_proof(
    recorded: Path, verified: Verified, spoil: Callable[[str], str], message: str
) -> None:
    recorded.write_text(spoil(recorded.read_text()))
    code, said = verified(recorded)
    assert code == 1
    assert message in said


def test_a_record_that_is_missing_is_said(tmp_path: Path, verified: Verified) -> None:
    code, said = verified(tmp_path / "none")
    assert (code, "No such file" in said) == (1, True)


def test_differences_are_bounded_in_number(run: Run, stub: StubServer, tmp_path: Path) -> None:
    stub.tamper = lambda request, status, body: (status, {**body, "cash": "0.01"} if request.key else body)
    out = tmp_path / "out.json"
    assert run("\n".join(f"ADD,u{number % 60},1.00" for number in range(300)), "--verify", "--json", str(out)) == 1
    verification = json.loads(out.read_text())["verification"]
    assert verification["differences"] >= 300
    assert len(verification["shown"]) == 201
    assert verification["shown"][-1].startswith("and ")


def test_a_log_that_a_quota_kept_from_being_written_is_no_difference(recorded: Path, verified: Verified) -> None:
    """The DUMPLOG itself was done: it stands in the log, and in the history as ok."""

    def refuse(line: dict[str, Any]) -> None:
        line.update(status=409, code="dump_quota", answer={"code": "dump_quota"})

    change(recorded, 17, refuse)
    code, said = verified(recorded)
    assert code == 0, said
    change(recorded, 16, refuse)
    code, said = verified(recorded)
    assert code == 1
    assert "[16] DISPLAY_SUMMARY: rejected with dump_quota, the model says ok" in said
