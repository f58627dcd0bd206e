"""Keys and history on a real mongod: found in the open and closed parts of a journal (docs/rules.md section 7)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import bson
import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chalicelib.domain.errors import KeyReusedError, StoreUnavailableError, UnavailableError
from chalicelib.domain.journal import HISTORY_LENGTH
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document, state_of
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.user_journal import PART_BYTES, PART_ENTRIES, part_id
from tests.integration.shop import Shop
from tests.integration.writes import other_process


def test_a_key_is_found_in_the_open_part_and_in_the_closed_one(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(PART_ENTRIES * 2 + 10)]
    fresh = Shop(shop.settings)
    for number in range(len(firsts) - 64, len(firsts)):
        again = fresh.does("ADD", amount="1.00", key=f"key-{number}")
        assert (again.replayed, again.entry) == (True, firsts[number].entry)
    assert fresh.does("QUOTE", "ABC").entry.cash_cents == 100 * len(firsts)
    fresh.close()


def test_the_first_outcome_comes_back_also_when_it_was_a_rejection_or_a_summary(shop: Shop) -> None:
    rejected = shop.does("COMMIT_BUY", key="rejected")
    summary = shop.does("DISPLAY_SUMMARY", key="summary")
    shop.does("ADD", amount="1.00")
    fresh = Shop(shop.settings)
    for first, name, key in ((rejected, "COMMIT_BUY", "rejected"), (summary, "DISPLAY_SUMMARY", "summary")):
        again = fresh.does(name, key=key)
        assert (again.entry, again.result, again.replayed) == (first.entry, first.result, True)
    fresh.close()


FIRST: dict[str, Any] = {
    "name": "SET_BUY_AMOUNT",
    "symbol": "ABC",
    "amount": "1.00",
    "filename": "log",
    "of_all": False,
    "order": 7,
}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "SET_SELL_AMOUNT"},
        {"symbol": "ABD"},
        {"amount": "1.01"},
        {"filename": "logs"},
        {"of_all": True},
        {"order": 8},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_key_used_for_a_command_that_differs_in_one_thing_is_refused(shop: Shop, other: dict[str, Any]) -> None:
    shop.does("ADD", amount="9.00")
    first = shop.does(**FIRST, key="once")
    with pytest.raises(KeyReusedError, match=f"transaction {first.entry.transaction}"):
        shop.does(**(FIRST | other), key="once")
    again = shop.does(**FIRST, key="once")
    assert (again.replayed, again.entry) == (True, first.entry)
    assert shop.accounts.read("jane").version == 2


@pytest.mark.parametrize("other", [{"filename": "other.xml"}, {"of_all": True}], ids=["filename", "of_all"])
def test_a_key_used_for_another_dumplog_is_refused(shop: Shop, other: dict[str, Any]) -> None:
    shop.does("DUMPLOG", filename="log.xml", key="once")
    with pytest.raises(KeyReusedError):
        shop.does("DUMPLOG", **({"filename": "log.xml"} | other), key="once")
    assert shop.does("DUMPLOG", filename="log.xml", key="once").replayed


def test_keys_belong_to_their_user(shop: Shop) -> None:
    shop.does("ADD", amount="1.00", key="same")
    assert not shop.does("ADD", amount="2.00", user="john", key="same").replayed


def test_the_journal_keeps_every_entry_once_over_many_parts(shop: Shop) -> None:
    total = PART_ENTRIES * 3 + 7
    for _ in range(total):
        shop.does("ADD", amount="0.01")
    parts = list(shop.database["journal"].find({"user": "jane"}).sort("_id", 1))
    record = other_process(shop).read("jane")
    sequences = [part["from"] + place for part in parts for place in range(part["count"])]
    assert sequences == list(range(1, record.open_from))
    assert record.version == len(shop.entries()) == total
    assert all(len(part["entries"]) == part["count"] for part in parts)


def test_a_part_copied_by_a_process_that_then_lost_its_race_is_cut_exactly(shop: Shop) -> None:
    """A copy under the same number that holds fewer entries than are open now: only those are cut, none is lost."""
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="0.01")
    copy_a_shorter_part(shop, 10)
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="0.01")
    fresh = other_process(shop).read("jane")
    parts = list(shop.database["journal"].find({}).sort("_id", 1))
    assert parts[0]["count"] == 10
    assert sum(part["count"] for part in parts) + fresh.open_count == 2 * PART_ENTRIES == fresh.version
    assert [entry.transaction for entry in shop.entries()] == list(range(1, 2 * PART_ENTRIES + 1))
    assert fresh.account.cash_cents == 2 * PART_ENTRIES


def test_the_key_of_the_first_entry_left_after_another_process_copied_a_shorter_part_is_known(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="0.01", key=f"key-{number}") for number in range(PART_ENTRIES)]
    copy_a_shorter_part(shop, 10)
    shop.does("ADD", amount="0.01", key="the next")
    fresh = Shop(shop.settings, recent=0)
    for number in (0, 9, 10, 11, PART_ENTRIES - 1):
        again = fresh.does("ADD", amount="0.01", key=f"key-{number}")
        assert (again.replayed, again.entry) == (True, firsts[number].entry)
    fresh.close()


def copy_a_shorter_part(shop: Shop, count: int) -> None:
    """Copy the first entries of jane's open part, as a process does that then loses its race for the account."""
    account = shop.database["accounts"].find_one({"_id": "jane"})
    assert account is not None
    entries = state_of(account)["open"][:count]
    times = {"from_at": entries[0]["at"], "to_at": entries[-1]["at"]}
    part = {"_id": part_id("jane", 1), "user": "jane", "from": 1, "count": count, **times, "entries": entries}
    shop.database["journal"].insert_one(part)


