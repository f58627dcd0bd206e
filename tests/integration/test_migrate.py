"""Data of older builds are taken over whole: accounts, journals, keys, triggers and indexes (`infra.migrate`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from pymongo import MongoClient, ReplaceOne
from pymongo.database import Database

from chalicelib.config.settings import Settings
from chalicelib.connections import connect_database
from chalicelib.domain.errors import MIGRATING, UnknownDataVersionError
from chalicelib.store.documents import DATA_VERSION, STATE, Document
from chalicelib.store.indexes import missing_indexes
from infra.migrate import cli, migration
from infra.migrate.forms import converted, unchanged
from infra.migrate.migration import migrate
from tests.integration.shop import Shop, settings_for
from tests.integration.sweeping import PricedQuotes, audit, sweeper_of

FORMS = Path(__file__).with_name("older_forms")
OLDER = (1, 2)


@pytest.fixture
def settings(mongo_uri: str, mongo_database: str) -> Settings:
    return settings_for(mongo_uri, mongo_database)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[Document]]:
    """Return the database, to a client that is no server."""
    with MongoClient[Document](settings.mongo_uri) as client:
        yield client[settings.mongo_database]


def put(database: Database[Document], form: int) -> None:
    """Make the database one that an older commit left."""
    made: dict[str, Any] = json_util.loads((FORMS / f"form-{form}.json").read_text())
    database["accounts"].insert_many(made["accounts"])
    database["journal"].insert_many(made["journal"])
    for index in made["indexes"]:
        database["accounts"].create_index(list(index["key"]), name=index["name"], sparse=index["sparse"])


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line on the database of the test; servers of other tests may be connected."""
    monkeypatch.setenv("MONGO_URI", settings.mongo_uri)
    monkeypatch.setenv("MONGO_DATABASE", settings.mongo_database)
    return cli.main(arguments)


def refuses(settings: Settings, says: str) -> None:
    shop = Shop(settings)
    with pytest.raises(UnknownDataVersionError, match=says):
        shop.does("ADD", amount="1.00")
    shop.close()


@pytest.mark.parametrize("form", OLDER)
def test_an_account_of_an_older_build_goes_on_where_it_was(
    settings: Settings, database: Database[Document], monkeypatch: pytest.MonkeyPatch, form: int
) -> None:
    put(database, form)
    refuses(settings, "have no version")
    assert run(settings, monkeypatch, "--anyway") == 0
    assert missing_indexes(database) == []
    shop = Shop(settings, recent=0)
    account = shop.accounts.read("jane").account
    assert (account.cash_cents, account.holdings) == (83_070, {"ABC": 6})
    for key, amount in (("first", "1000.00"), ("key-5", "0.01"), ("key-69", "0.01")):
        assert shop.does("ADD", amount=amount, key=key).replayed, f"{key} is known"
    assert not shop.does("ADD", amount="0.01", key="a new one").replayed
    assert [shop.does(name).entry.outcome for name in ("COMMIT_BUY", "COMMIT_SELL")] == ["ok", "ok"]
    report = sweeper_of(shop, PricedQuotes({"XYZ": 900, "ABC": 1200})).sweep()
    assert (report.due, report.fired) == (1, 2)
    assert shop.does("ADD", amount="1.00", user="john").entry.cash_cents == 600
    assert sum(kind == "userCommand" for kind, _ in audit(settings)) == 80 + 4
    shop.close()


@pytest.mark.parametrize("form", OLDER)
def test_a_dry_run_says_what_there_is_and_changes_nothing(
    settings: Settings,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: int,
) -> None:
    put(database, form)
    before = {name: list(database[name].find()) for name in ("accounts", "journal", "meta")}
    assert run(settings, monkeypatch, "--dry-run") == 0
    assert f"2 accounts of version {form}; with --dry-run nothing was changed" in capsys.readouterr().out
    assert {name: list(database[name].find()) for name in before} == before


