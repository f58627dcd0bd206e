"""The whole system on a slow and unreliable quote server, and through outages of it and of Redis."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.host.ports import HOST, free_port, reserve
from infra.local.parts import why_not_healthy
from infra.local.process import Part
from infra.local.services.quote_server import server_statistics
from infra.local.stack import PROJECT
from infra.tokens import operator_token
from tests.conftest import StartStack
from tests.integration.quote_parts import (
    OwnServer,
    client_of,
    hits,
    own_quote_server,
    own_redis,
    own_server,
    quote_settings,
    source_of,
    url_of,
)

SECONDS = 120.0
SECRET = "a secret of the tests, 32 bytes or more"


def loadgen(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "loadgen", *arguments]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def workload(folder: Path, commands: int, symbols: int = 50) -> str:
    """Return the name of a new workload file."""
    file = str(folder / "workload.txt")
    size = ["--users=20", f"--commands={commands}", f"--symbols={symbols}", "--seed=1"]
    with loadgen("generate", *size, f"--out={file}") as process:
        assert ends_well(process)
    return file


def replay(file: str, url: str, token: str) -> "subprocess.Popen[str]":
    """Begin a replay that verifies itself."""
    return loadgen("replay", file, f"--url={url}", f"--token={token}", "--verify", "--quiet")


def ends_well(process: "subprocess.Popen[str]") -> bool:
    said, _ = process.communicate(timeout=SECONDS)
    print(said)  # noqa: T201  # shown when the test fails
    return process.returncode == 0


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once something holds that nothing tells of."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def quote_events(file: Path) -> list[dict[str, str]]:
    """Return the `quoteServer` events of an audit log."""
    events = ET.parse(file).iter("quoteServer")  # noqa: S314  # our own file
    return [{field.tag: field.text or "" for field in event} for event in events]


def test_a_replay_on_a_server_that_fails_30_percent_and_takes_up_to_4_s_ends_well_and_every_answer_is_audited(
    stack: StartStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that came when another one had been used: they are in the log when the last question is answered."""
    monkeypatch.setenv("QUOTE_LIMIT_MS", "8000")  # a stop waits so long for questions that nobody answers
    file = workload(tmp_path, 2_000)
    running = stack("--quote-source", "legacy", "--quote-delay", "recorded", "--quote-fail", "0.3")
    with replay(file, running.url, running.operator_token) as process:
        assert ends_well(process)
    ports = json.loads((running.data / "ports.json").read_text())

    def counted() -> dict[str, int]:
        outcomes: dict[str, int] = server_statistics(ports["quote-server"])["outcomes"]
        return outcomes

    def logged() -> list[dict[str, str]]:
        headers = {"Authorization": f"Bearer {running.operator_token}", "Content-Type": "application/json"}
        with contextlib.closing(
            http.client.HTTPConnection(HOST, urlsplit(running.url).port, timeout=SECONDS)
        ) as connection:
            connection.request("POST", "/dumplog", '{"filename": "after.xml"}', headers)
            return quote_events(Path(json.load(connection.getresponse())["location"]))

    failed = sum(counted().get(kind, 0) for kind in ("silent", "reset", "garbage", "half"))
    assert failed > 5, "it did fail"
    wait_until(lambda: len(logged()) == counted()["answered"])
    events = logged()
    assert len(events) > 50, "some came too late"
    assert len({event["cryptokey"] for event in events}) == len(events)


