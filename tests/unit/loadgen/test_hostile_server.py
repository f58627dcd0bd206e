"""Replays against servers that break the rules of HTTP: nothing is lost, and nothing is taken for what it is not."""

import gzip
import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from loadgen.cli import main
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import MANY, report_of
from tests.unit.loadgen.stub import Handler, Request, StubServer, running

CERTIFICATE = Path(__file__).with_name("tls.pem")
STRAY_S = 0.003


def raw(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def later(handler: Handler, payload: bytes, *, close: bool = False) -> None:
    """Send bytes on a connection a little later, whatever it is used for then."""

    def send() -> None:
        with suppress(OSError, ValueError):
            handler.wfile.write(payload)
            if close:
                handler.server.shutdown_request(handler.request)

    threading.Timer(STRAY_S, send).start()


def recorded_numbers(path: Path) -> dict[int, int | None]:
    """Return for each command of a record the transaction that its answer names."""
    lines = map(json.loads, path.read_text().splitlines())
    return {line["n"]: (line["answer"] or {}).get("transaction") for line in lines if "n" in line}


def test_a_stray_second_answer_is_never_recorded_for_another_command(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    def answer_twice(handler: Handler, request: Request) -> bool:
        if request.key is None:
            return False
        status, body, _ = stub.exchange.execute(request.command, request.key)
        payload = raw(f"{status} X", json.dumps(body).encode())
        handler.wfile.write(payload)
        later(handler, payload)
        return True

    stub.misbehave = answer_twice
    answers, out = tmp_path / "answers", tmp_path / "out.json"
    assert run(MANY, "--threads", "3", "--answers", str(answers), "--json", str(out), "--verify", "--no-log") == 0
    assert recorded_numbers(answers) == {number: number for number in range(1, 71)}
    report = report_of(out)
    assert report["retry_reasons"].get("other_answer", 0) + report["reconnects"] > 0
    assert {account.cash for account in stub.exchange.accounts.values()} == {1000}


def test_a_408_on_an_idle_connection_costs_no_command(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def lose_patience(handler: Handler, request: Request) -> bool:
        handler.carry_out(request)
        later(handler, raw("408 Request Timeout", b"", "Connection: close"), close=True)
        return True

    stub.misbehave = lose_patience
    out = tmp_path / "out.json"
    lines = "\n".join(f"ADD,user{number % 5},1.00" for number in range(100))
    assert run(lines, "--rate", "400", "--threads", "4", "--allow-missed-rate", "--json", str(out)) == 0
    assert stub.exchange.executions == 100
    report = report_of(out)
    assert (report["commands"], report["errors"]) == (100, 0)
    assert report["reconnects"] > 0


@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early"])
def test_a_request_that_the_server_asks_to_repeat_is_repeated(run: Run, stub: StubServer, status: str) -> None:
    def refuse_first(handler: Handler, request: Request) -> bool:
        if request.attempt == 1:
            handler.wfile.write(raw(status, b""))
        return request.attempt == 1

    stub.misbehave = refuse_first
    assert run("ADD,a,1.00\nADD,a,1.00") == 0
    assert [request.command.transaction for request in stub.commands()] == [1, 1, 2, 2]


def test_a_server_that_reads_a_request_and_closes_costs_a_retry_and_is_named(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    def read_and_close(handler: Handler, request: Request) -> bool:
        handler.close_connection = request.attempt == 1
        return request.attempt == 1

    stub.misbehave = read_and_close
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\nADD,a,1.00\nADD,a,1.00", "--json", str(out)) == 0
    report = report_of(out)
    assert (report["retries"], report["reconnects"]) == (3, 0)
    assert report["retry_reasons"] == {"connection": 3}


def test_latency_does_not_include_connecting_which_is_reported_by_itself(
    write_workload: WriteWorkload, tmp_path: Path
) -> None:
    """The server is slow to shake hands over TLS, and closes after each answer."""

    def close_each(handler: Handler, request: Request) -> bool:
        handler.carry_out(request)
        handler.close_connection = True
        return True

    out = tmp_path / "out.json"
    with running(tmp_path, CERTIFICATE) as server:
        server.misbehave, server.slow_handshake_s = close_each, 0.06
        options = ["--insecure", "--rate", "5", "--json", str(out), "--url", server.url, "--token", "t", "--quiet"]
        assert main(["replay", str(write_workload("ADD,a,1.00\n" * 5)), *options]) == 0
    report = report_of(out)
    assert report["connect_ms"]["count"] == 5
    assert report["connect_ms"]["p50"] > 60
    assert report["latency_ms"]["p50"] < 60
    assert report["corrected_ms"]["p50"] > 60


def test_a_redirection_is_named_with_where_it_leads_to(
    run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def redirect(handler: Handler, _request: Request) -> bool:
        handler.wfile.write(raw("307 Temporary Redirect", b"", "Location: https://Other.example/prod"))
        return True

    stub.misbehave = redirect
    out = tmp_path / "out.json"
    assert run(MANY, "--json", str(out), "--threads", "1") == 1
    assert "the server redirects to https://Other.example/prod" in capsys.readouterr().err
    assert len(stub.commands()) == 1


@pytest.mark.parametrize("status", ["201 Created", "204 No Content"])
def test_a_success_that_the_interface_does_not_know_is_an_error_of_its_own_name(
    run: Run, stub: StubServer, tmp_path: Path, status: str
) -> None:
    def answer(handler: Handler, request: Request) -> bool:
        body = b"" if status.startswith("204") else b'{"transaction":%d}' % request.command.transaction
        handler.wfile.write(raw(status, body))
        return True

    stub.misbehave = lambda handler, request: request.command.transaction == 1 and answer(handler, request)
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\nADD,a,1.00", "--json", str(out)) == 1
    assert report_of(out)["outcomes"] == {f"{status[:3]} http_{status[:3]}": 1, "200 ok": 1}


def test_answers_that_come_compressed_though_nobody_asked_are_read(run: Run, stub: StubServer) -> None:
    def compress(handler: Handler, request: Request) -> bool:
        status, body, _ = stub.exchange.execute(request.command, request.key)
        packed = gzip.compress(json.dumps(body).encode())
        handler.wfile.write(raw(f"{status} X", packed, "Content-Encoding: gzip"))
        return True

    stub.misbehave = lambda handler, request: request.key is not None and compress(handler, request)
    assert run("ADD,a,5.00\nBUY,a,S,20.00\nDISPLAY_SUMMARY,a", "--verify", "--no-log") == 0


def test_two_lengths_that_differ_are_a_broken_answer_and_said(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def lie(handler: Handler, request: Request) -> bool:
        if request.attempt == 1:
            handler.wfile.write(raw("200 OK", b"{}", "Content-Length: 7"))
        return request.attempt == 1

    stub.misbehave = lie
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00", "--json", str(out)) == 0
    assert report_of(out)["retry_reasons"] == {"broken_answer": 1}
