"""The gateway as a program: granian's processes and threads around the adapter."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import parts
from infra.parts import Part, RunningPart
from infra.ports import HOST, free_port, listeners, reserve
from infra.stack import PROJECT, why_not_healthy

SECONDS = 60.0
HALF_A_BODY = "POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"


@dataclass(frozen=True)
class Server:
    """A server under test."""

    part: RunningPart
    port: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def raw(self, data: bytes) -> socket.socket:
        """Return a connection on which `data` was sent."""
        connection = socket.create_connection((HOST, self.port), timeout=SECONDS)
        connection.sendall(data)
        return connection


StartServer = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts the gateway with the tiny app."""
    with contextlib.ExitStack() as started:

        def start(*arguments: str, workers: int = 1, **environment: str) -> Server:
            port = free_port()
            started.enter_context(contextlib.closing(reserve(port)))
            command = [sys.executable, "-m", "infra.gateway", "--app", "tests.integration.tiny_app:app"]
            command += ["--port", str(port), "--workers", str(workers), *arguments]
            ready = partial(why_not_healthy, port, workers)
            part = Part("gateway", command, os.environ | environment, ready, folder=PROJECT)
            server = Server(parts.start(part, tmp_path), port)
            started.callback(server.part.kill)
            server.part.wait_until_ready()
            return server

        yield start


def processors_of(process: psutil.Process) -> set[int]:
    """Return the processors that the threads of a process may run on."""
    return {number for thread in process.threads() for number in os.sched_getaffinity(thread.id)}


def test_each_worker_stays_on_a_processor_unless_it_may_run_on_any(serve: StartServer) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    server = serve("--processor", "1", workers=2)
    assert server.ask("GET", "/health")[0] == 200
    of_workers = sorted(psutil.Process(server.part.pid).children(), key=lambda worker: worker.pid)
    assert [processors_of(worker) for worker in of_workers] == [
        {allowed[1 % len(allowed)]},
        {allowed[2 % len(allowed)]},
    ]
    (anywhere,) = psutil.Process(serve().part.pid).children()
    assert processors_of(anywhere) == set(allowed)


def test_a_processor_that_is_none_is_refused(serve: StartServer) -> None:
    with pytest.raises(parts.PartDiedError, match="neither a number"):
        serve("--processor", "-1")


@pytest.mark.parametrize("workers", [1, 2])
def test_health_is_answered_by_each_number_of_workers(serve: StartServer, workers: int) -> None:
    server = serve(workers=workers)
    assert server.ask("GET", "/health") == (200, b'{"status":"ok"}')
    assert listeners(server.port) == workers
    assert server.part.stop()
    assert listeners(server.port) == 0


def test_workers_have_names_of_their_own(serve: StartServer) -> None:
    server = serve("--name", "front", workers=2)
    names: Counter[str] = Counter()
    deadline = time.monotonic() + SECONDS
    while len(names) < 2 and time.monotonic() < deadline:
        names[json.loads(server.ask("GET", "/server")[1])["name"]] += 1
    assert set(names) == {"front-1", "front-2"}


def test_600_concurrent_requests_get_their_own_answers(serve: StartServer) -> None:
    """Chalice alone mixes them up: it keeps the request it works on in an attribute of the app."""
    server = serve()

    def ask(number: int) -> str:
        word = f"w{number}"
        status, body = server.ask("GET", f"/echo/{word}?q={word}", **{"X-Word": word})
        assert status == 200
        answer = json.loads(body)
        assert answer["word"] == answer["header"] == answer["query"]["q"] == word
        assert answer["uri_params"] == {"word": word}
        assert answer["request_id"] == answer["event_id"]
        return str(answer["request_id"])

    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(ask, range(600)))) == 600


