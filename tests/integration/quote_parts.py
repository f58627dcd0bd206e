"""Servers for one test, to be killed, filled and frozen, and processes that ask for quotes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from redis import Redis

from chalicelib.circuit_breaker import CircuitBreaker
from chalicelib.clock import Moments, moment
from chalicelib.domain.quote import Quote
from chalicelib.quotes.cache import QuoteCache
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.questions import Audit, Questions
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from chalicelib.quotes.sources import QuoteSource
from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.process import Part, RunningPart
from infra.local.services.quote_server import quote_server_part, quote_source, server_statistics
from infra.local.services.redis_server import redis_part, redis_url

NAMESPACE = "of_the_tests"
ROOT = Path(__file__).parents[2]
SETTINGS = {
    "MONGO_URI": "mongodb://127.0.0.1:1/",
    "AUTH_SECRET": "a secret of the tests, 32 bytes or more",
    "DUMP_PLACE": "unused",
}
"""Settings that are required but not used by the quotes."""


@dataclass
class OwnServer:
    """A server that the test may kill, freeze and start again on the same port."""

    part: Part
    port: int
    logs: Path
    running: RunningPart | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.running = parts.start(self.part, self.logs)
        self.running.wait_until_ready()

    def kill(self) -> None:
        """End it at once."""
        if self.running is not None:
            self.running.kill()
            self.running = None

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        assert self.running is not None
        os.kill(self.running.pid, number)


@contextmanager
def own_server(part: Part, port: int, logs: Path) -> Iterator[OwnServer]:
    """Run a server for a block of code."""
    server = OwnServer(part, port, logs)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnServer]:
    """Run a redis-server for a block of code."""
    port = free_port()
    with own_server(redis_part(folder / "redis", port, os.environ, memory_mb=64), port, folder / "logs") as server:
        yield server


@contextmanager
def own_quote_server(folder: Path, *arguments: str) -> Iterator[OwnServer]:
    """Run a quote server for a block of code; without arguments it never fails and answers at once."""
    port = free_port()
    part = quote_server_part(port, os.environ, ["--delay", "0", "--fail", "0", *arguments])
    with own_server(part, port, folder / f"logs-{port}") as server:
        yield server


@contextmanager
def client_of(url: str, timeout_seconds: float = 5.0) -> Iterator[Redis]:
    """Connect to Redis for a block of code, without the client's own retries."""
    client = Redis.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, retry=None)
    try:
        yield client
    finally:
        client.close()


def quote_settings(redis: str, source: str, **more: str) -> dict[str, str]:
    """Return the environment of a process that asks for quotes."""
    return {**SETTINGS, "REDIS_URL": redis, "QUOTE_SOURCE": source, **more}


def url_of(redis: OwnServer) -> str:
    """Return the address of a redis-server."""
    return redis_url(redis.port)


def source_of(server: OwnServer) -> str:
    """Return the setting QUOTE_SOURCE for a quote server."""
    return quote_source(server.port)


def hits(server: OwnServer) -> int:
    """Return how many requests reached a quote server."""
    counted: int = server_statistics(server.port)["hits"]
    return counted


@dataclass
class CountedSource:
    """A source with one price that counts requests and can be down."""

    asked: int = 0
    down: bool = False
    users: list[str] = field(default_factory=list)

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        """Return a quote."""
        self.asked += 1
        self.users.append(user)
        if self.down:
            raise FailedTryError("down")
        return Quote(symbol, 1000 + self.asked, user, 17, f"key{self.asked}")


def shared_quotes(
    redis: Redis,
    source: QuoteSource,
    retries: QuoteRetryPolicy,
    moments: Moments = moment,
    breaker: CircuitBreaker | None = None,
    audit_late: Audit = lambda _: None,
) -> SharedQuotes:
    """Return the quotes of a process that shares a Redis."""
    cache = QuoteCache(redis, NAMESPACE, moments, breaker or CircuitBreaker(1.0))
    return SharedQuotes(cache, Questions(source, audit_late, moments, 512), retries, moments)


class Asker:
    """A process whose threads all ask for one quote at the same moment."""

    def __init__(self, environment: Mapping[str, str], symbol: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.quote_asker", symbol, str(threads)],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def go(self) -> None:
        """Make the threads ask."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Return the answer of each thread, once all have one."""
        assert self.process.stdout is not None
        answers: list[dict[str, Any]] = json.loads(self.process.stdout.readline())
        return answers

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
