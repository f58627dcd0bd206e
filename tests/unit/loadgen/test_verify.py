"""Verification: what fits together passes, and whatever does not is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.generate import generate
from loadgen.workload import write
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.exchange import Exchange, LogEntry
from tests.unit.loadgen.stub import Handler, Request, StubServer

STORY = """
    ADD,a,1000.00
    ADD,b,500.00
    BUY,a,S,100.00
    COMMIT_BUY,a
    QUOTE,b,S
    SELL,a,S,30.00
    BUY,b,T,9.00
    BUY,b,T,9000.00
    SET_BUY_AMOUNT,a,T,50.00
    SET_BUY_TRIGGER,a,T,5.00
    SET_SELL_AMOUNT,a,S,40.00
    SET_SELL_TRIGGER,a,S,20.00
    CANCEL_SET_SELL,b,S
    ADD,a,-1.00
    BUY,b,T,20.00
    DISPLAY_SUMMARY,a
    DUMPLOG,b,./own
    DUMPLOG,./all
"""
"""a ends with 870.00, 5 S, 3 S in a pending sell, 2 S and 50.00 in triggers; b with 480.00 and a pending buy."""

Verified = Callable[..., tuple[int, str]]


@pytest.fixture
def recorded(run: Run, tmp_path: Path) -> Path:
    """Replay the story and return the record of its answers."""
    answers = tmp_path / "answers.jsonl"
    assert run(STORY, "--answers", str(answers)) == 0
    return answers


@pytest.fixture
def verified(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Verified:
    """Return a function that verifies a record and returns the exit code and what was printed."""

    def check(answers: Path, *options: str, lines: str = STORY) -> tuple[int, str]:
        path = write_workload(lines)
        capsys.readouterr()
        arguments = ["verify", str(path), "--answers", str(answers), "--url", stub.url, "--token", "t", *options]
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out + said.err

    return check


def change(answers: Path, number: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the recorded answer of one command."""
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    for line in lines:
        if line.get("n") == number:
            edit(line)
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines if line))


def logged(exchange: Exchange, kind: str, number: int) -> LogEntry:
    return next(entry for entry in exchange.log if entry.kind == kind and entry.fields["transactionNum"] == str(number))


def test_a_right_run_is_verified_with_a_proof_in_one_line(recorded: Path, verified: Verified) -> None:
    code, said = verified(recorded)
    assert code == 0
    assert said == (
        "Verified: 2 accounts equal to the cent; 18 answers as the model predicts; each of 16 commands stands in the "
        "audit log once and in order; conservation: ADDs 1500.00 = cash 1330.00 + reserved 70.00 + shares 100.00 at "
        "10.00\n"
    )


def test_replay_can_verify_at_once_and_reports_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run(STORY, "--verify", "--json", str(out)) == 0
    verification = json.loads(out.read_text())["verification"]
    assert verification["passed"] is True
    assert (verification["accounts"], verification["answers"], verification["logged"]) == (2, 18, 16)
    assert verification["exact_rejections"] == 2


