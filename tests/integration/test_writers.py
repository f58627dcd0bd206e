"""What writers promise on a real mongod: each write is applied once or not at all, and is told the truth."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import sleep
from typing import Any

import bson
import pytest
from bson import Int64
from pymongo.collection import Collection
from pymongo.errors import WriteError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from chalicelib.domain.account import Account
from chalicelib.domain.errors import AccountFullError, IndexConflictError
from chalicelib.domain.journal import QuoteHit
from chalicelib.domain.system import SYSTEM_JOURNAL
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.grouped.writer import GroupWriter
from chalicelib.store.indexes import DUE_INDEX
from chalicelib.store.recent import RecentRecords
from chalicelib.store.writers import AccountWriter, SingleWriter
from tests.integration.shop import Shop
from tests.integration.writes import FULL_ENTRY, outcome, write_of

_TOO_LARGE_FOR_CACHE = 388


@pytest.fixture(params=["single", "group"])
def writer(request: pytest.FixtureRequest, shop: Shop) -> Iterator[AccountWriter]:
    """Return each kind of writer in turn: what is said here holds for all."""
    accounts = shop.database["accounts"]
    writer: AccountWriter = SingleWriter(accounts) if request.param == "single" else GroupWriter(accounts, 8)
    yield writer
    writer.close()


def test_a_write_applies_to_its_version_and_to_no_other(writer: AccountWriter, shop: Shop) -> None:
    assert outcome(writer, write_of("jane", 0, b"attempt1")) is None
    assert outcome(writer, write_of("jane", 1, b"attempt2")) is None
    assert outcome(writer, write_of("jane", 0, b"attempt3")) is LostRaceError
    assert outcome(writer, write_of("jane", 1, b"attempt4")) in {LostRaceError, UnknownOutcomeError}
    account = shop.database["accounts"].find_one({"_id": "jane"})
    assert account is not None
    state = state_of(account)
    assert (state["version"], [entry["id"] for entry in state["open"]]) == (2, [b"attempt1", b"attempt2"])


@pytest.mark.parametrize("version", [0, 1, 3, 4])
def test_a_write_for_another_version_leaves_the_whole_document_as_it_is(
    writer: AccountWriter, shop: Shop, version: int
) -> None:
    for number in range(2):
        writer.write(write_of("jane", number, b"attempt%d" % number))
    before = shop.database["accounts"].find_one({"_id": "jane"})
    stale = write_of("jane", version, b"attempt!")
    if version:
        fields = {"cash": Int64(1), "holdings.ABC": 1, "open.0": {"id": b"attempt!"}, "version": version + 1}
        stale = stale._replace(operators={"$set": fields, "$push": {"pending_buys": {}}, "$unset": {"next_expiry": ""}})
    assert outcome(writer, stale) in {LostRaceError, UnknownOutcomeError}
    assert shop.database["accounts"].find_one({"_id": "jane"}) == before


@pytest.mark.parametrize("version", [0, 3])
def test_an_account_of_a_build_before_the_array_is_left_as_it_is(
    writer: AccountWriter, shop: Shop, version: int
) -> None:
    """CHANGELOG.md says how it is converted."""
    older = {"_id": "jane", "version": 3, "cash": 500, "open": []}
    shop.database["accounts"].insert_one(dict(older))
    assert outcome(writer, write_of("jane", version, b"attempt!")) in {LostRaceError, UnknownOutcomeError}
    assert shop.database["accounts"].find_one({"_id": "jane"}) == older


@pytest.mark.parametrize("version", [0, 1])
def test_mongodb_finds_the_account_of_a_write_by_its_id_and_plans_nothing(shop: Shop, version: int) -> None:
    """That would cost it a quarter of a write, and is why the guard is no part of the query."""
    SingleWriter(shop.database["accounts"]).write(write_of("jane", 0, b"attempt1"))
    update = {"update": "accounts", "updates": [write_of("jane", version, b"attempt2").statement()]}
    plan = shop.database.command({"explain": update, "verbosity": "queryPlanner"})["queryPlanner"]["winningPlan"]
    assert (plan["stage"], plan["inputStage"]["stage"]) == ("UPDATE", "IDHACK")


def test_of_many_writes_for_one_version_one_is_applied_and_knows_it(writer: AccountWriter, shop: Shop) -> None:
    for version in range(5):
        writes = [write_of("jane", version, f"try-{version}-{number}".encode()) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda write: outcome(writer, write), writes))
        assert outcomes.count(None) == 1
        account = shop.database["accounts"].find_one({"_id": "jane"})
        assert account is not None
        assert state_of(account)["version"] == version + 1
        assert state_of(account)["open"][-1]["id"] == writes[outcomes.index(None)].write_id


def test_winners_and_losers_of_one_group_are_told_apart(writer: AccountWriter, shop: Shop) -> None:
    users = [f"user{number}" for number in range(8)]
    for user in users:
        writer.write(write_of(user, 0, b"first"))
    for user in users[::2]:
        SingleWriter(shop.database["accounts"]).write(write_of(user, 1, b"other"))
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda user: outcome(writer, write_of(user, 1, b"mine" + user.encode())), users))
    assert [failure is None for failure in outcomes] == [False, True] * 4


def test_a_lost_race_is_told_as_such_and_one_whose_place_was_moved_to_the_journal_is_unknown(
    writer: AccountWriter, shop: Shop
) -> None:
    """A lost race needs no look at the journal, and another server's win is not the rare case without stickiness."""
    for version in range(2):
        writer.write(write_of("jane", version, b"number %d" % version))
    assert outcome(writer, write_of("jane", 1, b"too late")) is LostRaceError
    shop.database["accounts"].update_one({"_id": "jane"}, {"$set": {f"{STATE}.0.open_from": 3, f"{STATE}.0.open": []}})
    lost = LostRaceError if isinstance(writer, SingleWriter) else UnknownOutcomeError
    assert outcome(writer, write_of("jane", 1, b"too late")) is lost