def test_a_part_that_grew_large_is_closed_early_and_the_last_keys_are_still_found(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(2)]
    pretend_large(shop)
    firsts += [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(2, 70)]
    fresh = Shop(shop.settings)
    assert [part["count"] for part in shop.database["journal"].find().sort("_id", 1)] == [2, PART_ENTRIES]
    for number in range(6, 70):
        assert fresh.does("ADD", amount="1.00", key=f"key-{number}").entry == firsts[number].entry
    fresh.close()


def pretend_large(shop: Shop) -> None:
    """Let the open part of jane's journal be as large as it may be, as the shop's process knows it."""
    record = shop.accounts.kept("jane")
    assert record is not None
    shop.accounts._recent.forget("jane")
    shop.accounts._recent.put(replace(record, open_bytes=PART_BYTES))


def test_a_request_held_up_for_hundreds_of_commands_is_still_known(shop: Shop) -> None:
    """A suspended server lets a request go that was sent again and answered elsewhere long ago."""
    first = shop.does("ADD", amount="1.00", key="held up")
    for number in range(400):
        shop.now_ms += 100
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    woken = Shop(shop.settings, now_ms=shop.now_ms)
    again = woken.does("ADD", amount="1.00", key="held up")
    assert (again.replayed, again.entry) == (True, first.entry)
    woken.close()


def test_keys_are_found_also_in_many_short_parts(shop: Shop) -> None:
    first = shop.does("ADD", amount="1.00", key="first")
    for number in range(60):
        pretend_large(shop)
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    assert shop.database["journal"].count_documents({}) == 60
    assert shop.does("ADD", amount="1.00", key="first").entry == first.entry


def test_history_reaches_into_closed_parts_and_leaves_out_the_system(shop: Shop) -> None:
    for _ in range(PART_ENTRIES + 3):
        shop.does("ADD", amount="0.01")
    fresh = Shop(shop.settings)
    history = fresh.does("DISPLAY_SUMMARY").result["history"]
    assert [past["transaction"] for past in history] == list(range(PART_ENTRIES + 3, PART_ENTRIES - 17, -1))
    fresh.close()


