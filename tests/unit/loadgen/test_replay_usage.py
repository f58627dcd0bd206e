"""What a replay takes and what it shows: files, arguments, progress, tables, the record of its answers."""

import gzip
import io
import json
import time
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.results.statistics import Statistics
from loadgen.run import progress
from loadgen.run.schedule import ConstantRate
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.outcomes import outcome
from tests.unit.loadgen.runs import wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer, answer


def test_a_bad_file_is_reported_and_nothing_is_sent(
    run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ADD,a,1.00\nNOPE,a\nBUY,a,S") == 2
    errors = capsys.readouterr().err
    assert "line 2: unknown command 'NOPE'" in errors
    assert "line 3: BUY needs user,symbol,amount" in errors
    assert stub.connections == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\r\n\r\n", "the file is empty"),
        (b"[1] ADD,a,1.00\n\x7fELF\x02\x01\x01\x00\x00\xfe\n", "line 2: byte 10 is not UTF-8"),
        (b"[1] ADD,a,1.00\n[2] ADD,a\x00,1.00\n", "line 2: character 10 is a control character"),
        (b"[1] ADD,a,1.00\r\n[2] BUY,a,S\r\n", "line 2: BUY needs user,symbol,amount; the line has 2 fields"),
        (b"[1] ADD,a,1.00\n[2] ADD,a," + b"9" * 10_000_000, "line 2: the line is longer than 4096 bytes"),
        (b"[7] ADD,a,1.00\n[7] ADD,a,1.00\n", "line 2: transaction number 7 was used before, in line 1"),
        (b"[1] ADD,a,1.00\n[2] PAY,a,1.00\n", "line 2: unknown command 'PAY'"),
        (b"\xff\xfe[\x001\x00]\x00", "line 1: byte 1 is not UTF-8"),
    ],
    ids=["empty", "blank", "binary", "zero", "crlf", "huge", "twice", "unknown", "utf-16"],
)
@pytest.mark.parametrize("options", [(), ("--processes", "2"), ("--dry-run",)], ids=["plain", "processes", "dry"])
def test_a_broken_file_of_any_sort_exits_2_with_line_and_reason_and_nothing_is_sent(
    stub: StubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    reason: str,
    options: tuple[str, ...],
) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    assert main(["replay", str(path), "--url", stub.url, "--token", "t", *options]) == 2
    assert f"{path}: {reason}" in capsys.readouterr().err
    assert stub.connections == 0


