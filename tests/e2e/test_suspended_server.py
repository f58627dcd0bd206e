"""A server is suspended with a command in its socket, the command is done elsewhere, and the server goes on later."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from chalicelib.store.key_filter import GENERATION_KEYS
from infra.local import control
from infra.local.background import BackgroundStack, running_stack
from infra.local.services import haproxy
from infra.local.supervisor import State
from tests.e2e.conftest import SMALL

SECONDS = 60.0
TWO = ("--servers", "2", "--balance", "request", "--quote-source", "fixed:10.00", "--trigger-seconds", "0")
STUCK_SECONDS = 1.0
"""A request that took so long was in the suspended server's socket before it was sent to the other one."""


@pytest.fixture(scope="module")
def shared(haproxy_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    with running_stack(tmp_path_factory.mktemp("suspended"), *TWO, *SMALL) as stack:
        yield stack


@dataclass
class Client:
    """Gives commands over one connection."""

    stack: BackgroundStack
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(self.stack.url).netloc, timeout=SECONDS)

    def add(self, user: str, amount: str, key: str) -> tuple[int, dict[str, Any], float]:
        """Add, and return status, body and how long it took."""
        headers = {
            "Authorization": f"Bearer {self.stack.operator_token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        began = time.monotonic()
        self.connection.request("POST", f"/users/{user}/add", json.dumps({"amount": amount}), headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read()), time.monotonic() - began

    def close(self) -> None:
        self.connection.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def add_once(stack: BackgroundStack, user: str, amount: str, key: str) -> tuple[int, dict[str, Any], float]:
    with closing(Client(stack)) as client:
        return client.add(user, amount, key)


def stuck_users(stack: BackgroundStack, prefix: str) -> list[str]:
    """Send an ADD of 1000.00 for each of some users; return those whose request lay in a suspended server first."""
    users = [f"{prefix}{number}" for number in range(8)]
    with ThreadPoolExecutor(len(users)) as pool:
        answers = list(pool.map(lambda user: add_once(stack, user, "1000.00", "held up"), users))
    assert [status for status, _, _ in answers] == [200] * len(users)
    return [user for user, (_, _, seconds) in zip(users, answers, strict=True) if seconds > STUCK_SECONDS]


def account(stack: BackgroundStack, user: str) -> Any:
    with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        found = client[stack.mongo_database]["accounts"].find_one({"_id": user})
        assert found is not None
        return state_of(found)


@pytest.mark.parametrize("newer", [1_200, 2 * GENERATION_KEYS + 100], ids=["known", "forgotten"])
def test_a_command_in_the_socket_of_a_suspended_server_is_done_once(shared: BackgroundStack, newer: int) -> None:
    """With fewer newer commands its key is still known; with more it is forgotten, but its client is gone."""
    stack = shared
    for number in range(8):
        add_once(stack, f"late{newer}-{number}", "1.00", "the first")
    control.ask(stack.data, "pause", "gateway-1")
    try:
        stuck = stuck_users(stack, f"late{newer}-")
        assert stuck, "no request went to the suspended server"
        user = stuck[0]
        with closing(Client(stack)) as client:
            for number in range(newer):
                assert client.add(user, "0.01", f"newer-{number}")[0] == 200
    finally:
        control.ask(stack.data, "resume", "gateway-1")
    eventually(lambda: haproxy.seen(stack.data)["gateway-1"].state == "UP")
    served: list[str] = []

    def has_served() -> bool:
        """Tell whether the server that was suspended has answered commands that came after what it had."""
        add_once(stack, "another", "0.01", f"{newer}-{len(served)}")
        served.append(account(stack, "another")["open"][-1]["srv"])
        return served.count("gateway-1") >= 5

    eventually(has_served)
    assert account(stack, user)["cash"] == 100_100 + newer
    for other in stuck[1:]:
        assert account(stack, other)["cash"] == 100_100
    assert control.ask(stack.data, "status")
    assert all(part.state is State.RUNNING for part in control.ask(stack.data, "status"))


def test_a_command_that_comes_late_out_of_a_suspended_server_is_refused(haproxy_program: str, tmp_path: Path) -> None:
    """Both servers stand still and the client waits: the time is over when they go on, as HAProxy has said."""
    with running_stack(tmp_path / "two", *TWO, *SMALL, environment={"COMMAND_TIMEOUT_MS": "1000"}) as stack:
        assert add_once(stack, "jane", "1.00", "the first")[0] == 200
        servers = ("gateway-1", "gateway-2")
        for name in servers:
            control.ask(stack.data, "pause", name)
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            late = pool.submit(add_once, stack, "jane", "1000.00", "late")
            eventually(lambda: time.monotonic() > began + 1.5)
            for name in servers:
                control.ask(stack.data, "resume", name)
            status, body, _ = late.result(SECONDS)
        assert (status, body.get("code")) == (503, "too_late")
        assert account(stack, "jane")["cash"] == 100
        eventually(lambda: add_once(stack, "jane", "1000.00", "late")[0] == 200)
        assert account(stack, "jane")["cash"] == 100_100