def test_done_again_it_does_nothing(
    settings: Settings,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(database, 2)
    assert run(settings, monkeypatch, "--anyway") == 0
    before = list(database["accounts"].find())
    assert run(settings, monkeypatch, "--anyway") == 0
    assert "no account of an older version; the data have version 3" in capsys.readouterr().out
    assert list(database["accounts"].find()) == before
    assert database["meta"].find_one() == {"_id": "data", "version": DATA_VERSION, "processes": 0}


def many(database: Database[Document], count: int) -> None:
    """Make so many accounts of form 2."""
    put(database, 2)
    john = database["accounts"].find_one({"_id": "john"})
    assert john is not None
    database["accounts"].insert_many([{**john, "_id": f"user{number}"} for number in range(count)])


def test_one_that_was_interrupted_goes_on_and_nobody_trades_meanwhile(
    settings: Settings, database: Database[Document]
) -> None:
    many(database, 450)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(database, interrupt)
    assert 0 < database["accounts"].count_documents({STATE: {"$exists": True}}) < 452
    assert database["meta"].count_documents({"version": MIGRATING}) == 1
    refuses(settings, "a migration of the data has not finished")
    migrate(database, lambda *_: None)
    assert database["accounts"].count_documents({STATE: {"$exists": True}}) == 452
    shop = Shop(settings)
    assert shop.does("ADD", amount="1.00", user="user449").entry.cash_cents == 600
    shop.close()


def test_an_account_that_is_written_to_meanwhile_is_taken_over_as_it_is_afterwards(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old server that nobody stopped: its write comes between reading and replacing."""
    put(database, 2)
    replace = migration._replace
    written: list[int] = []

    def late(database: Database[Document], batch: list[Document]) -> None:
        if not written:
            change = {"$set": {"state.0.cash": 777}, "$inc": {"state.0.version": 1}}
            written.append(database["accounts"].update_one({"_id": "john"}, change).modified_count)
        replace(database, batch)

    monkeypatch.setattr(migration, "_replace", late)
    outcome = migrate(database, lambda *_: None)
    john = database["accounts"].find_one({"_id": "john"})
    assert john is not None
    assert (john[STATE][0]["cash"], john[STATE][0]["version"], written) == (777, 2, [1])
    assert outcome.found[2] == 3


@pytest.mark.parametrize("form", OLDER)
def test_the_guard_of_a_replacement_is_the_accounts_version(database: Database[Document], form: int) -> None:
    put(database, form)
    document = database["accounts"].find_one({"_id": "jane"})
    assert document is not None
    stale = json_util.loads(json_util.dumps(document))
    field = "version" if form == 1 else "state.0.version"
    database["accounts"].update_one({"_id": "jane"}, {"$inc": {field: 1}})
    assert database["accounts"].bulk_write([ReplaceOne(unchanged(stale), converted(stale))]).modified_count == 0


def test_an_account_that_no_build_has_made_stops_it_before_anything_is_changed(
    settings: Settings,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(database, 1)
    database["accounts"].insert_one({"_id": "odd", "money": 5})
    before = list(database["accounts"].find())
    assert run(settings, monkeypatch, "--anyway") == 1
    assert "nothing was changed: the account 'odd' has a form that no build has made" in capsys.readouterr().err
    assert list(database["accounts"].find()) == before
    assert database["meta"].count_documents({}) == 0


def test_data_of_a_newer_build_are_left_alone(
    settings: Settings,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database["meta"].insert_one({"_id": "data", "version": DATA_VERSION + 1, "processes": 7})
    assert run(settings, monkeypatch) == 1
    assert "use the newer build" in capsys.readouterr().err
    assert database["meta"].find_one() == {"_id": "data", "version": DATA_VERSION + 1, "processes": 7}


@pytest.mark.parametrize("older_name", [None, "day-trading"])
def test_servers_that_are_connected_are_to_be_stopped_first(
    older_name: str | None,
    settings: Settings,
    database: Database[Document],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(database, 2)
    server = (
        connect_database(settings)
        if older_name is None
        else MongoClient[Document](settings.mongo_uri, appname=older_name).get_database(database.name)
    )
    server.command("ping")
    assert run(settings, monkeypatch) == 1
    assert "servers are connected, from 127.0.0.1:" in capsys.readouterr().err
    assert database["accounts"].count_documents({STATE: {"$exists": True}}) == 0
    assert run(settings, monkeypatch, "--anyway") == 0
    server.client.close()


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("MONGO_URI", raising=False)
    assert cli.main([]) == 2
    assert "set MONGO_URI" in capsys.readouterr().err
    assert cli.main(["--data", str(tmp_path)]) == 1
    assert "is not the folder of a stack that has data" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "python -m infra.migrate --dry-run" in capsys.readouterr().out
