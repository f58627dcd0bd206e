"""Real servers for the tests: one mongod and one redis-server a session, started when a test first asks for them."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient

from infra import parts
from infra.mongo import mongo_uri as uri_of
from infra.mongo import mongod_part
from infra.parts import Part
from infra.ports import free_port
from infra.redis_server import redis_part
from infra.redis_server import redis_url as url_of


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
    """Return the address of a running one-member replica set, shared by the session."""
    folder = tmp_path_factory.mktemp("mongod")
    port = free_port()
    part = mongod_part(folder / "data", port, os.environ, cache_gb=0.25, oplog_mb=64)
    with _running(part, folder):
        yield uri_of([port])
    shutil.rmtree(folder)  # some 300 MB that pytest would keep for three sessions


@pytest.fixture
def mongo_database(mongo_uri: str) -> Iterator[str]:
    """Return the name of a database that is this test's alone, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with MongoClient[dict[str, object]](mongo_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running redis-server, shared by the session."""
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    with _running(redis_part(folder / "data", port, os.environ, memory_mb=64), folder):
        yield url_of(port)
