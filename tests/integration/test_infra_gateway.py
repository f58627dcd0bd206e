"""The gateway as a program: processes, connections, and many requests on one thread."""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from chalicelib.http.problems import UNCHANGED
from infra.host.ports import HOST, free_port, listens, reserve
from infra.local import process as parts
from infra.local.parts import why_not_healthy
from infra.local.process import Part, RunningPart
from infra.local.stack import PROJECT
from infra.servers.gateway.requests import BODY_LIMIT_BYTES
from tests.processors import processors_of

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

        def start(*arguments: str, **environment: str) -> Server:
            port = free_port()
            started.enter_context(contextlib.closing(reserve(port)))
            command = [sys.executable, "-m", "infra.servers.gateway", "--app", "tests.integration.tiny_app:app"]
            command += ["--port", str(port), *arguments]
            ready = partial(why_not_healthy, port)
            part = Part("gateway", command, os.environ | environment, ready, folder=PROJECT)
            server = Server(parts.start(part, tmp_path), port)
            started.callback(server.part.kill)
            server.part.wait_until_ready()
            return server

        yield start


def test_a_server_has_its_name_and_stays_on_a_processor_unless_it_may_run_on_any(serve: StartServer) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    server = serve("--processor", "1", "--name", "front")
    assert json.loads(server.ask("GET", "/server")[1])["name"] == "front"
    assert processors_of(psutil.Process(server.part.pid)) == {allowed[1 % len(allowed)]}
    assert processors_of(psutil.Process(serve().part.pid)) == set(allowed)


def test_a_processor_that_is_none_is_refused(serve: StartServer) -> None:
    with pytest.raises(parts.PartDiedError, match="neither a number"):
        serve("--processor", "-1")


def test_health_is_answered_until_the_server_stops(serve: StartServer) -> None:
    server = serve()
    assert server.ask("GET", "/health") == (200, b'{"status":"ok"}')
    assert server.part.stop()
    assert not listens(server.port)


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


def test_a_long_answer_is_compressed_for_who_takes_it(serve: StartServer) -> None:
    server = serve()
    path = f"/echo/{'x' * 2000}"
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        packed = connection.getresponse()
        body = packed.read()
        connection.request("HEAD", path, headers={"Accept-Encoding": "gzip"})
        head = connection.getresponse()
        assert head.read() == b""
        connection.request("GET", path)
        plain = connection.getresponse()
        assert json.loads(plain.read())["word"] == "x" * 2000
    assert (packed.headers["content-encoding"], head.headers["content-encoding"]) == ("gzip", "gzip")
    assert json.loads(gzip.decompress(body))["word"] == "x" * 2000
    assert (plain.headers["content-encoding"], plain.headers["vary"]) == (None, "Accept-Encoding")


def test_a_chunked_body_arrives_whole(serve: StartServer) -> None:
    body = (chunk.encode() for chunk in ["[1", ",", "2]"])
    status, answer = serve().ask("POST", "/echo/x", body, **{"Content-Type": "application/json"})
    assert (status, json.loads(answer)["body"]) == (200, "[1,2]")


def test_the_largest_body_arrives_whole(serve: StartServer) -> None:
    body = "x" * BODY_LIMIT_BYTES
    status, answer = serve().ask("POST", "/echo/x", body, **{"Content-Type": "application/json"})
    assert (status, json.loads(answer)["body"]) == (200, body)


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


def test_requests_that_wait_hold_up_nobody(serve: StartServer, tmp_path: Path) -> None:
    """They sleep as any Python code does, and know nothing of each other."""
    server = serve(BEGUN=str(tmp_path / "begun"))
    with ThreadPoolExecutor(24) as pool:
        began = time.monotonic()
        slow = [pool.submit(server.ask, "GET", "/slow/4") for _ in range(24)]
        for _ in range(20):
            assert server.ask("GET", "/health")[0] == 200
        assert not any(one.done() for one in slow)
        assert {one.result()[0] for one in slow} == {200}
        assert time.monotonic() - began < 60.0  # one after the other they would take 96 s