def test_the_history_is_that_of_one_user_when_others_have_closed_parts(shop: Shop) -> None:
    """Also of a user whose name begins another's, and of one that sorts right behind it."""
    users = ("jane", "jan", "jane-b", "john")
    for _ in range(PART_ENTRIES + 3):
        for place, user in enumerate(users):
            shop.does("ADD", amount=f"0.{place + 1:02d}", user=user)
    fresh = Shop(shop.settings, recent=0)
    for place, user in enumerate(users):
        history = fresh.does("DISPLAY_SUMMARY", user=user).result["history"]
        assert [past["transaction"] for past in history] == [
            number * len(users) + place + 1 for number in range(PART_ENTRIES + 2, PART_ENTRIES - 18, -1)
        ]
    fresh.close()


def holes(shop: Shop) -> None:
    """Let the closed parts of the journal be where nobody finds them, as on a member that lags behind."""
    shop.database["journal"].rename("hidden", dropTarget=True)


def test_a_part_that_should_be_there_and_is_not_makes_an_outcome_unknown_and_no_key_new(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(PART_ENTRIES + 5)]
    holes(shop)
    hasty = Shop(replace(shop.settings, command_timeout_ms=300), recent=0)
    with pytest.raises(StoreUnavailableError):
        hasty.does("ADD", amount="1.00", key="key-0")
    with pytest.raises(UnavailableError):
        hasty.does("DISPLAY_SUMMARY")
    record = hasty.accounts.read("jane")
    with pytest.raises(UnknownOutcomeError):
        hasty.accounts.find_attempt(record, b"attempt!", since=PART_ENTRIES - 1)
    assert hasty.accounts.find_attempt(record, b"attempt!", since=PART_ENTRIES) is None
    assert hasty.does("ADD", amount="1.00", key=f"key-{PART_ENTRIES + 1}").replayed
    shop.database["hidden"].rename("journal", dropTarget=True)
    assert hasty.does("ADD", amount="1.00", key="key-0").entry == firsts[0].entry
    assert hasty.accounts.read("jane").version == PART_ENTRIES + 5
    hasty.close()


def test_a_gap_between_closed_parts_makes_an_outcome_unknown(shop: Shop) -> None:
    """Not only the newest part can be missing, nor only the oldest: what is behind a gap proves nothing."""
    for number in range(3 * PART_ENTRIES + 1):
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    middle = shop.database["journal"].find_one_and_delete({"_id": part_id("jane", PART_ENTRIES + 1)})
    assert middle is not None
    for number in (0, PART_ENTRIES):
        record = shop.accounts.read("jane", f"key-{number}")
        with pytest.raises(UnknownOutcomeError):
            shop.accounts.find_key(record, f"key-{number}")
    with pytest.raises(UnknownOutcomeError):
        shop.accounts.find_attempt(record, b"attempt!", since=0)
    shop.database["journal"].insert_one(middle)
    assert shop.accounts.find_key(record, f"key-{PART_ENTRIES}") is not None


def test_an_account_of_an_older_version_than_is_known_is_no_place_to_look_for_a_key(shop: Shop) -> None:
    """So a new primary may answer for a moment after a failover."""
    shop.does("ADD", amount="1.00", key="once")
    record = shop.accounts.read("jane", "once")
    with pytest.raises(UnknownOutcomeError):
        shop.accounts.find_key(replace(record, version=2), "once")


