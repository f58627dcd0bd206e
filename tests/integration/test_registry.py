"""What a process asks the database first: the data version, a number of its own (docs/rules.md sections 1, 3 and 8)."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymongo.database import Database

from chalicelib.config.settings import Settings
from chalicelib.connections import connect_database
from chalicelib.domain.errors import UnknownDataVersionError
from chalicelib.runtime import runtime
from chalicelib.store.documents import DATA_VERSION, STATE, Document
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.indexes import missing_indexes
from chalicelib.store.registry import LEASE_SECONDS, Registry
from infra.host.ports import free_port
from infra.local.stack import PROJECT
from tests.integration.api import Api, running_api
from tests.integration.shop import SECRET, Shop, settings_for

OLD_ACCOUNT = {"_id": "jane", "version": 1, "cash": 100, "last_at": 1, "open": [], "closed": []}
"""As builds of form 1 had it."""


@pytest.fixture
def settings(mongo_uri: str, mongo_database: str) -> Settings:
    return settings_for(mongo_uri, mongo_database)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[Document]]:
    database = connect_database(settings)
    yield database
    database.client.close()


def lease(settings: Settings) -> int:
    """Lease a number in a process of its own."""
    database = connect_database(settings)
    try:
        return Registry(database).number()
    finally:
        database.client.close()


def test_processes_that_start_together_on_an_empty_database_have_numbers_of_their_own(
    settings: Settings, database: Database[Document]
) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        numbers = pool.map(lease, [settings] * 8, chunksize=1)
    assert sorted(numbers) == list(range(1, 9))
    assert missing_indexes(database) == []
    assert database["meta"].find_one() == {"_id": "data", "version": DATA_VERSION, "processes": 8}


def test_threads_share_the_number_of_their_process(database: Database[Document]) -> None:
    registry = Registry(database)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: registry.number(), range(50))) == {1}


@dataclass
class Clocks:
    """Both clocks of a process."""

    now_ms: int = 1_700_000_000_000
    seconds: float = 0.0


@pytest.mark.parametrize(("by_wall", "by_monotonic"), [(True, False), (False, True), (True, True)])
def test_a_process_that_stood_still_for_an_hour_takes_another_number(
    database: Database[Document], by_wall: bool, by_monotonic: bool
) -> None:
    """Whichever of its clocks stood still with it: others may have used all numbers up meanwhile."""
    clocks = Clocks()
    registry = Registry(database, lambda: clocks.now_ms, lambda: clocks.seconds)
    assert registry.number() == 1
    clocks.now_ms += round(LEASE_SECONDS * 1000 - 1) * by_wall
    clocks.seconds += (LEASE_SECONDS - 0.001) * by_monotonic
    assert registry.number() == 1
    clocks.now_ms += by_wall
    clocks.seconds += 0.001 * by_monotonic
    assert registry.number() == 2


def test_a_child_of_a_process_has_a_number_of_its_own(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(database)
    assert registry.number() == 1
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert registry.number() == 2


def test_a_database_that_is_away_is_asked_again_later_and_those_who_wait_share_the_failure(
    mongo_uri: str, mongo_database: str
) -> None:
    away = connect_database(settings_for("mongodb://127.0.0.1:1/?directConnection=true", "x", MONGO_TIMEOUT_MS="200"))
    clocks = Clocks()
    registry = Registry(away, lambda: clocks.now_ms, lambda: clocks.seconds)
    failures = []
    for _ in range(2):
        with pytest.raises(UnknownOutcomeError) as raised:
            registry.number()
        failures.append(raised.value)
    assert failures[0] is failures[1]
    clocks.seconds += 1
    registry._meta = connect_database(settings_for(mongo_uri, mongo_database))["meta"]
    registry._database = registry._meta.database
    assert registry.number() == 1
    away.client.close()
    registry._database.client.close()


@pytest.mark.parametrize("version", [None, DATA_VERSION - 1, DATA_VERSION + 1])
def test_data_of_another_form_are_neither_read_nor_written(
    settings: Settings, database: Database[Document], version: int | None
) -> None:
    if version is None:
        database["accounts"].insert_one(OLD_ACCOUNT)
    else:
        database["meta"].insert_one({"_id": "data", "version": version, "processes": 5})
    before = {name: list(database[name].find()) for name in ("accounts", "journal")}
    shop = Shop(settings)
    with pytest.raises(UnknownDataVersionError) as raised:
        shop.does("ADD", amount="1.00")
    shop.close()
    says = "have no version" if version is None else f"have version {version}"
    assert says in str(raised.value)
    assert ("infra.migrate" in str(raised.value)) is (version is None or version < DATA_VERSION)
    assert {name: list(database[name].find()) for name in before} == before


def test_data_of_our_form_that_have_lost_their_version_get_it_again(
    settings: Settings, database: Database[Document]
) -> None:
    shop = Shop(settings)
    shop.does("ADD", amount="1.00")
    database["meta"].drop()
    other = Shop(settings)
    assert other.does("ADD", amount="1.00").entry.cash_cents == 200
    assert database["meta"].count_documents({"version": DATA_VERSION}) == 1
    shop.close()
    other.close()


@pytest.mark.parametrize("recent", [0, 100])
def test_an_account_that_was_taken_to_another_form_while_we_run_is_left_alone(
    settings: Settings, database: Database[Document], recent: int
) -> None:
    """Also by a server that keeps its record, whose write finds nothing to change."""
    shop = Shop(settings, recent=recent)
    shop.does("ADD", amount="1.00")
    database["accounts"].update_one({"_id": "jane"}, {"$rename": {STATE: "v9"}})
    after = database["accounts"].find_one()
    with pytest.raises(UnknownDataVersionError):
        shop.does("ADD", amount="1.00")
    assert database["accounts"].find_one() == after
    shop.close()


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def test_health_and_commands_say_that_the_data_are_of_another_form(api: Api, database: Database[Document]) -> None:
    api.post("/users/jane/add", {"amount": "1.00"})
    database["meta"].update_one({}, {"$set": {"version": DATA_VERSION + 1}})
    reply = api.get("/health")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "unknown_data_version", "30")
    assert reply.body["detail"].startswith(f"down: data: the data have version {DATA_VERSION + 1}")


def test_a_command_on_data_of_another_form_is_a_503_of_its_own(api: Api, database: Database[Document]) -> None:
    database["accounts"].insert_one(OLD_ACCOUNT)
    reply = api.post("/users/jane/add", {"amount": "1.00"})
    assert (reply.status, reply.code) == (503, "unknown_data_version")
    assert "nothing was changed" in reply.body["detail"]
    assert api.get("/health").code == "unknown_data_version"


def test_health_names_a_missing_index_and_goes_on(api: Api, database: Database[Document]) -> None:
    api.post("/users/jane/add", {"amount": "1.00"})
    database["accounts"].drop_index("armed")
    reply = api.get("/health")
    assert (reply.status, reply.body) == (200, {"status": "degraded", "down": ["index armed"]})
    runtime().sweeper.sweep()
    assert api.get("/health").body == {"status": "ok"}


@pytest.mark.parametrize("server", ["infra.servers.gateway", "infra.servers.chalice_server", "infra.servers.ticker"])
def test_a_server_refuses_to_start_on_data_of_another_form_and_says_what_to_do(
    database: Database[Document], mongo_uri: str, mongo_database: str, tmp_path: Path, server: str
) -> None:
    database["accounts"].insert_one(OLD_ACCOUNT)
    environment = os.environ | {
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": mongo_database,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": SECRET,
        "DUMP_PLACE": str(tmp_path),
        "TRIGGER_SECONDS": "1",
    }
    command = [sys.executable, "-m", server]
    command += [] if server.endswith("ticker") else ["--port", str(free_port())]
    ended = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode in {1, 2}
    assert "the data have no version" in ended.stdout + ended.stderr
    assert "`python -m infra.migrate`" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert database["accounts"].find_one() == OLD_ACCOUNT
