"""Replays over real HTTP against a stub that misbehaves as servers and networks do."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.client import retry as delivery
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.outcomes import outcome
from tests.unit.loadgen.runs import MANY, numbers_by_user, report_of
from tests.unit.loadgen.stub import Handler, Request, StubServer, answer, be_late_at_first, running, silent

CERTIFICATE = Path(__file__).with_name("tls.pem")
"""Of 127.0.0.1, signed by itself, with its key: for these tests only."""


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
    stub.misbehave = lambda handler, request: request.attempt < 4 and answer(handler, 503)
    assert run("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00", "--run-id", "r") == 0
    assert [request.key for request in stub.commands()] == ["r-1"] * 4 + ["r-2"] * 4 + ["r-3"] * 4


def test_a_timeout_is_retried_and_a_late_answer_is_not_taken_for_the_next_one(run: Run, stub: StubServer) -> None:
    stub.misbehave = be_late_at_first
    assert run("ADD,a,1.00\nBUY,a,S,1.00", "--timeout", "0.1") == 0
    assert [request.attempt for request in stub.commands()].count(1) == 2
    assert stub.exchange.executions == 2


def test_a_command_that_gets_no_final_answer_is_an_error_and_the_later_ones_still_go(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction == 2 and answer(handler, 503)
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
    stub.misbehave = lambda handler, request: request.command.transaction == 1 and answer(handler, status)
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
        request.attempt <= 2 and answer(handler, 503, Retry_After="2" if request.attempt == 1 else "86400")
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
    stub.misbehave = lambda handler, _: answer(handler, 503, Retry_After="1")
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
    assert run("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00", "--rate", "10", "--json", str(out)) == 0
    report = report_of(out)
    assert (report["retries"], report["reconnects"], report["connect_ms"]["count"]) == (0, 2, 3)
    assert stub.connections == 3


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
    stub.misbehave = lambda handler, request: request.command.transaction >= 3 and answer(handler, 401)
    assert run("ADD,a,1.00\n" * 50) == 1
    assert len(stub.commands()) == 3


def test_a_command_that_is_forbidden_later_on_is_an_error_of_its_own(run: Run, stub: StubServer) -> None:
    stub.misbehave = lambda handler, request: request.command.user is None and answer(handler, 403)
    assert run("ADD,a,1.00\nDUMPLOG,./log\nADD,a,1.00") == 1
    assert len(stub.commands()) == 3


def test_a_server_that_is_gone_for_good_ends_the_run_with_a_report_of_what_was_done(
    run: Run, stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.misbehave = lambda handler, request: request.command.transaction > 1 and answer(handler, 503)
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\n" * 500, "--give-up", "0.1", "--verify", "--json", str(out)) == 1
    said = capsys.readouterr().err
    assert "no command was answered for " in said
    assert "not verified, because the run did not finish" in said
    report = report_of(out)
    assert "no command was answered" in report["stopped"]
    assert report["outcomes"]["200 ok"] == 1
    assert len({request.key for request in stub.commands()}) < 50


def test_a_dumplog_is_not_waited_for_long_on_a_server_that_never_answered(
    run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.misbehave = silent
    assert run("ADD,a,1.00\nDUMPLOG,./log", "--timeout", "0.2", "--retries", "0", "--give-up", "0.2") == 1
    said = capsys.readouterr().err
    assert "the last one ended with: timeout (no whole response within 0.4 s)" in said
    assert "answered for 0.4 s" not in said  # the ADD's silence counts too


def test_one_answer_is_enough_for_a_dumplog_to_have_its_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    limits_s: list[float] = []

    def send(_client: object, _command: object, longest_s: float) -> delivery.Outcome:
        limits_s.append(longest_s)
        return outcome(final=False, status=0) if len(limits_s) in {1, 4} else outcome()

    monkeypatch.setattr(delivery.RetryingClient, "send", send)
    assert run("ADD,a,1.00\n" * 5, "--give-up", "60") == 1
    assert limits_s == [math.inf, 120, math.inf, math.inf, math.inf]


def test_nobody_at_the_address_is_said_at_once(
    write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload("ADD,a,1.00")
    assert main(["replay", str(path), "--url", "http://127.0.0.1:9", "--token", "t"]) == 1
    assert "cannot connect to http://127.0.0.1:9" in capsys.readouterr().err


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
        server.misbehave = be_late_at_first
        assert main([*arguments, "--timeout", "0.1", "--retries", "9", "--run-id", "again"]) == 0
        assert len(server.exchange.accounts) == 7