class Commands(CommandListener):
    """Notes what is sent to MongoDB."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "update", "insert", "getMore", "aggregate"}:
            self.sent.append((event.command_name, event.command))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@pytest.fixture
def cold(shop: Shop) -> Iterator[tuple[Shop, list[tuple[str, Any]]]]:
    """Return a server that keeps no account, and what it sends."""
    noted = Commands()
    client: MongoClient[Document] = MongoClient(shop.settings.mongo_uri, event_listeners=[noted])
    with client:
        cold = Shop(shop.settings, recent=0)
        database = connect_with(client, cold.database)
        cold.accounts = Accounts(database, "cold", RecentRecords(0))
        cold.trading = replace(cold.trading, store=cold.accounts)
        cold.does("ADD", amount="1.00", user="john")  # the version of the data is asked for once
        noted.sent.clear()
        yield cold, noted.sent
        cold.close()


def connect_with(client: MongoClient[Document], database: Database[Document]) -> Database[Document]:
    """Return a database by another client, with the same concerns."""
    return client.get_database(database.name, write_concern=database.write_concern, read_concern=database.read_concern)


@pytest.mark.parametrize("name", ["ADD", "BUY"])
def test_a_keyed_command_on_a_cold_account_is_one_read_without_the_journal_and_one_write(
    shop: Shop, cold: tuple[Shop, list[tuple[str, Any]]], name: str
) -> None:
    for number in range(10):
        shop.does("ADD", amount="50.00", key=f"key-{number}")
    server, sent = cold
    server.does(name, "ABC", "10.00", key="new")
    assert [command for command, _ in sent] == ["find", "update"]
    read, written = (command for _, command in sent)
    assert read["readConcern"] == {"level": "majority"}
    assert written["writeConcern"]["w"] == "majority"
    assert written["writeConcern"]["j"]
    assert not [field for field in read["projection"] if ".open" in field and field.split(".")[1] == "open"]
    assert not [field for field in read["projection"] if field.endswith((".keys", ".keys.a"))]
    assert len(bson.encode(written["updates"][0]["u"])) < 700


@pytest.mark.parametrize("past", [0, 3, 40, PART_ENTRIES - 1, PART_ENTRIES + 25])
def test_a_summary_of_a_cold_account_is_one_read_and_one_write_while_its_latest_commands_stand_in_it(
    shop: Shop, cold: tuple[Shop, list[tuple[str, Any]]], past: int
) -> None:
    for _ in range(past):
        shop.does("ADD", amount="1.00")
    server, sent = cold
    history = server.does("DISPLAY_SUMMARY").result["history"]
    assert len(history) == min(past, HISTORY_LENGTH)
    assert [command for command, _ in sent] == ["find", "update"]


def test_a_summary_of_a_cold_account_reads_as_far_back_as_its_latest_commands_go(
    shop: Shop, cold: tuple[Shop, list[tuple[str, Any]]]
) -> None:
    for _ in range(PART_ENTRIES + 3):
        shop.does("ADD", amount="1.00")
    server, sent = cold
    assert len(server.does("DISPLAY_SUMMARY").result["history"]) == HISTORY_LENGTH
    assert [(name, command[name]) for name, command in sent] == [
        ("find", "accounts"),
        ("find", "accounts"),
        ("find", "journal"),
        ("update", "accounts"),
    ]


def test_a_warm_server_knows_the_history_without_reading_the_journal(shop: Shop) -> None:
    for _ in range(PART_ENTRIES + 3):
        shop.does("ADD", amount="0.01")
    shop.database["journal"].delete_many({})
    history = shop.does("DISPLAY_SUMMARY").result["history"]
    assert [past["transaction"] for past in history] == list(range(PART_ENTRIES + 3, PART_ENTRIES - 17, -1))
    assert shop.does("DISPLAY_SUMMARY").result["history"][0]["command"] == "DISPLAY_SUMMARY"


def test_the_history_is_the_same_from_the_process_as_from_the_journal(shop: Shop) -> None:
    for number in range(PART_ENTRIES + 10):
        shop.now_ms += 1_000
        shop.does(("ADD", "BUY", "COMMIT_BUY", "SELL", "DISPLAY_SUMMARY")[number % 5], "ABC", "20.00")
        if number % 10 == 0:
            kept = shop.accounts.kept("jane")
            assert kept is not None
            warm = kept.latest
            assert warm == other_process(shop).with_history(other_process(shop).read("jane")).latest
            assert warm == other_process(shop).with_history(other_process(shop).read("jane", with_latest=True)).latest
