"""A replay that is interrupted or killed: once, it reports what was done; twice, it ends at once."""

import signal
import time
from pathlib import Path

import pytest

from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import report_of, start_replay, wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer, answer, silent, silent_after_the_commands


def slow(_handler: Handler, _request: Request) -> bool:
    time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_interrupt_ends_the_run_with_a_report_of_what_was_done(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, number: signal.Signals
) -> None:
    stub.misbehave = slow
    out = tmp_path / "out.json"
    process = start_replay(stub, write_workload("ADD,a,1.00\nADD,b,1.00\n" * 2000), "--json", str(out))
    wait_until(lambda: len(stub.requests) >= 10, "no requests came")
    process.send_signal(number)
    shown, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    report = report_of(out)
    assert report["interrupted"] is True
    assert report["errors"] == 0
    assert report["commands"] == stub.exchange.executions < 4000
    assert "(interrupted)" in shown
    assert errors.startswith(f"loadgen: run {report['run']['id']}\n")
    assert "Traceback" not in errors


def test_a_second_interrupt_ends_at_once(stub: StubServer, write_workload: WriteWorkload) -> None:
    stub.misbehave = silent
    process = start_replay(stub, write_workload("ADD,a,1.00"))
    try:
        wait_until(lambda: bool(stub.requests), "no request came")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "Ctrl-C again" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_run_that_is_killed_leaves_its_answers_of_a_second_before(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, processes: str
) -> None:
    """Each is a whole line, in a file beside the one that was asked for: what stood there before is still there."""
    answers = tmp_path / "answers"
    answers.write_text("of an earlier run")
    stub.misbehave = slow
    lines = "ADD,a,1.00\nADD,b,1.00\nADD,c,1.00\n" * 2000
    process = start_replay(
        stub, write_workload(lines), "--answers", answers, "--run-id", "mine", "--processes", processes
    )
    wait_until(lambda: bool(stub.commands()), "nothing was sent")

    def written() -> list[bytes]:
        parts = [tmp_path / "answers.mine.partial", *tmp_path.glob("loadgen-*/*")]
        return [line for path in parts if path.exists() for line in path.read_bytes().splitlines(keepends=True)]

    wait_until(lambda: sum(line.startswith(b'{"n"') for line in written()) >= 10, "no answers are written")
    process.kill()
    process.communicate()
    assert all(line.endswith(b"}\n") for line in written()[:10])
    assert answers.read_text() == "of an earlier run"


def test_sigterm_during_a_verification_keeps_the_report_of_the_replay(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    stub.misbehave = silent_after_the_commands
    out = tmp_path / "out.json"
    process = start_replay(stub, write_workload("ADD,a,1.00"), "--verify", "--json", out)
    wait_until(lambda: len(stub.requests) == 3, "the verification does not begin")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)
    assert process.returncode == 130
    assert report_of(out)["commands"] == 1


def test_what_was_given_up_is_where_to_go_on(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, run: Run
) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction in {2, 3} and answer(handler, 503)
    out = tmp_path / "out.json"
    lines = "ADD,a,1.00\nADD,a,1.00\nADD,b,1.00\nADD,a,1.00"
    assert run(lines, "--retries", "0", "--json", str(out), "--run-id", "r") == 1
    assert report_of(out)["resume"] == {"run_id": "r", "from_transaction": 2, "repeats": 1, "safe": True}
    stub.misbehave = None
    assert run(lines, "--run-id", "r", "--from-transaction", "2", "--json", str(out)) == 0
    assert report_of(out)["resume"] is None
    assert {user: account.cash for user, account in stub.exchange.accounts.items()} == {"a": 300, "b": 100}