@dataclass
class Shop:
    """A server of the app whose Redis and quote server belong to the test."""

    port: int
    gateway: OwnServer
    dumps: Path
    token: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        assert self.gateway.running is not None
        return self.gateway.running.log.read_text()

    def ask(self, method: str, path: str, key: str | None = None, **body: str) -> tuple[int, Any, Any]:
        """Send one request; return status, answer and headers."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=SECONDS)) as connection:
            connection.request(method, f"/users/jane/{path}", json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers


OpenShop = Callable[..., Shop]


@pytest.fixture
def open_shop(mongo_uri: str, mongo_database: str, tmp_path: Path) -> Iterator[OpenShop]:
    """Return a function that starts a server for a Redis and a quote server."""
    with contextlib.ExitStack() as stack:

        def start(redis: OwnServer, quote_server: OwnServer, **settings: str) -> Shop:
            port, dumps = free_port(), tmp_path / "dumps"
            dumps.mkdir()
            stack.enter_context(contextlib.closing(reserve(port)))
            environment = quote_settings(url_of(redis), source_of(quote_server), **settings) | {
                "MONGO_URI": mongo_uri,
                "MONGO_DATABASE": mongo_database,
                "AUTH_SECRET": SECRET,
                "DUMP_PLACE": str(dumps),
            }
            command = [sys.executable, "-m", "infra.servers.gateway", "--port", str(port)]
            ready = partial(why_not_healthy, port)
            part = Part("gateway", command, os.environ | environment, ready, folder=PROJECT)
            gateway = stack.enter_context(own_server(part, port, tmp_path / "logs"))
            return Shop(port, gateway, dumps, operator_token(SECRET))

        yield start


def test_redis_may_be_killed_and_come_back_during_a_replay(open_shop: OpenShop, tmp_path: Path) -> None:
    file = workload(tmp_path, 4_000)
    with own_redis(tmp_path) as redis, own_quote_server(tmp_path, "--delay", "0:0.02") as quote_server:
        # A Redis that is gone refuses at once; time-outs would only tell of a machine that is busy.
        patient = {"QUOTE_TRY_MS": "5000", "REDIS_TIMEOUT_MS": "10000", "RECENT_QUOTES": "0"}
        shop = open_shop(redis, quote_server, QUOTE_CACHE_PAUSE_MS="200", **patient)
        with replay(file, shop.url, shop.token) as process:
            wait_until(lambda: hits(quote_server) >= 20)
            redis.kill()
            before = hits(quote_server)
            wait_until(lambda: hits(quote_server) > before + 100)  # more than there are symbols: not from a cache
            redis.start()
            with client_of(url_of(redis)) as client:
                wait_until(lambda: client.dbsize() > 0)
            assert process.poll() is None, "all of that was during the replay"
            assert ends_well(process)
        assert shop.log.count("the quote cache is failing") == 1
        assert shop.log.count("the quote cache is in use again") == 1


def test_without_the_quote_server_only_what_needs_a_fresh_price_has_to_wait(
    open_shop: OpenShop, tmp_path: Path
) -> None:
    with own_redis(tmp_path) as redis, own_quote_server(tmp_path, "--price", "fixed:10.00") as quote_server:
        shop = open_shop(redis, quote_server, QUOTE_LIMIT_MS="500")
        status, warm, _ = shop.ask("GET", "quote/AAA")
        assert (status, warm["cached"], warm["price"]) == (200, False, "10.00")
        quote_server.kill()

        for method, path, body in (
            ("GET", "quote/BBB", {}),
            ("POST", "buy", {"symbol": "BBB", "amount": "20.00"}),
            ("POST", "sell", {"symbol": "BBB", "amount": "20.00"}),
        ):
            status, problem, headers = shop.ask(method, path, "key-of-" + path.replace("/", "-"), **body)
            assert (status, problem["code"]) == (503, "quote_unavailable")
            assert int(headers["Retry-After"]) >= 1

        for method, path, body in (
            ("POST", "add", {"amount": "100.00"}),
            ("GET", "quote/AAA", {}),
            ("POST", "buy", {"symbol": "AAA", "amount": "20.00"}),
            ("POST", "commit-buy", {}),
            ("POST", "sell", {"symbol": "AAA", "amount": "10.00"}),
            ("POST", "cancel-sell", {}),
            ("POST", "set-buy-amount", {"symbol": "BBB", "amount": "20.00"}),
            ("POST", "set-buy-trigger", {"symbol": "BBB", "price": "5.00"}),
            ("GET", "summary", {}),
        ):
            status, answer, _ = shop.ask(method, path, **body)
            assert status == 200, answer
            if path in {"quote/AAA", "buy", "sell"}:
                assert answer["cached"] is True
        assert answer["cash"] == "60.00", "the refused buy took nothing"

        quote_server.start()
        status, bought, _ = shop.ask("POST", "buy", "key-of-buy", symbol="BBB", amount="20.00")
        assert (status, bought["cost"], bought["cached"]) == (200, "20.00", False)
        status, fresh, _ = shop.ask("GET", "quote/BBB", "key-of-quote-BBB")
        assert (status, fresh["cached"]) == (200, True)

        status, _, _ = shop.ask("POST", "dumplog", filename="log.xml")
        assert status == 200
        (log,) = shop.dumps.rglob("log.xml")
        audited = [(event["stockSymbol"], event["price"], event["username"]) for event in quote_events(log)]
        assert audited == [("AAA", "10.00", "jane"), ("BBB", "10.00", "jane")]
        times = [(event["quoteServerTime"], event["cryptokey"]) for event in quote_events(log)]
        assert times == [(str(quote["timestamp"]), quote["cryptokey"]) for quote in (warm, fresh)]