def test_a_kept_alive_connection_survives_head_and_errors(serve: StartServer) -> None:
    with contextlib.closing(serve().connect()) as connection:
        for method, path, status in [
            ("HEAD", "/health", 200),
            ("GET", "/nothing", 404),
            ("PUT", "/health", 405),
            ("OPTIONS", "/health", 200),
            ("POST", "/echo/x", 200),
            ("GET", "/health", 200),
        ]:
            connection.request(method, path, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            assert response.status == status
            assert not response.will_close
            assert bool(body) == (method not in {"HEAD", "OPTIONS"})


def test_a_chunked_body_arrives_whole(serve: StartServer) -> None:
    body = (chunk.encode() for chunk in ["[1", ",", "2]"])
    status, answer = serve().ask("POST", "/echo/x", body, **{"Content-Type": "application/json"})
    assert (status, json.loads(answer)["body"]) == (200, "[1,2]")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_before_it_is_there(serve: StartServer, chunked: bool) -> None:
    head = b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    if chunked:
        start = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n"
    else:
        start = head + b"Content-Length: 10000000\r\n\r\n"
    with contextlib.closing(serve().raw(start)) as connection:
        answer = b""
        while b"}" not in answer:
            answer += connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in answer


def test_a_percent_encoded_parameter_is_decoded_once(serve: StartServer) -> None:
    _, body = serve().ask("GET", "/echo/%E2%82%AC%20%2541")
    assert json.loads(body)["word"] == "\N{EURO SIGN} %41"


def test_the_servers_environment_is_not_taken_for_headers(serve: StartServer) -> None:
    server = serve(HTTP_PROXY="http://proxy.example", HTTP_X_WORD="mine", CONTENT_LENGTH="5")
    answer = json.loads(server.ask("GET", "/echo/x")[1])
    assert (answer["proxy"], answer["header"], answer["body"]) == (None, None, "")


def test_slow_clients_do_not_keep_others_from_being_served(serve: StartServer) -> None:
    """Connections without a request hold nothing, however many; a body that does not come holds one thread."""
    server = serve("--threads", "12")
    with contextlib.ExitStack() as open_ones:
        for data in [HALF_A_BODY] * 10 + [""] * 50 + ["GET /hea"] * 50:
            open_ones.enter_context(contextlib.closing(server.raw(data.encode())))
        for _ in range(20):
            assert server.ask("GET", "/health")[0] == 200


def test_many_kept_alive_connections_are_served_side_by_side(serve: StartServer) -> None:
    """More than granian's own default of 1,024, beyond which a connection waits until another one leaves."""
    server = serve()
    with contextlib.ExitStack() as open_ones:
        for _ in range(1_100):
            open_ones.enter_context(contextlib.closing(server.raw(b"")))
        last = open_ones.enter_context(contextlib.closing(server.connect()))
        last.request("GET", "/health")
        assert last.getresponse().status == 200


def test_an_idle_connection_is_closed_after_its_time(serve: StartServer) -> None:
    with contextlib.closing(serve("--idle-seconds", "1").raw(b"")) as connection:
        assert connection.recv(1) == b""


def test_a_stop_finishes_what_has_begun(serve: StartServer, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    server = serve(BEGUN=str(begun))
    with ThreadPoolExecutor(1) as pool, contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/slow/1")
        deadline = time.monotonic() + SECONDS
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stopping = pool.submit(server.part.stop)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, {"slept": "1"})
        assert stopping.result()


@pytest.mark.parametrize("sent", ["", "GET /health HTTP/1.1\r\n", HALF_A_BODY])
def test_a_stop_does_not_wait_for_clients_that_send_nothing(serve: StartServer, sent: str) -> None:
    server = serve("--grace-seconds", "1")
    with contextlib.closing(server.raw(sent.encode())):
        assert server.part.stop()


def test_a_dead_worker_ends_the_server(serve: StartServer) -> None:
    server = serve(workers=2)
    workers = psutil.Process(server.part.pid).children()
    workers[0].kill()
    psutil.wait_procs(workers, timeout=SECONDS)
    message = str(server.part.died())
    assert "gateway died (exit status 1)" in message
    assert "Unexpected exit from worker-1" in message


def test_workers_die_with_the_server(serve: StartServer) -> None:
    server = serve(workers=2)
    workers = psutil.Process(server.part.pid).children()
    assert len(workers) == 2
    os.kill(server.part.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=SECONDS)
    assert alive == []
