"""A member of a replica set that lags behind, and an address of the database that says to read from it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern

from chalicelib.audit.archives import Archives
from chalicelib.audit.folder import Folder
from chalicelib.audit.journal import Journals
from chalicelib.audit.retention import DAY_MS, Retention
from chalicelib.runtime import make_runtime
from chalicelib.store.documents import state_of
from chalicelib.store.due import DueAccounts
from chalicelib.store.reads import AccountReads
from chalicelib.store.user_journal import PART_ENTRIES
from infra.host.ports import free_port
from infra.local.services.mongo import PRIMARY, mongo_uri, role
from tests.faults.test_members import NAMES, members
from tests.integration.shop import Shop, settings_for
from tests.integration.sweeping import PricedQuotes, sweeper_of

ASKS_THE_LAGGARD = (
    "&readPreference=secondary&readPreferenceTags=is:late",
    "&readPreference=nearest&readPreferenceTags=is:late&maxStalenessSeconds=90",
    "&readPreference=secondaryPreferred&readPreferenceTags=is:late&readConcernLevel=local",
)


@pytest.fixture(scope="module")
def lagging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a set of three; one of them, tagged so, stands still since before there were any data."""
    ports = [free_port() for _ in NAMES]
    with members(tmp_path_factory.mktemp("lagging"), ports, "--setParameter", "enableTestCommands=1"):
        primary = next(port for port in ports if role(port) == PRIMARY)
        laggard = next(port for port in ports if port != primary)
        with MongoClient[dict[str, Any]](mongo_uri(ports)) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            config["members"][ports.index(laggard)] |= {"votes": 0, "priority": 0, "tags": {"is": "late"}}
            config["settings"]["chainingAllowed"] = False  # or the third may follow the one that stands still
            config["version"] += 1
            client.admin.command("replSetReconfig", config)
        with MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{laggard}/?directConnection=true") as client:
            while not client.admin.command("hello").get("tags"):
                time.sleep(0.05)
            client.admin.command("configureFailPoint", "rsSyncApplyStop", mode="alwaysOn")
        yield mongo_uri(ports)


@pytest.mark.parametrize("options", ASKS_THE_LAGGARD)
def test_nothing_is_read_from_a_member_that_lags_behind_whatever_the_address_says(
    lagging: str, options: str, tmp_path: Path
) -> None:
    """Keys, journals, logs, triggers, archives: each read in vain there would do something twice, or leave it out."""
    name = f"lagging_{ASKS_THE_LAGGARD.index(options)}"
    settings = settings_for(lagging + options, name)
    shop = Shop(settings)
    count = 2 * PART_ENTRIES + 5
    firsts = [shop.does("ADD", amount="10.00", key=f"key-{number}") for number in range(count)]
    with MongoClient[dict[str, Any]](lagging + options) as client:
        while len(client.secondaries) < len(NAMES) - 1:  # else `secondaryPreferred` may find the primary alone
            time.sleep(0.05)
        there = client.get_database(name, read_concern=ReadConcern("majority"))["accounts"].find_one({"_id": "jane"})
        assert there is None or state_of(there)["version"] < count, "the member does not lag"
    fresh = Shop(settings, recent=0)
    for number, first in enumerate(firsts):
        again = fresh.does("ADD", amount="10.00", key=f"key-{number}")
        assert (again.replayed, again.entry) == (True, first.entry)
    fresh.does("SET_BUY_AMOUNT", "ABC", "10.00")
    fresh.does("SET_BUY_TRIGGER", "ABC", "10.00")
    assert DueAccounts(fresh.database).symbols() == ["ABC"]
    assert sweeper_of(fresh, PricedQuotes({"ABC": 1000})).sweep().fired == 1
    reads = AccountReads(fresh.database)
    assert reads.snapshot("jane").version == count + 3 == reads.version("jane")
    assert len(fresh.does("DISPLAY_SUMMARY").result["history"]) == 20
    place = Folder(tmp_path)
    journals = Journals(fresh.database, Archives(fresh.database, place))
    assert len(list(journals.lines(None, fresh.now_ms))) == len(list(journals.lines("jane", fresh.now_ms))) == count + 4
    later = fresh.now_ms + 10 * DAY_MS
    retention = Retention(fresh.database, place, lambda: later, days=1)
    for _ in range(PART_ENTRIES):  # parts without keys, beside those whose keys are known
        fresh.does("QUOTE", "ABC", user="john")
    fresh.does("ADD", amount="1.00", user="john")
    retention.run()
    assert len(list(journals.lines(None, fresh.now_ms))) == count + 4 + PART_ENTRIES + 1
    shop.close()
    fresh.close()


def test_the_parts_of_a_server_read_the_primary(lagging: str, redis_url: str, tmp_path: Path) -> None:
    settings = settings_for(lagging + ASKS_THE_LAGGARD[0], "parts", redis_url, DUMP_PLACE=str(tmp_path))
    parts = make_runtime(settings)
    for database in (parts.database, parts.logs):
        assert database.read_preference.mongos_mode == "primary"
        assert database["accounts"].read_preference.mongos_mode == "primary"
    assert parts.health().code is None
    parts.close()
