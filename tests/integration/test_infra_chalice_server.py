"""Chalice's own server under our launcher, with the tiny app."""

import contextlib
import gzip
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from infra.host.ports import HOST, free_port, listens, reserve
from infra.local import process as parts
from infra.local.parts import why_not_healthy
from infra.local.process import Part, RunningPart
from infra.local.stack import PROJECT

SECONDS = 60.0
StartServer = Callable[..., tuple[RunningPart, int]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts a server and returns the part and its port."""
    (tmp_path / ".chalice").mkdir()
    stages = {"local": {"environment_variables": {"OF_THE_STAGE": "yes"}}}
    (tmp_path / ".chalice" / "config.json").write_text(
        json.dumps({"version": "2.0", "app_name": "tiny", "stages": stages})
    )
    (tmp_path / "app.py").write_text(
        "import os\nassert os.environ['OF_THE_STAGE'] == 'yes'\nfrom tests.integration.tiny_app import app\n"
    )
    with contextlib.ExitStack() as started:

        def start(*arguments: str) -> tuple[RunningPart, int]:
            port = free_port()
            started.enter_context(contextlib.closing(reserve(port)))
            command = [sys.executable, "-m", "infra.servers.chalice_server", "--project", str(tmp_path)]
            command += ["--port", str(port), "--name", "local", *arguments]
            environment = os.environ | {"BEGUN": str(tmp_path / "begun")}
            ready = partial(why_not_healthy, port)
            part = Part("chalice", command, environment, ready, folder=PROJECT)
            running = parts.start(part, tmp_path)
            started.callback(running.kill)
            running.wait_until_ready()
            return running, port

        yield start


def test_it_serves_by_its_name_until_it_stops(serve: StartServer) -> None:
    part, port = serve()
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        connection.request("GET", "/server")
        assert json.loads(connection.getresponse().read())["name"] == "local"
    assert part.stop()
    assert not listens(port)


def test_a_kept_alive_connection_is_not_stalled(serve: StartServer) -> None:
    """With Chalice's own handler each answer but the first ones comes 40 ms late, or later."""
    _, port = serve()
    taken = []
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        for _ in range(100):
            began = time.monotonic()
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            taken.append(time.monotonic() - began)
    assert sorted(taken)[50] < 0.04  # many are faster, however busy the machine is; with the stall none would be


def test_concurrent_requests_get_their_own_answers(serve: StartServer) -> None:
    _, port = serve()

    def ask(number: int) -> None:
        word = f"w{number}"
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
            connection.request("GET", f"/echo/{word}", headers={"X-Word": word})
            answer = json.loads(connection.getresponse().read())
        assert answer["word"] == answer["header"] == answer["uri_params"]["word"] == word

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(100)))


def test_a_long_answer_is_compressed_for_who_takes_it(serve: StartServer) -> None:
    _, port = serve()
    path = f"/echo/{'x' * 2000}"
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        packed = connection.getresponse()
        assert json.loads(gzip.decompress(packed.read()))["word"] == "x" * 2000
        assert packed.headers["content-encoding"] == "gzip"
        connection.request("GET", path)
        plain = connection.getresponse()
        assert json.loads(plain.read())["word"] == "x" * 2000
    assert (plain.headers["content-encoding"], plain.headers["vary"]) == (None, "Accept-Encoding")


def test_what_is_encoded_in_a_path_without_need_is_the_same_as_plain(serve: StartServer) -> None:
    _, port = serve()
    plain = "azAZ09-._~"
    encoded = "".join(f"%{ord(letter):02X}" for letter in plain)
    for sent, seen in (
        (encoded, plain),
        (encoded.lower(), plain),
        ("a%2Fb%25%41", "a%2Fb%25A"),
        ("%5b%60%7b", "%5b%60%7b"),
    ):
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
            connection.request("GET", f"/echo/{sent}")
            assert json.loads(connection.getresponse().read())["word"] == seen


@pytest.mark.parametrize("arguments", [(), ("--arrival-header", "X-Request-Start")], ids=["alone", "behind a proxy"])
def test_the_app_is_told_when_a_request_arrived(serve: StartServer, arguments: tuple[str, ...]) -> None:
    _, port = serve(*arguments)
    before = time.time() * 1_000
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        connection.request("GET", "/echo/x", headers={"X-Request-Start": "1700000000000"})
        arrived = json.loads(connection.getresponse().read())["arrived_ms"]
    if arguments:
        assert arrived == 1_700_000_000_000
    else:
        assert int(before) <= arrived <= time.time() * 1_000


@pytest.mark.parametrize("sent", ["", "GET /hea", "POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n1"])
def test_who_sends_a_request_by_drips_has_no_more_time_than_others(serve: StartServer, sent: str) -> None:
    """Each byte would give a connection its whole time again, if only silence counted."""
    _, port = serve("--idle-seconds", "1")
    with contextlib.closing(socket.create_connection((HOST, port), timeout=0.2)) as connection:
        connection.sendall(sent.encode())
        deadline = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < deadline
            try:
                if sent:
                    connection.sendall(b"h")
                if not connection.recv(65_536):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break


def test_a_stop_finishes_what_has_begun(serve: StartServer, tmp_path: Path) -> None:
    part, port = serve()
    begun = tmp_path / "begun"
    begun.touch()
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as opened:
        connections = []
        for _ in range(20):
            connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
            opened.enter_context(contextlib.closing(connection))
            connection.request("GET", "/slow/1")
            connections.append(connection)
        deadline = time.monotonic() + SECONDS
        while len(begun.read_text().split()) < len(connections):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stopping = pool.submit(part.stop)
        for connection in connections:
            assert json.loads(connection.getresponse().read()) == {"slept": "1"}
        assert stopping.result()