def test_slow_clients_do_not_keep_others_from_being_served(serve: StartServer) -> None:
    """Neither connections without a request nor bodies that do not come hold anything, however many."""
    server = serve()
    with contextlib.ExitStack() as open_ones:
        for data in [HALF_A_BODY] * 50 + [""] * 50 + ["GET /hea"] * 50:
            open_ones.enter_context(contextlib.closing(server.raw(data.encode())))
        for _ in range(20):
            assert server.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("sent", ["", "GET /hea", HALF_A_BODY, "GET /large/50000000 HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_sends_or_takes_nothing_is_closed_after_the_idle_time(serve: StartServer, sent: str) -> None:
    server = serve("--idle-seconds", "1")
    with contextlib.closing(server.raw(sent.encode())) as connection:
        worker = psutil.Process(server.part.pid)
        ours = connection.getsockname()[1]
        deadline = time.monotonic() + SECONDS
        while any(one.raddr and one.raddr.port == ours for one in worker.net_connections()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_slow_client_gets_the_whole_of_its_answer(serve: StartServer) -> None:
    """It takes longer than it may be idle, but never takes nothing for so long."""
    size = 40_000_000
    with contextlib.closing(serve("--idle-seconds", "3").raw(get(f"/large/{size}", "Connection: close"))) as connection:
        received = 0
        began = time.monotonic()
        while piece := connection.recv(1_000_000):
            received += len(piece)
            time.sleep(0.25 if time.monotonic() - began < 8.0 else 0.0)
    assert received > size


def test_a_request_that_takes_longer_than_the_idle_time_is_answered(serve: StartServer, tmp_path: Path) -> None:
    server = serve("--idle-seconds", "1", BEGUN=str(tmp_path / "begun"))
    assert server.ask("GET", "/slow/3")[0] == 200


def test_at_the_most_connections_the_longest_idle_one_gives_way(serve: StartServer) -> None:
    server = serve("--connections", "2")
    with contextlib.closing(server.connect()) as first, contextlib.closing(server.connect()) as second:
        for connection in (first, second, first):  # so the second one is idle for longer
            connection.request("GET", "/health")
            assert connection.getresponse().read()
        assert server.ask("GET", "/health")[0] == 200
        assert second.sock.recv(1) == b""
        first.request("GET", "/health")
        assert first.getresponse().status == 200


def test_while_the_most_connections_are_all_busy_a_new_one_is_refused_at_once(
    serve: StartServer, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    server = serve("--connections", "2", BEGUN=str(begun))
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(server.ask, "GET", "/slow/3") for _ in range(2)]
        deadline = time.monotonic() + SECONDS
        while not begun.exists() or begun.read_text().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with contextlib.closing(server.connect()) as third:
            third.request("GET", "/health")
            refused = third.getresponse()
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            problem = json.loads(refused.read())
            assert problem["code"] == "server_busy"
            assert problem["detail"].endswith(f"; {UNCHANGED}")
        assert not any(one.done() for one in busy)
        assert [one.result()[0] for one in busy] == [200, 200]
    assert server.ask("GET", "/health")[0] == 200


def test_without_file_descriptors_the_longest_idle_connection_gives_way_and_the_log_says_so(serve: StartServer) -> None:
    server = serve()
    worker = psutil.Process(server.part.pid)
    with contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(contextlib.closing(server.raw(get("/health")))) for _ in range(3)]
        for connection in idle:
            assert connection.recv(12) == b"HTTP/1.1 200"
        worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds(), worker.num_fds()))
        for _ in range(5):
            assert server.ask("GET", "/health")[0] == 200
        assert "no connection can be accepted: [Errno 24]" in server.part.log.read_text()
        assert "Traceback" not in server.part.log.read_text()
    assert server.ask("GET", "/health")[0] == 200


