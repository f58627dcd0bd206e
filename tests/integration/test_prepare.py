"""A server that lives long makes what the database needs when it starts, not while somebody waits."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.connections import connect_redis
from chalicelib.runtime import prepare, runtime
from tests.integration.api import Api, running_api
from tests.integration.shop import settings_for

SECONDS = 60.0
INDEXES = {"accounts": {"_id_", "armed", "next_expiry"}, "journal": {"_id_", "times"}, "dumps": {"_id_"}}


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


@pytest.mark.usefixtures("api")
def test_collections_and_indexes_are_there_before_the_first_command() -> None:
    database = runtime().database
    assert database.list_collection_names() == []
    with ThreadPoolExecutor(4) as pool:  # servers that start together
        for thread in pool.map(lambda _: prepare(), range(4)):
            thread.join(SECONDS)
    assert set(INDEXES) <= set(database.list_collection_names())
    assert {name: set(database[name].index_information()) for name in INDEXES} == INDEXES


def test_a_database_that_is_away_keeps_no_server_from_starting(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = "mongodb://127.0.0.1:1/?directConnection=true&serverSelectionTimeoutMS=200"
    with running_api(away, "nowhere", redis_url, tmp_path, MONGO_TIMEOUT_MS="200"):
        thread = prepare()
        thread.join(SECONDS)
        assert not thread.is_alive()
    assert "the indexes will be created on first use" in caplog.text


def test_a_crowd_uses_no_more_connections_of_the_cache_than_the_setting_says(redis_url: str) -> None:
    """Thirty ask at once; who finds none free waits for one."""
    redis = connect_redis(
        settings_for("mongodb://unused", "unused", redis_url, REDIS_POOL_SIZE="3", REDIS_TIMEOUT_MS="10000")
    )
    with ThreadPoolExecutor(30) as pool:
        numbers = set(pool.map(lambda _: redis.client_id(), range(300)))
    redis.close()
    assert 1 <= len(numbers) <= 3
