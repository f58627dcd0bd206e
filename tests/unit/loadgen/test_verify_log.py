"""What verification learns from the audit log, and what it can do without one."""

import json
from pathlib import Path
from typing import Any

from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.story import STORY, Verified, change, logged
from tests.unit.loadgen.stub import Handler, Request, StubServer


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
    assert "[3] COMMIT_BUY: the BUY [2] had expired" in said


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
    assert (code, "each of 17 commands is in the audit log once" in said) == (0, True)
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