def test_an_untidy_file_is_mended_in_one_line_and_refused_when_strict(
    stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "untidy"
    path.write_bytes(b"\xef\xbb\xbf[1] ADD,a,1.00\n\n[2]ADD, a, 1.00\n")
    given = ["replay", str(path), "--url", stub.url, "--token", "t", "--dry-run"]
    assert main([*given, "--strict"]) == 2
    assert f"{path}: line 2: the line is blank" in capsys.readouterr().err
    assert main(given) == 0
    assert capsys.readouterr().err == f"loadgen: {path}: 3 untidy lines were fixed; --strict rejects them\n"
    assert stub.connections == 0


def test_bad_arguments_are_usage_errors(
    write_workload: WriteWorkload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOADGEN_TOKEN", raising=False)
    fine = ["replay", str(write_workload("ADD,a,1.00")), "--url", "http://127.0.0.1:9"]
    assert main(fine) == 2
    assert main([*fine, "--token", "a b"]) == 2
    assert main([*fine, "--token", "t", "--json", str(tmp_path)]) == 2
    assert main([*fine, "--token", "t", "--json", str(tmp_path / "no" / "out")]) == 2
    for bad in (
        ["--threads", "0"],
        ["--retries", "-1"],
        ["--timeout", "nan"],
        ["--run-id", "a b"],
        ["--url", "ftp://x"],
    ):
        with pytest.raises(SystemExit) as raised:
            main([*fine, "--token", "t", *bad])
        assert raised.value.code == 2


def test_the_token_may_come_from_the_environment(
    stub: StubServer, write_workload: WriteWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADGEN_TOKEN", "from-outside")
    assert main(["replay", str(write_workload("ADD,a,1.00")), "--url", stub.url, "--quiet"]) == 0
    assert stub.requests[0].token == "from-outside"


def test_answers_are_recorded_with_the_accounts_before_the_run(run: Run, stub: StubServer, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl.gz"
    assert run("ADD,a,1.00\nADD,b,1.00\nBUY,a,S,50.00", "--answers", str(answers), "--run-id", "r1") == 0
    with gzip.open(answers, "rt") as file:
        header, *lines = (json.loads(line) for line in file)
    assert (header["run_id"], header["commands"], header["baseline"]) == ("r1", 3, True)
    assert {line["baseline"]: line["answer"]["cash"] for line in lines[:2]} == {"a": "0.00", "b": "0.00"}
    by_number = {line["n"]: line for line in lines[2:]}
    assert by_number[1]["answer"]["cash"] == "1.00"
    assert (by_number[3]["status"], by_number[3]["code"]) == (409, "insufficient_funds")
    assert by_number[1]["sent"] <= by_number[1]["received"] <= by_number[3]["received"]


def test_the_tables_name_commands_outcomes_and_totals(
    stub: StubServer, write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.misbehave = lambda handler, request: (
        request.command.transaction == 1 and request.attempt == 1 and answer(handler, 503)
    )
    path = write_workload("ADD,a,1.00\nCANCEL_SET_SELL,a,S")
    assert main(["replay", str(path), "--url", stub.url, "--token", "t"]) == 0
    shown = capsys.readouterr().out
    for text in ("CANCEL_SET_SELL", "p99", "409 no_sell_amount", "store_unavailable 1", "0 errors, 1 retries"):
        assert text in shown


def test_progress_is_a_plain_line_now_and_then_where_there_is_no_terminal(
    stub: StubServer, write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.05)

    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.05)
        return False

    stub.misbehave = slow
    path = write_workload("ADD,a,1.00\n" * 10)
    assert main(["replay", str(path), "--url", stub.url, "--token", "t"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "/10 commands" in line]
    assert len(lines) >= 3
    assert "errors" in lines[-1]
    assert "left" in lines[-1]


def test_progress_is_a_live_view_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "LIVE_EVERY_S", 0.02)
    stream, statistics = io.StringIO(), Statistics(is_open=True)
    statistics.start()
    with progress.shown(statistics, 4000, stream, ConstantRate(500).rate_at):
        for _ in range(1000):
            statistics.record("ADD", outcome(latency_us=7000))
        statistics.record("ADD", outcome(final=False, status=503, code="store_unavailable", tries=3))
        wait_until(lambda: "1,001/4,000" in stream.getvalue(), "the count is not shown")
    shown = stream.getvalue()
    for text in ("of 500/s", "1 errors, 2 retries", "p50 7.0, p99 7.0", "timeout 2", "store_unavailable 1", "left"):
        assert text in shown, text


def test_a_quiet_run_still_says_what_went_wrong(run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    def misbehave(handler: Handler, request: Request) -> bool:
        is_second = request.command.transaction == 2
        if is_second:
            handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
        return is_second

    stub.misbehave = misbehave
    assert run("ADD,a,1.00\nADD,b,1.00", "--retries", "0") == 1
    said = capsys.readouterr().err
    assert "1 of 2 commands got no final answer; outcomes: " in said
    assert '503 store_unavailable, such as [2] ADD: {"code": "store_unavailable"}' in said
    stub.misbehave = None
    stub.tamper = lambda request, status, body: (status, {**body, "cash": "9.99"} if request.key else body)
    assert run("ADD,c,1.00", "--verify") == 1
    captured = capsys.readouterr()
    assert "cash is '9.99', the model says '1.00'" in captured.err
    assert "NOT VERIFIED" in captured.err
    assert captured.out == ""