def test_replay_exits_1_when_its_verification_fails(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def steal(request: Request, status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if request.command.transaction == 3:
            stub.exchange.accounts["a"].cash -= 1
        return status, body

    stub.tamper = steal
    out = tmp_path / "out.json"
    assert run(STORY, "--verify", "--json", str(out)) == 1
    verification = json.loads(out.read_text())["verification"]
    assert verification["passed"] is False
    assert "cash is '899.99', the model says '900.00'" in verification["shown"][0]


def test_a_second_replay_of_the_same_file_on_the_same_accounts_is_verified_too(run: Run) -> None:
    for _ in range(3):
        assert run(STORY, "--verify") == 0


def test_a_verification_may_be_repeated(recorded: Path, verified: Verified) -> None:
    assert [verified(recorded)[0] for _ in range(3)] == [0, 0, 0]


def test_without_a_baseline_the_accounts_are_taken_to_have_been_empty(
    run: Run, tmp_path: Path, verified: Verified
) -> None:
    answers = tmp_path / "answers.jsonl"
    run(STORY, "--answers", str(answers), "--no-baseline")
    assert verified(answers)[0] == 0
    run(STORY, "--answers", str(answers), "--no-baseline")
    assert verified(answers)[0] == 1


def test_only_some_users_may_be_checked(recorded: Path, verified: Verified, stub: StubServer) -> None:
    stub.exchange.accounts["a"].cash += 1
    code, said = verified(recorded, "--users", "b")
    assert (code, "1 account equal" in said) == (0, True)
    assert verified(recorded, "--users", "a,b")[0] == 1
    code, said = verified(recorded, "--users", "nobody")
    assert (code, "has no commands of nobody" in said) == (1, True)


STATE_FAULTS: dict[str, tuple[Callable[[Exchange], Any], str]] = {
    "a cent too much": (
        lambda exchange: setattr(exchange.accounts["a"], "cash", exchange.accounts["a"].cash + 1),
        "a: in the end: cash is 850.01, the model says 850.00",
    ),
    "a missing holding": (
        lambda exchange: exchange.accounts["a"].holdings.pop("S"),
        "a: in the end: holdings of S are 0, the model says 5",
    ),
    "a holding from nowhere": (
        lambda exchange: exchange.accounts["b"].holdings.update(X=1),
        "b: in the end: holdings of X are 1, the model says 0",
    ),
    "a lost order": (
        lambda exchange: exchange.accounts["b"].pending_buys.clear(),
        "b: in the end: 0 buys are pending, the model says 1",
    ),
    "an order of another size": (
        lambda exchange: setattr(exchange.accounts["a"].pending_sells[0], "shares", 4),
        "a: in the end: pending sells, number 1: 4 S at 10.00 = 30.00",
    ),
    "a lost trigger": (
        lambda exchange: exchange.accounts["a"].buy_triggers.clear(),
        "a: in the end: buy trigger of T: none, the model says amount 50.00, price 5.00",
    ),
    "a trigger with fewer shares": (
        lambda exchange: setattr(exchange.accounts["a"].sell_triggers["S"], "shares", 1),
        "a: in the end: sell trigger of S: amount 40.00, price 20.00, 1 shares reserved",
    ),
    "a forgotten command": (
        lambda exchange: exchange.history["b"].pop(3),
        "b: in the end: the history has",
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
    "a summary without form": (16, {}, {"holdings": None}, "[16] DISPLAY_SUMMARY: the summary does not have its form"),
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
    "a dump of all without a place": (18, {}, {"location": None}, "of no user: [18] DUMPLOG: the answer lacks"),
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


LOG_FAULTS: dict[str, tuple[Callable[[Exchange], Any], str]] = {
    "a lost command": (
        lambda exchange: exchange.log.remove(logged(exchange, "userCommand", 5)),
        "b: [5] was acknowledged but is not in the audit log",
    ),
    "a doubled command": (
        lambda exchange: exchange.log.append(logged(exchange, "userCommand", 5)),
        "b: [5] stands in the audit log 2 times",
    ),
    "a swapped pair": (
        lambda exchange: _swap(exchange, 3, 4),
        "a: [4] stands in the audit log where [3] must stand",
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
    "a refused command": (
        lambda exchange: exchange.note(
            "userCommand", exchange.now_ms(), 14, command="ADD", username="a", funds="-1.00"
        ),
        "a: [14] stands in the audit log, but it was not answered as a command",
    ),
    "cash that did not move": (
        lambda exchange: exchange.log.remove(logged(exchange, "accountTransaction", 3)),
        "a: cash is 850.00, but adds minus removes in the audit log are 950.00",
    ),
    "cash that moved by itself": (
        lambda exchange: exchange.note(
            "accountTransaction", exchange.now_ms(), 3, action="add", username="b", funds="0.01"
        ),
        "b: cash is 480.00, but adds minus removes in the audit log are 480.01",
    ),
    "an event without sense": (
        lambda exchange: logged(exchange, "accountTransaction", 3).fields.update(action="burn"),
        "a: the log's accountTransaction of transaction 3 lacks a field or has a bad one",
    ),
    "an expiry of nothing": (
        lambda exchange: exchange.note(
            "systemEvent", exchange.now_ms() + 99_000, 3, command="BUY", username="a", stockSymbol="S", funds="100.00"
        ),
        "a: the audit log says that the BUY of transaction 3 expired, but no such order was pending",
    ),
    "an expiry before its time": (
        lambda exchange: exchange.note(
            "systemEvent", exchange.now_ms(), 15, command="BUY", username="b", stockSymbol="T", funds="20.00"
        ),
        "b: the audit log says that the BUY of transaction 15 expired at",
    ),
    "a firing that was not due": (
        lambda exchange: exchange.note(
            "systemEvent", exchange.now_ms(), 10, command="SET_BUY_TRIGGER", username="a", stockSymbol="T", funds="5.01"
        ),
        "a: the audit log says that the SET_BUY_TRIGGER of T fired at 5.01, but its price is 5.00",
    ),
    "somebody else's command": (
        lambda exchange: exchange.note(
            "userCommand", exchange.now_ms(), 999, command="ADD", username="b", funds="5.00"
        ),
        "b: a ADD that is not of this run (transaction 999) came in between",
    ),
    "a dump of all that is not there": (
        lambda exchange: exchange.log.remove(logged(exchange, "userCommand", 18)),
        "of no user: [18] DUMPLOG: it was acknowledged but is not in the audit log",
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


def test_an_order_that_expired_is_learned_from_the_log(run: Run, stub: StubServer, tmp_path: Path) -> None:
    """The exchange's clock jumps ahead: the orders run out while the client's clock says that they have not."""

    def jump(handler: Handler, request: Request) -> bool:
        if request.command.transaction == 5 and request.attempt == 1:
            handler.server.exchange.ahead_ms += 61_000
        return False

    stub.misbehave = jump
    lines = (
        "ADD,a,100.00\nBUY,a,S,20.00\nBUY,a,S,30.00\nQUOTE,a,S\nCOMMIT_BUY,a\nADD,a,1.00\n"
        "BUY,a,S,5000.00\nBUY,a,S,10.00"
    )
    out = tmp_path / "out.json"
    assert run(lines, "--verify", "--json", str(out)) == 0
    assert json.loads(out.read_text())["outcomes"]["409 no_pending_buy"] == 1
    assert [entry.kind for entry in stub.exchange.log].count("systemEvent") == 2
    assert run(lines, "--verify", "--no-log") == 1


def test_an_order_of_an_earlier_run_may_expire_in_this_one(run: Run, stub: StubServer) -> None:
    assert run(STORY, "--verify") == 0
    stub.exchange.ahead_ms += 61_000
    assert run(STORY, "--verify") == 0
    stub.exchange.ahead_ms += 61_000
    assert run("COMMIT_SELL,a\nADD,b,1.00", "--verify") == 0


def test_an_order_that_did_not_expire_though_it_had_to_is_named(
    run: Run, stub: StubServer, verified: Verified, tmp_path: Path
) -> None:
    answers = tmp_path / "answers"
    lines = "ADD,a,100.00\nBUY,a,S,20.00\nCOMMIT_BUY,a"
    run(lines, "--answers", str(answers))
    for number in (2, 1):
        entry = logged(stub.exchange, "userCommand", number)
        entry.fields["timestamp"] = str(int(entry.fields["timestamp"]) - 70_000)
    change(answers, 2, lambda line: line["answer"].update(expires_at=line["answer"]["expires_at"] - 70_000))
    code, said = verified(answers, lines=lines)
    assert code == 1
    assert "[3] COMMIT_BUY: the BUY [2] had run out" in said


def test_without_the_log_expiry_is_judged_by_the_clock(run: Run, stub: StubServer, tmp_path: Path) -> None:
    """Orders live a tenth of a second here, and the exchange says so: whether one ran out shows in the answer."""
    lines = "\n".join(["ADD,a,100.00", *["BUY,a,S,10.00\nQUOTE,a,S\nCOMMIT_BUY,a"] * 3, "SELL,a,S,10.00"])

    def slow(handler: Handler, request: Request) -> bool:
        if request.command.transaction in {3, 9}:
            handler.server.exchange.ahead_ms += 60_001
        if request.command.transaction in {4, 10}:
            handler.server.exchange.ahead_ms -= 60_001
        return False

    def shorten(_request: Request, status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for shown in [body, *body.get("pending_buys", []), *body.get("pending_sells", [])]:
            if "expires_at" in shown:
                shown["expires_at"] -= 60_000
        return status, body

    stub.misbehave, stub.tamper = slow, shorten
    out = tmp_path / "out.json"
    assert run(lines, "--verify", "--no-log", "--json", str(out)) == 0
    assert json.loads(out.read_text())["outcomes"]["409 no_pending_buy"] == 2


def test_a_trigger_that_fired_is_learned_from_the_log(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def fire(handler: Handler, request: Request) -> bool:
        if request.command.transaction == 7:
            handler.server.exchange.fire("a", "SET_BUY_TRIGGER", "T", 400)
        if request.command.transaction == 8:
            handler.server.exchange.fire("a", "SET_SELL_TRIGGER", "S", 1500)
        return False

    stub.misbehave = fire
    lines = (
        "ADD,a,100.00\nBUY,a,S,40.00\nCOMMIT_BUY,a\nSET_BUY_AMOUNT,a,T,50.00\nSET_BUY_TRIGGER,a,T,5.00\n"
        "SET_SELL_AMOUNT,a,S,40.00\nSET_SELL_TRIGGER,a,S,10.00\nCANCEL_SET_BUY,a,T\nCANCEL_SET_SELL,a,S"
    )
    out = tmp_path / "out.json"
    assert run(lines, "--verify", "--json", str(out)) == 0
    assert json.loads(out.read_text())["outcomes"]["409 no_buy_amount"] == 1
    assert run(lines, "--verify", "--no-log") == 1


def test_a_user_whose_name_is_refused_has_no_account_to_compare(run: Run) -> None:
    assert run("ADD,no such,1.00\nADD,a,1.00\nBUY,a,TOOLONG,1.00\nDUMPLOG,../up", "--verify") == 0


def test_a_rejection_at_an_unknown_price_is_checked_for_what_is_possible(
    run: Run, stub: StubServer, tmp_path: Path, verified: Verified
) -> None:
    stub.exchange.logs_quotes = False
    answers = tmp_path / "answers"
    lines = "ADD,a,5.00\nBUY,a,S,4.00"
    assert run(lines, "--answers", str(answers)) == 0
    assert verified(answers, lines=lines)[0] == 0
    change(answers, 2, lambda line: line.update(code="insufficient_funds"))
    code, said = verified(answers, lines=lines)
    assert code == 1
    assert "rejected with insufficient_funds; whatever the price, only amount_below_price is possible" in said


def test_prices_without_a_quote_in_the_log_are_noted(recorded: Path, verified: Verified, stub: StubServer) -> None:
    stub.exchange.log = [entry for entry in stub.exchange.log if entry.kind != "quoteServer"]
    code, said = verified(recorded)
    assert code == 0
    assert "The audit log has no quote for the prices of 4 answers" in said


def test_changing_prices_are_followed_and_conservation_is_skipped(run: Run, stub: StubServer, tmp_path: Path) -> None:
    stub.exchange.price = lambda symbol: 700 if symbol == "S" else 1300
    out = tmp_path / "out.json"
    assert run(STORY, "--verify", "--json", str(out)) == 0
    assert "was not checked" in json.loads(out.read_text())["verification"]["conservation"]


def test_a_command_without_an_answer_is_looked_up_in_the_log(run: Run, stub: StubServer, tmp_path: Path) -> None:
    """Commands 2 and 4 never get an answer; 2 was carried out, 4 was not. Their effects are known all the same."""

    def lose(handler: Handler, request: Request) -> bool:
        if request.command.transaction == 2:
            handler.server.exchange.execute(request.command, request.key)
        if request.command.transaction in {2, 4}:
            handler.reset()
            return True
        return False

    stub.misbehave = lose
    out = tmp_path / "out.json"
    lines = "ADD,a,50.00\nBUY,a,S,20.00\nCOMMIT_BUY,a\nADD,a,7.00\nSELL,a,S,10.00"
    assert run(lines, "--verify", "--retries", "1", "--json", str(out)) == 1
    report = json.loads(out.read_text())
    assert report["errors"] == 2
    assert report["verification"]["passed"] is True
    assert run(lines, "--verify", "--retries", "1", "--no-log", "--json", str(out)) == 1
    assert json.loads(out.read_text())["verification"]["passed"] is False


def test_a_log_that_may_not_be_read_is_said_and_the_rest_is_checked(
    recorded: Path, verified: Verified, stub: StubServer
) -> None:
    def forbid(handler: Handler, request: Request) -> bool:
        if request.command.user is None:
            handler.answer(403, {"code": "forbidden"})
        return request.command.user is None

    stub.misbehave = forbid
    code, said = verified(recorded)
    assert code == 0
    assert "The server gives no audit log of all users: 403 forbidden" in said
    assert "the audit log was not read" in said


def test_a_log_behind_a_link_is_fetched(recorded: Path, verified: Verified, stub: StubServer) -> None:
    stub.links = True
    code, said = verified(recorded)
    assert (code, "each of 16 commands stands in the audit log once" in said) == (0, True)
    stub.exchange.log.remove(logged(stub.exchange, "userCommand", 5))
    assert verified(recorded)[0] == 1


def test_a_log_in_a_place_that_cannot_be_reached_is_said(recorded: Path, verified: Verified, stub: StubServer) -> None:
    def elsewhere(handler: Handler, request: Request) -> bool:
        if request.command.user is None:
            handler.answer(200, {"transaction": 1, "location": "s3://bucket/log.xml", "events": 3})
        return request.command.user is None

    stub.misbehave = elsewhere
    code, said = verified(recorded)
    assert (code, "'s3://bucket/log.xml', which cannot be read from here" in said) == (0, True)


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


def test_a_generated_workload_is_verified_on_changing_prices_and_twice(
    stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "workload"
    with path.open("wb") as file:
        write(generate(12, 700, 8, 11), file)
    stub.exchange.price = lambda symbol: 100 + 997 * sum(symbol.encode()) % 4000
    for _ in range(2):
        code = main(["replay", str(path), "--url", stub.url, "--token", "t", "--verify"])
        assert code == 0, capsys.readouterr()
