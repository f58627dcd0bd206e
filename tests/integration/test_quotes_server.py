"""The real quote server process and the source that asks it: every failure is a failed try, within its time."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chalicelib.clock import now_ms
from chalicelib.quotes.errors import BadAnswerError, FailedTryError
from chalicelib.quotes.legacy import Address, LegacySource
from chalicelib.quotes.sources import SimulatedSource
from infra.host.ports import HOST, free_port
from infra.local.services.quote_server import server_statistics
from infra.quote_server.cli import main
from tests.integration.quote_parts import ROOT, OwnServer, own_quote_server

PATIENT_SECONDS = 20.0


def source(server: OwnServer) -> LegacySource:
    return LegacySource(Address(HOST, server.port))


def test_it_answers_with_the_simulated_price_its_own_time_and_a_key(tmp_path: Path) -> None:
    with own_quote_server(tmp_path, "--price", "simulated:7") as server:
        before = now_ms()
        quote = source(server).ask("ABC", "jane", PATIENT_SECONDS)
        after = now_ms()
    prices = {SimulatedSource("7", lambda: 0).price_cents("ABC", moment) for moment in (before, after)}
    assert quote.price_cents in prices
    assert (quote.symbol, quote.user) == ("ABC", "jane")
    assert before <= quote.timestamp_ms <= after
    assert quote.cryptokey


@pytest.mark.parametrize("failure", ["reset", "garbage", "half"])
def test_a_failure_of_the_server_is_a_failed_try_at_once(tmp_path: Path, failure: str) -> None:
    with own_quote_server(tmp_path, "--fail", "1", "--failures", failure) as server:
        for _ in range(30):
            with pytest.raises(FailedTryError) as raised:
                source(server).ask("ABC", "jane", PATIENT_SECONDS)
            assert "TimeoutError" not in str(raised.value)
        assert server_statistics(server.port)["hits"] == 30


@pytest.mark.parametrize("arguments", [("--fail", "1", "--failures", "silent"), ("--delay", "30")])
def test_a_try_ends_with_its_time(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with own_quote_server(tmp_path, *arguments) as server:
        begun = time.monotonic()
        with pytest.raises(FailedTryError, match="TimeoutError"):
            source(server).ask("ABC", "jane", 0.25)
        assert 0.24 < time.monotonic() - begun < 5


def test_nobody_listening_is_a_failed_try() -> None:
    with pytest.raises(FailedTryError, match="ConnectionRefusedError"):
        LegacySource(Address(HOST, free_port())).ask("ABC", "jane", PATIENT_SECONDS)


@contextlib.contextmanager
def one_answer(answer: Callable[[socket.socket], None]) -> Iterator[LegacySource]:
    """Listen for one connection and do with it what no decent server would."""
    with socket.create_server((HOST, 0)) as listening:

        def converse() -> None:
            connection, _ = listening.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=converse)
        thread.start()
        yield LegacySource(Address(HOST, listening.getsockname()[1]))
        thread.join(30)


def test_an_answer_that_trickles_in_does_not_stretch_a_try() -> None:
    def trickle(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"1")
                time.sleep(0.02)
        except OSError:
            return

    with one_answer(trickle) as asked:
        begun = time.monotonic()
        with pytest.raises(FailedTryError, match="TimeoutError"):
            asked.ask("ABC", "jane", 0.3)
        assert time.monotonic() - begun < 5


def test_an_answer_in_two_pieces_is_one_answer() -> None:
    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(100)
        connection.sendall(b"12.50,ABC,ja")
        time.sleep(0.05)
        connection.sendall(f"ne,{now_ms()},key\n".encode())

    with one_answer(answer) as asked:
        assert asked.ask("ABC", "jane", PATIENT_SECONDS).price_cents == 1250


def test_an_endless_line_is_not_read_to_its_end() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        try:
            while True:
                sent += connection.send(b"9" * 65_536)
        except OSError:
            return

    with one_answer(flood) as asked, pytest.raises(BadAnswerError, match="too long"):
        asked.ask("ABC", "jane", PATIENT_SECONDS)
    assert sent < 50_000_000


@pytest.mark.parametrize("skew_ms", [3_600_000, -254_000, -3_600_000])
def test_a_server_with_another_clock_gives_quotes_with_its_own_time(tmp_path: Path, skew_ms: int) -> None:
    with own_quote_server(tmp_path, "--skew-ms", str(skew_ms)) as server:
        quote = source(server).ask("ABC", "jane", PATIENT_SECONDS)
    assert abs(quote.timestamp_ms - skew_ms - now_ms()) < 50_000


@pytest.mark.parametrize(
    ("said", "cents"),
    [
        ("9.5,ABC,jane,1700000000,key", 950),
        ("5,ABC,jane,0,key\r\n", 500),
        ("5.000000, ABC, jane, 1700000000.25, key \n", 500),
        (".99,ABC,jane,1,key\nmore of it\n", 99),
    ],
)
def test_the_quote_servers_of_others_are_understood(said: str, cents: int) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(said.encode())

    with one_answer(answer) as asked:
        assert asked.ask("ABC", "jane", PATIENT_SECONDS).price_cents == cents


@pytest.mark.parametrize("said", ["12.50,XYZ,jane,1,key\n", "12.505,ABC,jane,1,key\n", "-12.50,ABC,jane,1,key\n", ""])
def test_a_lie_is_a_failed_try(said: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(said.encode())

    with one_answer(answer) as asked, pytest.raises(BadAnswerError):
        asked.ask("ABC", "jane", PATIENT_SECONDS)


def send(port: int, data: bytes) -> bytes:
    """Return all that the server answers to some bytes."""
    with socket.create_connection((HOST, port), timeout=PATIENT_SECONDS) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while some := connection.recv(65_536):
            answer += some
        return answer


def test_what_is_no_question_gets_no_answer_and_is_no_hit(tmp_path: Path) -> None:
    questions = [b"", b"ABC\n", b"ABC,jane", b"abc,jane\n", b"ABC,jane,1\n", b"\xff,jane\n", b"ABCD,jane\n", b"stats\n"]
    with own_quote_server(tmp_path) as server:
        for question in questions:
            assert send(server.port, question) == b"", question
        counted = server_statistics(server.port)
    assert (counted["hits"], counted["outcomes"]) == (0, {"bad question": len(questions)})


def test_a_question_over_its_bound_is_cut_off(tmp_path: Path) -> None:
    with own_quote_server(tmp_path) as server, socket.create_connection((HOST, server.port)) as connection:
        connection.settimeout(PATIENT_SECONDS)
        connection.sendall(b"A" * 100_000)
        with contextlib.suppress(ConnectionResetError):  # it closed with some of it unread
            assert connection.recv(1) == b""


def test_a_connection_over_the_bound_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    with own_quote_server(tmp_path, "--connections", "2") as server:
        held = [socket.create_connection((HOST, server.port)) for _ in range(2)]
        try:
            with pytest.raises(OSError, match=r".+"):
                server_statistics(server.port)
            held[0].sendall(b"ABC,jane\n")
            held[0].settimeout(PATIENT_SECONDS)
            assert b",ABC,jane," in held[0].recv(1_000)
        finally:
            for connection in held:
                connection.close()


def test_it_lets_the_answer_under_way_go_out_and_stops_with_its_counts(tmp_path: Path) -> None:
    with own_quote_server(tmp_path, "--delay", "1") as server:
        assert server.running is not None
        with socket.create_connection((HOST, server.port), timeout=PATIENT_SECONDS) as connection:
            connection.sendall(b"ABC,jane\n")
            while server_statistics(server.port)["hits"] == 0:
                time.sleep(0.01)
            server.signal(signal.SIGTERM)
            assert connection.recv(1_000).endswith(b"\n")
        assert server.running._process.wait(PATIENT_SECONDS) == 0
        said = server.running.log.read_text().splitlines()
    assert said[0] == f"ready {HOST}:{server.port}"
    assert '"hits": 1' in said[-1]
    assert len(said) == 2


@pytest.mark.parametrize(
    "arguments",
    [("--delay", "4:0"), ("--fail", "1.1"), ("--failures", "sulking"), ("--price", "tcp://127.0.0.1:1")]
    + [("--price", "fixed:0"), ("--connections", "0"), ("--port", "65536")],
)
def test_an_option_that_makes_no_sense_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert f"argument {arguments[0]}: " in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with own_quote_server(tmp_path) as server:
        command = [sys.executable, "-m", "infra.quote_server", "--port", str(server.port)]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert f"{HOST}:{server.port}" in refused.stderr