def everything(connection: socket.socket) -> bytes:
    """Return what comes until the end."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_requests_sent_ahead_are_answered_in_their_order(serve: StartServer) -> None:
    words = [f"w{number}" for number in range(20)]
    sent = b"".join(get(f"/echo/{word}") for word in words) + get("/health", "Connection: close")
    with contextlib.closing(serve().raw(sent)) as connection:
        answers = everything(connection).decode()
    assert answers.count("HTTP/1.1 200 OK") == 21
    assert re.findall(r'"word":"(w[0-9]+)","uri', answers) == words


def test_a_head_that_drips_is_ended_in_its_time(serve: StartServer) -> None:
    """Each piece comes long before an idle connection would be closed."""
    with contextlib.closing(serve("--idle-seconds", "2").raw(b"GET /health HTTP/1.1\r\nX-Word: ")) as connection:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began + SECONDS:
                connection.sendall(b"x")
                time.sleep(0.2)
    assert time.monotonic() - began < SECONDS / 2


def test_a_request_behind_another_one_is_not_begun_when_its_client_has_gone(serve: StartServer, tmp_path: Path) -> None:
    """A closed connection and one whose client closed its half only look the same: who wants answers stays."""
    begun = tmp_path / "begun"
    server = serve(BEGUN=str(begun))
    with contextlib.closing(server.raw(get("/slow/1.5") + get("/slow/0"))) as connection:
        deadline = time.monotonic() + SECONDS
        while not begun.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).count(b"HTTP/1.1 200 OK") == 1
    assert begun.read_text() == "1.5\n"


@pytest.mark.parametrize("believes", [True, False])
def test_when_a_request_arrived_is_what_the_proxy_in_front_says_if_there_is_one(
    serve: StartServer, believes: bool
) -> None:
    server = serve(*(["--arrival-header", "X-Arrival-Ms"] if believes else []))
    before = time.time() * 1000
    told, none, later, nonsense = (
        json.loads(server.ask("GET", "/echo/x", **headers)[1])["arrived"]
        for headers in ({"X-Arrival-Ms": "1700000000000"}, {}, {"X-Arrival-Ms": "9999999999999"}, {"X-Arrival-Ms": "x"})
    )
    after = time.time() * 1000
    assert (told == 1_700_000_000_000) == believes
    for arrived in (none, later, nonsense, *([] if believes else [told])):
        assert before - 1 <= arrived <= after


def test_a_request_arrives_with_its_first_byte(serve: StartServer) -> None:
    with contextlib.closing(serve().raw(b"GET /echo/x HTTP/1.1\r\nHost: x\r\n")) as connection:
        time.sleep(0.3)
        after = time.time() * 1000 - 200
        connection.sendall(b"Connection: close\r\n\r\n")
        answer = everything(connection)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["arrived"] < after


def test_a_body_that_was_cut_off_is_not_a_command(serve: StartServer) -> None:
    with contextlib.closing(serve().raw(HALF_A_BODY.encode())) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code":"invalid_json"' in answer


def test_who_expects_to_be_asked_for_the_body_is_asked(serve: StartServer) -> None:
    head = b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with contextlib.closing(serve().raw(head)) as connection:
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert b'"body":"{}"' in everything(connection)


def test_headers_behind_a_chunked_body_do_not_count(serve: StartServer) -> None:
    sent = get("/echo/x", "X-Word: first", "Transfer-Encoding: chunked", "Connection: close")
    with contextlib.closing(serve().raw(sent + b"0\r\nX-Word: second\r\n\r\n")) as connection:
        assert b'"header":"first"' in everything(connection)


def test_an_old_client_is_answered_and_its_connection_closed(serve: StartServer) -> None:
    with contextlib.closing(serve().raw(b"GET /health HTTP/1.0\r\n\r\n")) as old:
        assert everything(old).endswith(b'{"status":"ok"}')


MALFORMED = {
    "no request": b"hello\r\n\r\n",
    "two lengths": b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "a length and chunks": b"POST /echo/x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": b"POST /echo/x HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
    "a header line that goes on": b"GET /echo/x HTTP/1.1\r\nHost: x\r\nX-Word: a\r\n b\r\n\r\n",
    "a space before the colon": b"GET /echo/x HTTP/1.1\r\nHost : x\r\n\r\n",
    "NUL in a header": b"GET /echo/x HTTP/1.1\r\nHost: x\r\nX-Word: a\x00b\r\n\r\n",
    "a head without end": b"GET /echo/x HTTP/1.1\r\nX-Word: " + b"x" * 100_000,
    "a hundred and one headers": b"GET /health HTTP/1.1\r\n" + b"X-Word: x\r\n" * 101 + b"\r\n",
    "many headers": b"GET /echo/x HTTP/1.1\r\n" + b"X-Word: x\r\n" * 10_000,
    "a target without end": b"GET /echo/" + b"x" * 100_000,
    "tiny chunks": b"POST /echo/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 2_000_000,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_not_well_formed_is_refused_and_its_connection_closed(serve: StartServer, kind: str) -> None:
    server = serve()
    with contextlib.closing(server.raw(b"")) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(MALFORMED[kind])
        answer = everything(connection)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 414"))
    assert answer.count(b"HTTP/1.1 4") == 1
    assert b"connection: close" in answer
    assert server.ask("GET", "/health")[0] == 200


def test_no_line_end_gets_into_a_header_of_an_answer(serve: StartServer) -> None:
    server = serve("--app", "tests.integration.tiny_app:bare")
    assert server.ask("GET", "/a") == (200, b"{}")
    for path in ["/a%0D%0ASet-Cookie:%20b", "/a%0Ab", "/a%0Db", "/%E2%82%AC"]:
        status, answer = server.ask("GET", path)
        assert (status, json.loads(answer)["code"]) == (502, "bad_gateway")


def test_many_kept_alive_connections_are_served_side_by_side(serve: StartServer) -> None:
    server = serve()
    with contextlib.ExitStack() as open_ones:
        for _ in range(1_100):
            open_ones.enter_context(contextlib.closing(server.raw(b"")))
        last = open_ones.enter_context(contextlib.closing(server.connect()))
        last.request("GET", "/health")
        assert last.getresponse().status == 200


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


def test_a_server_that_stood_still_goes_on_and_forgets_who_has_left(serve: StartServer) -> None:
    """What waited to be accepted has closed its connection meanwhile, in every way there is."""
    server = serve()
    kept = server.connect()
    kept.request("GET", "/health")
    assert kept.getresponse().read()
    os.killpg(server.part.pid, signal.SIGSTOP)
    for place in range(40):
        left = server.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" if place % 2 else b"")
        if place % 4 < 2:
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
        left.close()
    time.sleep(0.5)
    os.killpg(server.part.pid, signal.SIGCONT)
    for _ in range(20):
        assert server.ask("GET", "/health")[0] == 200
    kept.request("GET", "/health")
    assert kept.getresponse().status == 200
    kept.close()
    assert server.part.stop()
