"""Two servers behind HAProxy and three members of a replica set: any part can go, and nobody loses a command."""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from infra.local import control
from infra.local.background import BackgroundStack, running_stack
from infra.local.services import haproxy
from infra.local.services.mongo import PRIMARY, role
from infra.local.supervisor import State

SECONDS = 60.0
STALL_SECONDS = 15.0
SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
MANY = ("--servers", "2", "--replicas", "3", "--balance", "request", "--quote-source", "fixed:10.00")
MEMBERS = ("mongod-1", "mongod-2", "mongod-3")
SLOW_CLIENTS = 24


@pytest.fixture(scope="module")
def many(haproxy_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    data = tmp_path_factory.mktemp("many") / "stack"
    with running_stack(data, *MANY, *SMALL) as stack:
        yield stack


def stack_is_whole(stack: BackgroundStack) -> bool:
    return all(part.state is State.RUNNING for part in control.ask(stack.data, "status"))


@pytest.fixture
def stack(many: BackgroundStack) -> Iterator[BackgroundStack]:
    """Return the stack with all its parts, and see that a test leaves it so."""
    assert stack_is_whole(many)
    yield many
    for part in control.ask(many.data, "status"):
        if part.state is State.PAUSED:
            control.ask(many.data, "resume", part.name)
        elif part.state is not State.RUNNING:
            control.ask(many.data, "restart", part.name)
    for part in control.ask(many.data, "status"):
        control.wait_for(many.data, part.name, State.RUNNING, SECONDS)


@dataclass
class Trader:
    """Adds a cent again and again, each time with a new key until it is answered, and notes how that went."""

    stack: BackgroundStack
    user: str
    patient: bool = True
    added: int = 0
    retries: int = 0
    longest_seconds: float = 0.0
    answered_at: float = 0.0
    failures: list[str] = field(default_factory=list)

    def trade(self, stopping: threading.Event) -> None:
        """Add until told to stop; one that is not patient counts every answer but 200 as a failure."""
        for number in itertools.count():
            if stopping.is_set():
                return
            began = time.monotonic()
            while (said := add_a_cent(self.stack, self.user, f"{self.user}-{number}")) != "200":
                self.failures.append(said)
                if not self.patient or time.monotonic() > began + SECONDS:
                    return
                self.retries += 1
                stopping.wait(0.05)
            self.added += 1
            self.answered_at = time.monotonic()
            self.longest_seconds = max(self.longest_seconds, self.answered_at - began)


def ask(
    stack: BackgroundStack, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Ask over a new connection; return status, headers and body."""
    connection = http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=SECONDS)
    with contextlib.closing(connection):
        sent = {"Authorization": f"Bearer {stack.operator_token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return response.status, named, json.loads(response.read())


def is_problem(answer: bytes, status: int, code: str) -> bool:
    return bool(re.match(rf'HTTP/1.1 {status} (?s:.*): application/problem\+json\r\n(?s:.*)"{code}"', answer.decode()))


def add_a_cent(stack: BackgroundStack, user: str, key: str) -> str:
    """Return the status, or what went wrong."""
    try:
        status, _, body = ask(stack, "POST", f"/users/{user}/add", {"amount": "0.01"}, **{"Idempotency-Key": key})
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    return "200" if status == 200 else f"{status} {body}"


@contextlib.contextmanager
def trading(stack: BackgroundStack, name: str, *, patient: bool = True, count: int = 4) -> Iterator[list[Trader]]:
    """Have some traders trade meanwhile; at the end every cent they were told of is there, and no other."""
    traders = [Trader(stack, f"{name}{number}", patient) for number in range(count)]
    stopping = threading.Event()
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(trader.trade, stopping) for trader in traders]
        try:
            eventually(lambda: all(trader.added > 3 for trader in traders))
            yield traders
        finally:
            stopping.set()
        for future in futures:
            future.result()
    for trader in traders:
        _, _, summary = ask(stack, "GET", f"/users/{trader.user}/summary")
        assert summary["cash"] == f"{trader.added // 100}.{trader.added % 100:02d}"


def eventually(condition: Any, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_all_went_on(traders: list[Trader], times: int = 3) -> None:
    """Return when every trader has had further answers."""
    before = [trader.added for trader in traders]
    eventually(lambda: all(trader.added >= was + times for trader, was in zip(traders, before, strict=True)))


def rate(traders: list[Trader], seconds: float = 1.0) -> float:
    """Return how many answers a second the traders get."""
    began, before = time.monotonic(), sum(trader.added for trader in traders)
    while time.monotonic() < began + seconds:
        time.sleep(0.05)
    return (sum(trader.added for trader in traders) - before) / (time.monotonic() - began)


def primary(stack: BackgroundStack) -> str:
    ports = json.loads((stack.data / "ports.json").read_text())
    return next(str(name) for name in ports if name.startswith("mongod-") and role(ports[name]) == PRIMARY)


def state_at_haproxy(stack: BackgroundStack, server: str) -> str:
    return haproxy.seen(stack.data)[server].state


def test_any_server_takes_any_command_of_any_user(stack: BackgroundStack) -> None:
    assert set(stack.pids) == {*MEMBERS, "redis", "gateway-1", "gateway-2", "haproxy", "ticker"}
    for _ in range(10):
        assert ask(stack, "POST", "/users/jane/add", {"amount": "1.00"})[0] == 200
    with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        account = client[stack.mongo_database]["accounts"].find_one({"_id": "jane"})
        assert len(client.topology_description.server_descriptions()) == 3
    assert account is not None
    assert state_of(account)["cash"] == 1000
    assert {entry["srv"] for entry in state_of(account)["open"]} == {"gateway-1", "gateway-2"}


def test_haproxy_shows_a_page_of_how_it_sees_the_servers(stack: BackgroundStack) -> None:
    assert stack.statistics_url is not None
    connection = http.client.HTTPConnection(urlsplit(stack.statistics_url).netloc, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
    assert "gateway-1" in page
    assert "gateway-2" in page


def test_a_server_that_is_killed_is_taken_out_within_a_check_and_nothing_is_lost(stack: BackgroundStack) -> None:
    """The checks come every second, and at once after a connection was refused; under load that is sooner."""
    with trading(stack, "killed") as traders:
        before = rate(traders)
        control.ask(stack.data, "kill", "gateway-1")
        killed = time.monotonic()
        eventually(lambda: state_at_haproxy(stack, "gateway-1").startswith("DOWN"))
        assert time.monotonic() - killed < 1.0 + 2.0  # a check, and time for a busy machine
        until_all_went_on(traders)
        eventually(lambda: rate(traders) > before / 3)  # one of two is left, and the machine has other things to do
        control.ask(stack.data, "restart", "gateway-1")
        control.wait_for(stack.data, "gateway-1", State.RUNNING, SECONDS)
        assert state_at_haproxy(stack, "gateway-1") == "UP"
        until_all_went_on(traders)
    assert max(trader.longest_seconds for trader in traders) < STALL_SECONDS


def test_a_server_that_dies_by_itself_is_reported_and_the_stack_goes_on(stack: BackgroundStack) -> None:
    os.kill(
        next(part.pid for part in control.ask(stack.data, "status") if part.name == "gateway-2") or 0, signal.SIGKILL
    )
    with pytest.raises(control.ControlError, match="gateway-2 has died: killed by SIGKILL"):
        control.wait_for(stack.data, "gateway-2", State.STOPPED, SECONDS)
    assert ask(stack, "GET", "/users/jane/summary")[0] == 200
    assert stack.process.poll() is None


def test_a_server_that_is_stopped_finishes_what_it_has_begun(stack: BackgroundStack) -> None:
    """These clients do not try again: every single request is answered while both servers are replaced in turn."""
    with trading(stack, "rolling", patient=False) as traders:
        for server in ("gateway-1", "gateway-2"):
            control.ask(stack.data, "restart", server)
            control.wait_for(stack.data, server, State.RUNNING, SECONDS)
            until_all_went_on(traders)
    assert [failure for trader in traders for failure in trader.failures] == []


def test_a_server_that_stands_still_is_taken_out_and_its_requests_are_done_once(stack: BackgroundStack) -> None:
    """What it held is tried again elsewhere, with the same keys; when it goes on, it does none of it a second time."""
    with trading(stack, "still") as traders:
        control.ask(stack.data, "pause", "gateway-1")
        eventually(lambda: state_at_haproxy(stack, "gateway-1").startswith("DOWN"))
        until_all_went_on(traders)
        control.ask(stack.data, "resume", "gateway-1")
        eventually(lambda: state_at_haproxy(stack, "gateway-1") == "UP")
        until_all_went_on(traders)
    assert max(trader.longest_seconds for trader in traders) < STALL_SECONDS


def test_the_longest_stall_when_the_primary_is_killed_is_short(stack: BackgroundStack) -> None:
    """With default settings; docs/faults.md says what sets it."""
    before = primary(stack)
    with trading(stack, "stalled") as traders:
        control.ask(stack.data, "kill", before)
        until_all_went_on(traders)
        control.ask(stack.data, "restart", before)
        control.wait_for(stack.data, before, State.RUNNING, SECONDS)
        until_all_went_on(traders)
    assert max(trader.longest_seconds for trader in traders) < STALL_SECONDS


def test_without_any_server_the_answer_is_a_problem_that_says_to_try_again(stack: BackgroundStack) -> None:
    for server in ("gateway-1", "gateway-2"):
        control.ask(stack.data, "kill", server)
        eventually(lambda server=server: state_at_haproxy(stack, server).startswith("DOWN"))
    status, headers, body = ask(stack, "GET", "/users/jane/summary")
    assert (status, headers["content-type"], headers["retry-after"]) == (503, "application/problem+json", "1")
    assert body["code"] == "store_unavailable"
    assert stack.process.poll() is None


def test_clients_that_send_half_a_body_hold_up_nobody_and_are_told_that_they_are_late(stack: BackgroundStack) -> None:
    """HAProxy waits for the bodies, so that no server has a connection for each."""
    host, port = urlsplit(stack.url).hostname, urlsplit(stack.url).port
    head = (
        "POST /users/slow/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {stack.operator_token}\r\nContent-Length: 18\r\n\r\n"
    )
    with contextlib.ExitStack() as connections:
        for _ in range(SLOW_CLIENTS):
            connection = connections.enter_context(socket.create_connection((host, port), timeout=SECONDS))
            connection.sendall(head.encode() + b'{"amount"')
        began = time.monotonic()
        for number in range(10):
            assert add_a_cent(stack, "swift", f"key-{number}") == "200"
        assert time.monotonic() - began < 5.0  # the slow ones are given 20 s
        assert is_problem(connection.recv(4096), 503, "too_late")


def test_what_haproxy_itself_refuses_is_a_problem_or_is_not_answered(stack: BackgroundStack) -> None:
    """Its 422 would mean that a key was used again, and cannot be made a problem."""
    address = (urlsplit(stack.url).hostname, urlsplit(stack.url).port)
    head = b"POST /users/jane/add HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
    with socket.create_connection(address, SECONDS) as wrong, socket.create_connection(address, SECONDS) as silent:
        wrong.sendall(head + b"chunked\r\nExpect: 100-continue\r\n\r\n")
        assert wrong.recv(4096).startswith(b"HTTP/1.1 100 ")  # the head was taken: what is wrong is the body
        wrong.sendall(b"no length\r\n")
        assert is_problem(wrong.recv(4096), 400, "invalid_header")
        silent.sendall(head + b"gzip, chunked\r\n\r\n")
        assert silent.recv(4096) == b""


def test_a_folder_of_three_members_is_not_started_with_one(stack: BackgroundStack, tmp_path: Path) -> None:
    (tmp_path / "mongod-1").mkdir()
    (tmp_path / "mongod-1" / "WiredTiger").touch()
    with pytest.raises(Exception, match="before it was ready"), running_stack(tmp_path):
        pass
