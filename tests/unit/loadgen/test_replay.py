"""Replays over real HTTP against a stub that misbehaves as servers and networks do."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen import delivery, progress
from loadgen.cli import main
from loadgen.stages import stages
from loadgen.statistics import Statistics
from loadgen.workload import Command
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.stub import Handler, Request, StubServer, running

CERTIFICATE = Path(__file__).with_name("tls.pem")
"""Of 127.0.0.1, signed by itself, with its key: for these tests only."""

MANY = "\n".join(f"ADD,user{number % 7},1.00" for number in range(70))


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def numbers_by_user(stub: StubServer) -> dict[str | None, list[int]]:
    """Return each user's transaction numbers in the order of arrival, repeated tries left out."""
    numbers: dict[str | None, list[int]] = defaultdict(list)
    for request in stub.commands():
        if request.attempt == 1:
            numbers[request.command.user].append(request.command.transaction)
    return numbers


def test_a_replay_sends_every_command_once_and_exits_0(run: Run, stub: StubServer, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run("ADD,a,5.00\nBUY,a,S,20.00\nADD,a,-1.00\nDUMPLOG,./log", "--json", str(out)) == 0
    assert [request.command.name for request in stub.commands()] == ["ADD", "BUY", "ADD", "DUMPLOG"]
    report = report_of(out)
    assert report["commands"] == 4
    assert report["errors"] == report["retries"] == 0
    assert report["seconds"] > 0
    rounded = 0.0005  # of seconds, which are some thousandths here
    assert 4 / (report["seconds"] + rounded) <= report["rate"] + 0.05
    assert (report["rate"] - 0.05) * (report["seconds"] - rounded) <= 4
    assert report["outcomes"] == {"200 ok": 2, "409 insufficient_funds": 1, "400 invalid_amount": 1}
    assert report["by_command"]["ADD"]["outcomes"] == {"200 ok": 1, "400 invalid_amount": 1}
    assert report["latency_ms"]["count"] == 4
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"] <= report["latency_ms"]["max"]


def test_each_run_has_keys_of_its_own_unless_told_otherwise(run: Run, stub: StubServer) -> None:
    run("ADD,a,5.00")
    run("ADD,a,5.00")
    run("ADD,a,5.00", "--run-id", "mine")
    run("ADD,a,5.00", "--run-id", "mine")
    keys = [request.key for request in stub.commands()]
    assert len(set(keys)) == 3
    assert keys[2:] == ["mine-1", "mine-1"]
    assert stub.exchange.executions == 3


@pytest.mark.parametrize("threads", ["1", "3", "64"])
def test_a_users_commands_arrive_in_order_while_tries_fail_at_random(
    run: Run, stub: StubServer, tmp_path: Path, threads: str
) -> None:
    """Every third request meets another trouble: refused for now, lost before or after it was carried out, cut off."""
    troubles: list[Callable[[Handler, Request], None]] = [
        lambda handler, _: handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"}),
        lambda handler, _: handler.answer(429, {}),
        lambda handler, _: handler.send(502, b"<html>bad gateway</html>"),
        lambda handler, _: handler.reset(),
        _carry_out_and_reset,
        lambda handler, _: handler.cut(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"trans'),
        lambda handler, _: handler.send(200, b"not json"),
        lambda handler, _: handler.send(400, b"<html>who are you</html>"),
    ]

    def misbehave(handler: Handler, request: Request) -> bool:
        trouble = request.command.transaction % 3 == 0 and request.attempt == 1
        if trouble:
            troubles[request.command.transaction // 3 % len(troubles)](handler, request)
        return trouble

    stub.misbehave = misbehave
    out = tmp_path / "out.json"
    assert run(MANY, "--threads", threads, "--json", str(out)) == 0
    for user, numbers in numbers_by_user(stub).items():
        assert numbers == sorted(numbers), user
    assert stub.exchange.executions == 70
    assert {account.cash for account in stub.exchange.accounts.values()} == {1000}
    report = report_of(out)
    assert report["retries"] + report["reconnects"] >= 23
    assert report["replayed"] >= 2
    assert {"store_unavailable", "http_429", "http_502", "broken_answer"} <= report["retry_reasons"].keys()
    assert report["first_try_ms"]["count"] < report["latency_ms"]["count"] == 70


def _carry_out_and_reset(handler: Handler, request: Request) -> None:
    handler.server.exchange.execute(request.command, request.key)
    handler.reset()


def test_all_tries_of_a_command_have_the_same_key_and_nothing_of_its_user_overtakes(run: Run, stub: StubServer) -> None:
    stub.misbehave = lambda handler, request: request.attempt < 4 and _answer(handler, 503)
    assert run("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00", "--run-id", "r") == 0
    assert [request.key for request in stub.commands()] == ["r-1"] * 4 + ["r-2"] * 4 + ["r-3"] * 4


def _answer(handler: Handler, status: int, **headers: str) -> bool:
    handler.answer(status, {"code": "store_unavailable"}, {name.replace("_", "-"): headers[name] for name in headers})
    return True


def test_a_timeout_is_retried_and_a_late_answer_is_not_taken_for_the_next_one(run: Run, stub: StubServer) -> None:
    stub.misbehave = _be_late_at_first
    assert run("ADD,a,1.00\nBUY,a,S,1.00", "--timeout", "0.1") == 0
    assert [request.attempt for request in stub.commands()].count(1) == 2
    assert stub.exchange.executions == 2


def test_a_command_that_gets_no_final_answer_is_an_error_and_the_later_ones_still_go(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction == 2 and _answer(handler, 503)
    out, answers = tmp_path / "out.json", tmp_path / "answers"
    options = ("--retries", "2", "--json", str(out), "--answers", str(answers))
    assert run("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00", *options) == 1
    assert [request.command.transaction for request in stub.commands()] == [1, 2, 2, 2, 3]
    report = report_of(out)
    assert (report["commands"], report["errors"], report["retries"]) == (3, 1, 2)
    assert report["outcomes"] == {"200 ok": 2, "503 store_unavailable": 1}
    assert report["latency_ms"]["count"] == 2
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [(line["n"], line["final"]) for line in lines if "n" in line] == [(1, True), (2, False), (3, True)]


@pytest.mark.parametrize("status", [404, 405, 413, 500])
def test_an_answer_that_no_retry_can_better_is_an_error_at_once(run: Run, stub: StubServer, status: int) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction == 1 and _answer(handler, status)
    assert run("ADD,a,1.00\nADD,a,2.00") == 1
    assert [request.command.transaction for request in stub.commands()] == [1, 2]


def test_a_wish_to_wait_is_honoured_but_not_without_bound(
    run: Run, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    decide = delivery.RetryPolicy.wait_s

    def noting(policy: delivery.RetryPolicy, retry: int, retry_after_s: float) -> float:
        waits.append(decide(policy, retry, retry_after_s))
        return 0.0

    monkeypatch.setattr(delivery.RetryPolicy, "wait_s", noting)
    stub.misbehave = lambda handler, request: (
        request.attempt <= 2 and _answer(handler, 503, Retry_After="2" if request.attempt == 1 else "86400")
    )
    assert run("ADD,a,1.00") == 0
    assert 2 <= waits[0] <= 2.05
    assert 5 <= waits[1] <= 5.1


def test_waits_grow_and_are_spread_over_their_whole_length() -> None:
    policy = delivery.RetryPolicy(first_wait_s=0.1, longest_wait_s=1.0)
    for retry, longest in enumerate([0.1, 0.2, 0.4, 0.8, 1.0, 1.0]):
        waits = [policy.wait_s(retry, 0.0) for _ in range(300)]
        assert 0 <= min(waits) < longest / 4
        assert longest * 3 / 4 < max(waits) <= longest
    assert policy.wait_s(10_000, 0.0) <= 1.0


def test_no_try_begins_after_the_overall_limit(run: Run, stub: StubServer) -> None:
    stub.misbehave = lambda handler, _: _answer(handler, 503, Retry_After="1")
    assert run("ADD,a,1.00", "--give-up", "0.5") == 1
    assert len(stub.commands()) == 1


def test_a_connection_that_the_server_closed_while_idle_costs_no_retry(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    def misbehave(handler: Handler, request: Request) -> bool:
        handler.carry_out(request)
        handler.close_connection = True
        return True

    stub.misbehave = misbehave
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00", "--json", str(out)) == 0
    report = report_of(out)
    assert (report["retries"], report["reconnects"]) == (0, 2)
    assert stub.connections == 3


def test_a_command_without_a_user_waits_for_all_before_it_and_holds_all_after_it(run: Run, stub: StubServer) -> None:
    def misbehave(_handler: Handler, request: Request) -> bool:
        time.sleep(0.02 if request.command.transaction % 3 else 0.1)
        return False

    stub.misbehave = misbehave
    lines = [f"ADD,user{number},1.00" for number in range(9)]
    assert run("\n".join([*lines, "DUMPLOG,./one", "DUMPLOG,./two", *lines, "DUMPLOG,./three"])) == 0
    for request in stub.commands():
        number = request.command.transaction
        if request.command.user is None:
            assert request.answered == number - 1
        else:
            assert request.answered >= (11 if number > 11 else 0)
            assert request.answered < (20 if number > 11 else 9)
    arrived = [request.command.transaction for request in stub.commands()]
    assert [number for number in arrived if number in {10, 11, 21}] == [10, 11, 21]


@pytest.mark.parametrize(("threads", "most"), [("64", 64), ("1200", 1200)])
def test_1200_users_in_one_process_over_a_bound_of_threads(run: Run, stub: StubServer, threads: str, most: int) -> None:
    lines = [f"ADD,user{number},1.00\n" for number in range(1200)]
    seen: list[int] = []

    def misbehave(_handler: Handler, _request: Request) -> bool:
        seen.append(sum(thread.name.startswith("replay-") for thread in threading.enumerate()))
        return False

    stub.misbehave = misbehave if most == 64 else None
    assert run("".join(lines * 2), "--threads", threads, "--timeout", "60") == 0
    assert stub.connections <= most
    assert max(seen, default=0) <= most
    assert all(numbers == sorted(numbers) for numbers in numbers_by_user(stub).values())
    assert {account.cash for account in stub.exchange.accounts.values()} == {200}


def test_streams_that_share_threads_all_make_progress(run: Run, stub: StubServer) -> None:
    """With more users than threads nobody is served to the end before the others begin.

    One thread, since of two the machine may hold up one, and with it the user that it has in hand.
    """
    users = [f"user{number}" for number in range(6)]
    run("\n".join(f"ADD,{user},1.00" for user in users for _ in range(10)), "--threads", "1")
    order = [request.command.user for request in stub.commands()]
    assert set(order[:30]) == set(users)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_accepted_stops_the_run_at_once(
    run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    def refuse(handler: Handler, _request: Request) -> bool:
        handler.answer(status, {"code": "unauthorized", "detail": "the token has expired"})
        return True

    stub.misbehave = refuse
    assert run(MANY, "--threads", "2") == 1
    assert len(stub.commands()) <= 2
    assert f"does not accept the token: {status} unauthorized (the token has expired)" in capsys.readouterr().err


def test_a_token_that_expires_during_the_run_stops_it(run: Run, stub: StubServer) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction >= 3 and _answer(handler, 401)
    assert run("ADD,a,1.00\n" * 50) == 1
    assert len(stub.commands()) == 3


def test_a_command_that_is_forbidden_later_on_is_an_error_of_its_own(run: Run, stub: StubServer) -> None:
    stub.misbehave = lambda handler, request: request.command.user is None and _answer(handler, 403)
    assert run("ADD,a,1.00\nDUMPLOG,./log\nADD,a,1.00") == 1
    assert len(stub.commands()) == 3


def test_a_server_that_is_gone_for_good_ends_the_run_with_a_report_of_what_was_done(
    run: Run, stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction > 1 and _answer(handler, 503)
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\n" * 500, "--give-up", "0.1", "--verify", "--json", str(out)) == 1
    said = capsys.readouterr().err
    assert "no command was answered for 0.2 s" in said
    assert "not verified, because the run did not come to its end" in said
    report = report_of(out)
    assert "no command was answered" in report["stopped"]
    assert report["outcomes"]["200 ok"] == 1
    assert len({request.key for request in stub.commands()}) < 50


def test_nobody_at_the_address_is_said_at_once(
    write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload("ADD,a,1.00")
    assert main(["replay", str(path), "--url", "http://127.0.0.1:9", "--token", "t"]) == 1
    assert "cannot connect to http://127.0.0.1:9" in capsys.readouterr().err


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
        (b"\xef\xbb\xbf[1] ADD,a,1.00\n", "line 1: "),
        (b"\xff\xfe[\x001\x00]\x00", "line 1: byte 1 is not UTF-8"),
        (b"[1] ADD,a,1.00\n\n[2] ADD,a,1.00\n", "line 2: the line is blank"),
    ],
    ids=["empty", "blank", "binary", "zero", "crlf", "huge", "twice", "unknown", "mark", "utf-16", "gap"],
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
        request.command.transaction == 1 and request.attempt == 1 and _answer(handler, 503)
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


def test_progress_is_a_live_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "120")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(progress, "LIVE_EVERY_S", 0.02)
    stream, statistics = io.StringIO(), Statistics()
    statistics.start()
    with progress.shown(statistics, 4000, stream):
        statistics.done = 1000
        time.sleep(0.1)
        statistics.errors = 3
    shown = stream.getvalue()
    assert "1,000/4,000" in shown
    assert "3 errors" in shown
    assert "left" in shown


def test_a_replay_over_tls_trusts_only_what_it_is_told_to(
    tmp_path: Path, write_workload: WriteWorkload, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload(MANY)
    with running(tmp_path, CERTIFICATE) as server:
        arguments = ["replay", str(path), "--url", server.url, "--token", "t", "--quiet"]
        assert main(arguments) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert main(arguments) == 0
        server.misbehave = _be_late_at_first
        assert main([*arguments, "--timeout", "0.1", "--retries", "9", "--run-id", "again"]) == 0
        assert len(server.exchange.accounts) == 7


def _be_late_at_first(_handler: Handler, request: Request) -> bool:
    if request.attempt == 1:
        time.sleep(0.3)
    return False


def test_stages_part_the_commands_at_those_without_a_user() -> None:
    add, dump = Command(1, "ADD", "a", None, "1"), Command(2, "DUMPLOG", None, None, "x")
    other = Command(3, "ADD", "b", None, "1")
    found = [[list(stream) for stream in streams] for streams in stages([dump, add, other, add, dump, dump, other])]
    assert found == [
        [[(0, dump)]], [[(1, add), (3, add)], [(2, other)]], [[(4, dump)]], [[(5, dump)]], [[(6, other)]],
    ]  # fmt: skip


def start_replay(stub: StubServer, path: Path, *options: str) -> "subprocess.Popen[str]":
    arguments = ["replay", str(path), "--url", stub.url, "--token", "t", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "loadgen", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )


def wait_for_requests(stub: StubServer, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(stub.requests) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_first_interrupt_ends_the_run_with_a_report_of_what_was_done(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.02)
        return False

    stub.misbehave = slow
    out = tmp_path / "out.json"
    process = start_replay(stub, write_workload("ADD,a,1.00\nADD,b,1.00\n" * 2000), "--json", str(out))
    wait_for_requests(stub, 10)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    report = report_of(out)
    assert report["interrupted"] is True
    assert report["errors"] == 0
    assert report["commands"] == stub.exchange.executions < 4000
    assert "(interrupted)" in shown
    assert "Traceback" not in errors


def test_a_second_interrupt_ends_at_once(stub: StubServer, write_workload: WriteWorkload) -> None:
    released = threading.Event()
    stub.misbehave = lambda _handler, _request: released.wait(20) and False
    process = start_replay(stub, write_workload("ADD,a,1.00"))
    try:
        wait_for_requests(stub, 1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        while "Ctrl-C again" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=5)
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        released.set()
        process.kill()
        process.communicate()


def test_a_quiet_run_still_says_what_went_wrong(run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    def misbehave(handler: Handler, request: Request) -> bool:
        is_second = request.command.transaction == 2
        if is_second:
            handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
        return is_second

    stub.misbehave = misbehave
    assert run("ADD,a,1.00\nADD,b,1.00", "--retries", "0") == 1
    assert "1 commands got no final answer; outcomes: " in capsys.readouterr().err
    stub.misbehave = None
    stub.tamper = lambda request, status, body: (status, {**body, "cash": "9.99"} if request.key else body)
    assert run("ADD,c,1.00", "--verify") == 1
    captured = capsys.readouterr()
    assert "cash is '9.99', the model says '1.00'" in captured.err
    assert "NOT VERIFIED" in captured.err
    assert captured.out == ""
