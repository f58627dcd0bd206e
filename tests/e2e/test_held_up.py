"""The gateway serves all requests on one thread: nothing that a request waits for may hold up the others."""

import http.client
import json
import os
import signal
import socket
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import psutil
import pytest

from infra.local.background import BackgroundStack, running_stack
from infra.local.services import haproxy
from tests.e2e.conftest import SMALL

SECONDS = 60.0
STOCK, FRESH_STOCK, AMOUNT = {"symbol": "ABC"}, {"symbol": "XYZ"}, {"amount": "20.00"}
COMMANDS = {
    "add": AMOUNT,
    "buy": STOCK | AMOUNT,
    "commit-buy": {},
    "cancel-buy": {},
    "sell": STOCK | AMOUNT,
    "commit-sell": {},
    "cancel-sell": {},
    "set-buy-amount": STOCK | AMOUNT,
    "set-buy-trigger": STOCK | {"price": "5.00"},
    "cancel-set-buy": STOCK,
    "set-sell-amount": STOCK | AMOUNT,
    "set-sell-trigger": STOCK | {"price": "50.00"},
    "cancel-set-sell": STOCK,
    "dumplog": {"filename": "log"},
}


@pytest.fixture(scope="module")
def silent_provider() -> Iterator[socket.socket]:
    """Return the socket of an identity provider that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, silent_provider: socket.socket) -> Iterator[BackgroundStack]:
    """Return a stack with one worker, whose waits are long: a wait that held up all would be seen."""
    patience = {
        "REDIS_TIMEOUT_MS": "10000",
        "QUOTE_LIMIT_MS": "20000",
        "RATE_LIMIT": "100000",
        "AUTH_JWKS_URL": f"http://127.0.0.1:{silent_provider.getsockname()[1]}/keys",
        "AUTH_ISSUER": "https://issuer.example",
        "AUTH_AUDIENCE": "traders",
        "AUTH_TIMEOUT_MS": "20000",
    }
    options = ("--workers", "1", "--quote-source", "fixed:10.00", "--trigger-seconds", "0")
    with running_stack(tmp_path_factory.mktemp("shop"), *options, *SMALL, environment=patience) as stack:
        yield stack


@contextmanager
def standing_still(stack: BackgroundStack, *names: str) -> Iterator[None]:
    """Have parts of the stack stand still."""
    for name in names:
        os.kill(stack.pids[name], signal.SIGSTOP)
    try:
        yield
    finally:
        for name in names:
            os.kill(stack.pids[name], signal.SIGCONT)


def ask(stack: BackgroundStack, method: str, path: str, token: str = "", body: object = None) -> int:
    """Send one request; return the status of its answer."""
    with closing(http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=SECONDS)) as connection:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status


def give_all(stack: BackgroundStack, pool: ThreadPoolExecutor, kind: str) -> list[Future[int]]:
    """Give each of the sixteen commands, by traders of their own, and those that need a quote for a fresh stock too."""
    asked = []
    for name, body in COMMANDS.items():
        user = f"{kind}{name}".replace("-", "")
        asked.append(pool.submit(ask, stack, "POST", f"/users/{user}/{name}", stack.trader_token(user), body))
    for name in ("buy", "sell", "set-buy-amount"):
        user = f"{kind}{name}fresh".replace("-", "")
        token = stack.trader_token(user)
        asked.append(pool.submit(ask, stack, "POST", f"/users/{user}/{name}", token, FRESH_STOCK | AMOUNT))
    for path in ("quote/ABC", "quote/XYZ", "summary"):
        user = f"{kind}{path}".replace("/", "")
        asked.append(pool.submit(ask, stack, "GET", f"/users/{user}/{path}", stack.trader_token(user)))
    return asked


@pytest.mark.parametrize("parts", [("mongod",), ("redis",), ("mongod", "redis")], ids="+".join)
def test_what_commands_wait_for_holds_up_nobody(shop: BackgroundStack, parts: tuple[str, ...]) -> None:
    """By traders the server knows and by new ones: loads, quotes, limits, closed parts, writes, logs and histories."""
    kind = "".join(parts)
    with ThreadPoolExecutor(64) as pool:
        for _ in range(2):  # the second time the server knows them
            assert all(status in {200, 409} for status in [one.result() for one in give_all(shop, pool, f"{kind}old")])
        with standing_still(shop, *parts):
            asked = [*give_all(shop, pool, f"{kind}old"), *give_all(shop, pool, f"{kind}new")]
            asked.append(pool.submit(ask, shop, "GET", "/health"))
            for _ in range(30):
                assert ask(shop, "GET", "/") == 200
            assert not any(one.done() for one in asked)
        assert {one.result(SECONDS) for one in asked} <= {200, 409, 503}


def test_an_identity_provider_that_says_nothing_holds_up_nobody(
    shop: BackgroundStack, silent_provider: socket.socket
) -> None:
    head, claims = ({"alg": "RS256", "kid": "unknown"}, {"sub": "jane"})
    token = ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims, "x"))
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, shop, "GET", "/users/jane/summary", token) for _ in range(4)]
        for _ in range(30):
            assert ask(shop, "GET", "/") == 200
        assert not any(one.done() for one in asked)
        silent_provider.close()  # who still waits for it is refused, now and at the next try
        assert {one.result(SECONDS) for one in asked} == {503}


QUOTES = 300
QUOTE_LIMIT_SECONDS, SPARE_SECONDS = 6.0, 2.0


@pytest.mark.parametrize("servers", [1, 2])
def test_a_quote_server_that_says_nothing_holds_up_nobody_but_those_who_need_it(
    tmp_path: Path, servers: int, request: pytest.FixtureRequest
) -> None:
    """The contract: others are answered in 2 s, quotes refused 2 s after their limit, and no server is marked down."""
    if servers > 1:
        request.getfixturevalue("haproxy_program")
    with closing(socket.create_server(("127.0.0.1", 0), backlog=4_096)) as silent:
        source = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        patience = {"QUOTE_LIMIT_MS": str(int(QUOTE_LIMIT_SECONDS * 1000)), "QUOTE_TRY_MS": "2000"}
        options = ("--servers", str(servers), "--quote-source", source, "--trigger-seconds", "0", *SMALL)
        watching = Event()
        with (
            running_stack(tmp_path / "stack", *options, environment=patience) as held,
            ThreadPoolExecutor(QUOTES + 1) as pool,
        ):
            states = pool.submit(states_until, watching, held.data) if servers > 1 else None
            paths = [f"/users/asks{place}/quote/{symbol(place)}" for place in range(QUOTES)]
            quotes = [pool.submit(timed, held, "GET", path) for path in paths]
            until(lambda: connections_to(silent) >= QUOTES / 2)
            assert not any(one.done() for one in quotes)
            for name in ("first", "second", "third"):
                for method, path, body in (
                    ("GET", "/health", None),
                    ("POST", f"/users/{name}/add", AMOUNT),
                    ("POST", f"/users/{name}/dumplog", {"filename": "log"}),
                ):
                    status, seconds = timed(held, method, path, body)
                    assert status == 200
                    assert seconds < SPARE_SECONDS
            assert not all(one.done() for one in quotes)
            took = [one.result(SECONDS) for one in quotes]
            watching.set()
        assert {status for status, _ in took} == {503}
        assert max(seconds for _, seconds in took) < QUOTE_LIMIT_SECONDS + SPARE_SECONDS
        if states is not None:
            assert states.result() == {"UP"}


def symbol(place: int) -> str:
    """Return a stock symbol of its own for each number."""
    return f"{chr(65 + place // 676)}{chr(65 + place // 26 % 26)}{chr(65 + place % 26)}"


def timed(stack: BackgroundStack, method: str, path: str, body: object = None) -> tuple[int, float]:
    """Send a request as an operator; return the status of its answer and the seconds it took."""
    began = time.monotonic()
    return ask(stack, method, path, stack.operator_token, body), time.monotonic() - began


def connections_to(server: socket.socket) -> int:
    """Return how many connections to a listening socket there are."""
    port = server.getsockname()[1]
    return sum(one.raddr[1:] == (port,) for one in psutil.net_connections("tcp"))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def states_until(over: Event, data: Path) -> set[str]:
    """Return all states of the servers that HAProxy has told until then."""
    found: set[str] = set()
    while not over.wait(0.2):
        found |= {one.state.split()[0] for one in haproxy.seen(data).values()}
    return found
