"""Verification: what fits together passes."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.workload.files import write
from loadgen.workload.generate import generate
from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.story import STORY, Verified
from tests.unit.loadgen.stub import Request, StubServer


def test_a_right_run_is_verified_with_a_proof_in_one_line(recorded: Path, verified: Verified) -> None:
    code, said = verified(recorded)
    assert code == 0
    assert said == (
        "Verified: 2 accounts equal to the cent; 18 answers as the model predicts; each of 17 commands is in the "
        "audit log once and in order; conservation: ADDs 1500.00 = cash 1330.00 + reserved 70.00 + shares 100.00 at "
        "10.00\n"
    )


def test_replay_can_verify_at_once_and_reports_it(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run(STORY, "--verify", "--json", str(out)) == 0
    verification = json.loads(out.read_text())["verification"]
    assert verification["passed"] is True
    assert (verification["accounts"], verification["answers"], verification["logged"]) == (2, 18, 17)
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


def test_a_user_whose_name_is_refused_has_no_account_to_compare(run: Run) -> None:
    assert run("ADD,no such,1.00\nADD,a,1.00\nBUY,a,TOOLONG,1.00\nDUMPLOG,../up", "--verify") == 0


def test_changing_prices_are_followed_and_conservation_is_skipped(run: Run, stub: StubServer, tmp_path: Path) -> None:
    stub.exchange.price = lambda symbol: 700 if symbol == "S" else 1300
    out = tmp_path / "out.json"
    assert run(STORY, "--verify", "--json", str(out)) == 0
    assert "was not checked" in json.loads(out.read_text())["verification"]["conservation"]


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