def test_a_try_that_was_overtaken_by_an_earlier_try_of_its_own_does_not_pass_for_applied(
    writer: AccountWriter, shop: Shop
) -> None:
    """The first try arrives late, after the second was decided: the account is as the first one says."""
    first, second = (Accounts(shop.database, name, RecentRecords(10), writer) for name in ("first", "second"))
    shop.does("ADD", amount="1.00")
    at_first, at_second = first.read("jane"), second.read("jane")
    entry = replace(FULL_ENTRY, key=None)
    first.save(at_first, replace(at_first.account, cash_cents=500), entry, b"attempt1")
    with pytest.raises(StoreError):
        second.save(at_second, replace(at_second.account, cash_cents=900), entry, b"attempt1")
    assert second.read("jane").account.cash_cents == 500
    found = second.find_attempt(second.read("jane"), b"attempt1", at_second.version)
    assert found is not None
    assert (found.attempt, found.sequence) == (b"attempt1", 2)


@pytest.mark.parametrize("kind", [SingleWriter, partial(GroupWriter, limit=8)], ids=["single", "group"])
def test_a_write_that_too_few_members_confirmed_is_of_unknown_outcome(
    kind: Callable[[Collection[Document]], AccountWriter], shop: Shop
) -> None:
    two = WriteConcern(2, wtimeout=100)  # of a set of one
    writer = kind(shop.database["accounts"].with_options(write_concern=two))
    assert outcome(writer, write_of("jane", 0, b"attempt!")) is UnknownOutcomeError
    # Nobody waited for a majority to have it, so a read that asks for what a majority has may come too early.
    written = shop.database.get_collection("accounts", read_concern=ReadConcern("local"))
    assert written.count_documents({f"{STATE}.version": 1}) == 1
    writer.close()


def test_a_new_account_comes_to_life_once(writer: AccountWriter, shop: Shop) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda n: outcome(writer, write_of("jane", 0, f"try-{n}".encode())), range(8)))
    assert outcomes.count(None) == 1
    assert shop.accounts.read("nobody").account == Account("nobody")


def test_what_the_database_can_hold_no_more_of_is_refused_for_good_and_changes_nothing(
    writer: AccountWriter, shop: Shop
) -> None:
    """A document of 16 MiB, told by the database or by the driver, and a number of more than 63 bits."""
    accounts = shop.database["accounts"]
    writer.write(write_of("jane", 0, b"attempt1"))
    accounts.update_one({"_id": "jane"}, {"$set": {f"{STATE}.0.ballast": b"x" * (9 << 20)}})
    before = accounts.find_one({"_id": "jane"})
    write = write_of("jane", 1, b"attempt2")
    for field, value in (("more", b"x" * (9 << 20)), ("huge", b"x" * (17 << 20)), ("cash", 2**63)):
        grown = write._replace(operators={"$set": {"version": 2, field: value}})
        assert outcome(writer, grown) is AccountFullError
        assert accounts.find_one({"_id": "jane"}) == before
    assert outcome(writer, write_of("jane", 1, b"attempt3")) is None


def test_an_index_that_allows_no_further_account_is_named_and_not_waited_for(writer: AccountWriter, shop: Shop) -> None:
    shop.database["accounts"].create_index(f"{STATE}.open_from", unique=True)
    assert outcome(writer, write_of("jane", 0, b"attempt1")) is None
    assert outcome(writer, write_of("bob", 0, b"attempt2")) is IndexConflictError


def test_an_index_in_the_way_of_ours_is_told_when_they_are_made(shop: Shop) -> None:
    shop.database["accounts"].create_index("something", name=DUE_INDEX)
    with pytest.raises(IndexConflictError, match="operators"):
        shop.accounts.make_indexes()
    with pytest.raises(IndexConflictError):
        shop.does("ADD", amount="1.00")


def has_taken(shop: Shop, update: Mapping[str, Any]) -> bool:
    """Update jane's account; return False when mongod's cache, a small one in tests, has no room for it just now."""
    try:
        shop.database["accounts"].update_one({"_id": "jane"}, update)
    except WriteError as error:
        if error.code != _TOO_LARGE_FOR_CACHE:
            raise
        return False
    return True


def test_a_hit_on_the_source_for_an_account_that_is_full_stands_in_the_journal_of_the_system(shop: Shop) -> None:
    shop.does("ADD", amount="1.00")
    there = shop.database["accounts"].find_one({"_id": "jane"})
    assert there is not None
    ballast = b"x" * (16 * 1024 * 1024 - len(bson.encode(there)) - 50)
    for _ in range(200):
        if has_taken(shop, {"$set": {f"{STATE}.0.ballast": ballast}}):
            break
        shop.database.client.admin.command("fsync")  # what other tests wrote goes from mongod's cache to the disk
        sleep(0.1)  # and is evicted from it in the background
    else:
        pytest.fail("mongod's cache never had room for the account")
    shop.quotes.cached = False
    with pytest.raises(AccountFullError):
        shop.does("QUOTE", "ABC")
    (hit,) = (entry for entry in shop.entries(SYSTEM_JOURNAL))
    assert [type(event) for event in hit.events] == [QuoteHit]
