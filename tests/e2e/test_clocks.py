"""Two servers, one with a wrong clock: it does not trade, and nobody is sent there (docs/rules.md section 1)."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.clock import set_offset
from infra.host.ports import HOST
from infra.local.background import BackgroundStack, running_stack
from infra.local.parts import clock_file
from infra.local.services import haproxy

SECONDS = 60.0
SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
RIGHT, WRONG = "gateway-1", "gateway-2"
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Servers:
    """Asks one server, or the stack's front door."""

    stack: BackgroundStack

    def ask(self, server: str | None, method: str, path: str, body: object = None) -> tuple[int, Any, Any]:
        """Return status, headers and body."""
        ports = json.loads((self.stack.data / "ports.json").read_text())
        port = urlsplit(self.stack.url).port if server is None else ports[server]
        connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {self.stack.operator_token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.headers, json.loads(response.read())
        finally:
            connection.close()

    def does(self, server: str | None, command: str, **body: str) -> tuple[int, Any]:
        """Give a command of jane; return the status and, of a failure, the code."""
        status, _, answer = self.ask(server, "POST", f"/users/jane/{command}", body)
        return status, answer.get("code")

    def step(self, server: str, offset_ms: int) -> None:
        """Let the clock of a server be off from now on."""
        set_offset(clock_file(self.stack.data, server), offset_ms)

    def wait_until(self, server: str, state: str) -> None:
        """Return when HAProxy sees a server so."""
        wait_for(lambda: haproxy.seen(self.stack.data)[server].state.startswith(state))


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(haproxy_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    data = tmp_path_factory.mktemp("clocks") / "stack"
    options = ("--servers", "2", "--balance", "request", "--settable-clocks", "--quote-source", "fixed:10.00")
    with running_stack(data, *options, *SMALL) as running:
        yield running


@pytest.fixture
def servers(stack: BackgroundStack) -> Iterator[Servers]:
    """Return the servers, both well, before a test and after it."""
    asked = Servers(stack)
    assert asked.does(RIGHT, "add", amount="100.00") == (200, None)
    yield asked
    asked.step(WRONG, 0)
    asked.wait_until(WRONG, "UP")
    assert asked.does(WRONG, "add", amount="1.00") == (200, None)


@pytest.mark.parametrize("offset_ms", [HOUR_MS, 61_000, -600_000])
def test_a_server_whose_clock_was_set_wrong_does_not_trade_and_says_so(servers: Servers, offset_ms: int) -> None:
    before = servers.ask(RIGHT, "GET", "/users/jane/summary")[2]
    assert servers.ask(WRONG, "GET", "/users/jane/quote/ABC")[0] == 200
    servers.step(WRONG, offset_ms)
    status, headers, problem = servers.ask(WRONG, "POST", "/users/jane/buy", {"symbol": "ABC", "amount": "10.00"})
    assert (status, problem["code"], headers["Retry-After"]) == (503, "clock_skew", "1")
    side = "ahead of" if offset_ms > 0 else "behind"
    assert f"clock is {abs(offset_ms) / 1000:.1f} s {side} the database's" in problem["detail"]
    status, _, health = servers.ask(WRONG, "GET", "/health")
    assert (status, health["code"]) == (503, "clock_skew")
    assert health["detail"].startswith("down: clock: ")
    assert servers.ask(RIGHT, "GET", "/users/jane/summary")[2]["cash"] == before["cash"]


def test_an_order_is_committed_by_the_server_whose_clock_is_right(servers: Servers) -> None:
    """On one that is 61 s ahead the order would have run out."""
    assert servers.does(RIGHT, "buy", symbol="ABC", amount="10.00") == (200, None)
    servers.step(WRONG, 61_000)
    assert servers.does(WRONG, "commit-buy") == (503, "clock_skew")
    assert servers.does(RIGHT, "commit-buy") == (200, None)


def test_a_balancer_sends_nobody_to_a_server_with_a_wrong_clock(servers: Servers) -> None:
    servers.step(WRONG, HOUR_MS)
    servers.wait_until(WRONG, "DOWN")
    assert [servers.does(None, "add", amount="1.00") for _ in range(6)] == [(200, None)] * 6
