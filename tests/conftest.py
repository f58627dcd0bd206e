"""Real servers for the tests: one mongod and one redis-server a test process, started when a test first asks for them.

A server that is missing or does not start is a failure, never a skip.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings
from pymongo import MongoClient
from redis import Redis

from infra.host.binaries import BinaryMissingError, find_chromium, find_haproxy
from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.background import BackgroundStack, running_stack
from infra.local.process import Part
from infra.local.services.mongo import mongo_uri as uri_of
from infra.local.services.mongo import mongod_part
from infra.local.services.redis_server import redis_part
from infra.local.services.redis_server import redis_url as url_of

StartStack = Callable[..., BackgroundStack]
"""Called with arguments of `infra.local up` and optionally `data`, a folder; returns the running stack."""

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile(
    "any machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts a script's background jobs with SIGINT ignored, and processes started by the tests would inherit
    # that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_GONE_SECONDS = 30.0
_MOST_PROCESSES = 8  # each with a mongod and a redis-server, and with stacks beside them
_SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64", "--trigger-seconds", "0")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes `make test` runs tests in: one more than there are processors, as most tests wait."""
    return min((os.cpu_count() or 1) + 1, _MOST_PROCESSES)


@contextmanager
def _running(part: Part, logs: Path) -> Iterator[None]:
    process = parts.start(part, logs)
    try:
        process.wait_until_ready()
        yield
    finally:
        process.kill()  # nothing of it is needed any more


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running one-member replica set, shared by the tests of this process."""
    folder = tmp_path_factory.mktemp("mongod")
    port = free_port()
    part = mongod_part(folder / "data", port, os.environ, cache_gb=0.25, oplog_mb=64)
    with _running(part, folder):
        yield uri_of([port])
    shutil.rmtree(folder)  # some 300 MB that pytest would keep for three sessions


@pytest.fixture
def mongo_database(mongo_uri: str) -> Iterator[str]:
    """Return the name of a database for this test only, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with MongoClient[dict[str, object]](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def _redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    with _running(redis_part(folder / "data", port, os.environ, memory_mb=64), folder):
        yield url_of(port)


@pytest.fixture
def redis_url(_redis_url: str) -> str:
    """Return the address of an empty redis-server: no test sees what another one left."""
    with Redis.from_url(_redis_url) as client:
        client.flushall()
    return _redis_url


@pytest.fixture(scope="session")
def haproxy_program() -> str:
    """Return the haproxy that several servers need."""
    return _program_of_the_system(find_haproxy)


@pytest.fixture(scope="session")
def chromium_program() -> str:
    """Return the chromium that shows the page."""
    return _program_of_the_system(find_chromium)


def _program_of_the_system(find: Callable[[], Path]) -> str:
    """Return a program that no wheel installs; without it the test fails in CI and is skipped elsewhere."""
    try:
        return str(find())
    except BinaryMissingError as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))


@contextmanager
def _stack_that_leaves_nothing(data: Path, arguments: tuple[str, ...]) -> Iterator[BackgroundStack]:
    family: list[psutil.Process] = []
    with running_stack(data, *_SMALL, *arguments) as running:
        yield running
        with suppress(psutil.NoSuchProcess):  # a test may have ended it
            family = psutil.Process(running.process.pid).children(recursive=True)
    _, left = psutil.wait_procs(family, timeout=_GONE_SECONDS)
    assert left == []


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[StartStack]:
    """Return a function that starts a stack for this test only, on free ports.

    At the end of the test each stack is stopped, must exit with 0 and must leave no process.
    """
    with ExitStack() as stacks:

        def start(*arguments: str, data: Path = tmp_path / "stack") -> BackgroundStack:
            return stacks.enter_context(_stack_that_leaves_nothing(data, arguments))

        yield start
