"""A user's journal without a server: its parts, what is looked for in them, and reads that are no commands."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import bson
import pytest

from chalicelib.domain.account import Account
from chalicelib.store.documents import STATE
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.reads import AccountReads, Snapshot
from chalicelib.store.user_journal import UserJournal, part_id
from tests.unit.test_store_accounts import Shelf, stored


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def journal(shelf: Shelf) -> UserJournal:
    return UserJournal({"accounts": shelf.accounts, "journal": shelf.journal})  # type: ignore[arg-type]


@pytest.mark.parametrize(("version", "closed_to"), [(63, None), (64, 65)])
def test_a_part_of_another_version_is_a_lost_race(shelf: Shelf, version: int, closed_to: int | None) -> None:
    """The account has gone on since, or another process has closed a longer part: it has a newer version."""
    shelf.hold(1, 64)
    if closed_to is not None:
        shelf.journal.held[part_id("jane", 1)] = shelf.part(1, closed_to)
    with pytest.raises(LostRaceError):
        journal(shelf).close_part("jane", version)


def test_entries_come_from_the_newest_down_to_the_one_wanted(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    shelf.journal.found = [shelf.part(5, 6), shelf.part(1, 4)]
    found = list(journal(shelf).newest_first("jane", 8, down_to=1))
    assert [(one.sequence, one.entry.transaction) for one in found] == [(n, n) for n in range(8, 0, -1)]
    (query, form) = shelf.journal.asked[-1]
    assert query == {"_id": {"$gte": part_id("jane", 1), "$lt": part_id("jane", 7)}}
    assert form == {"from": 1, "count": 1, "entries": 1}
    assert [one.sequence for one in journal(shelf).newest_first("jane", 8, down_to=6)] == [8, 7, 6, 5]


def key_in_parts(shelf: Shelf, *, keys_from: int = 3) -> UserJournal:
    """Return the journal of an account whose entry 4, in a closed part, has the key `a key`."""
    shelf.hold(7, 8)
    shelf.accounts.held["jane"][STATE][0]["keys"] = {"a": {"from": keys_from}}
    entries = [bson.decode(stored(number, "a key" if number == 4 else None)) for number in range(3, 5)]
    whole: dict[str, Any] = {"_id": part_id("jane", 3), "from": 3, "count": 2, "entries": entries}
    shelf.journal.held[whole["_id"]] = whole
    newer = {"_id": part_id("jane", 5), "from": 5, "count": 2}
    shelf.journal.found = [newer, {**whole, "entries": entries[1:]}]
    return journal(shelf)


def test_a_key_is_looked_for_in_closed_parts_as_far_back_as_keys_are_known(shelf: Shelf) -> None:
    found = key_in_parts(shelf).find_key("jane", 8, "a key")
    assert found is not None
    assert (found.sequence, found.entry.transaction, found.attempt) == (4, 4, b"%8d" % 4)
    (_, form), (whole, _) = shelf.journal.asked
    assert form == {"from": 1, "count": 1, "entries": {"$elemMatch": {"key": "a key"}}}
    assert whole == {"_id": part_id("jane", 3)}


def test_a_key_that_no_part_holds_is_new_and_older_parts_are_not_asked_for(shelf: Shelf) -> None:
    where = key_in_parts(shelf, keys_from=5)
    del shelf.journal.found[1:]
    assert where.find_key("jane", 8, "a key") is None
    del shelf.accounts.held["jane"][STATE][0]["keys"]
    shelf.journal.asked.clear()
    assert where.find_key("jane", 8, "a key") is None
    assert shelf.journal.asked == []


@pytest.mark.parametrize("left", [None, []])
def test_a_part_that_has_gone_meanwhile_is_of_unknown_outcome(shelf: Shelf, left: list[Any] | None) -> None:
    where = key_in_parts(shelf)
    if left is None:
        shelf.journal.held.clear()
    else:
        shelf.journal.held[part_id("jane", 3)]["entries"] = left
    with pytest.raises(UnknownOutcomeError, match="is not there any more"):
        where.find_key("jane", 8, "a key")


def test_nothing_is_asked_of_the_journal_for_what_stands_in_the_account(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    assert [one.sequence for one in journal(shelf).newest_first("jane", 8, down_to=7)] == [8, 7]
    assert shelf.journal.asked == []


@pytest.mark.parametrize("parts", [[], [(1, 4)], [(5, 6)], [(5, 6), (1, 3)]])
def test_a_gap_in_a_journal_is_of_unknown_outcome(shelf: Shelf, parts: list[tuple[int, int]]) -> None:
    shelf.hold(7, 8)
    shelf.journal.found = [shelf.part(first, last) for first, last in parts]
    with pytest.raises(UnknownOutcomeError, match="is not there"):
        list(journal(shelf).newest_first("jane", 8, down_to=1))


@pytest.mark.parametrize("version", [8, 9])
def test_an_account_that_is_not_there_yet_at_a_version_is_of_unknown_outcome(shelf: Shelf, version: int) -> None:
    shelf.hold(7, 8)
    if version == 8:
        assert journal(shelf).open_part("jane", version).first == 7
    else:
        with pytest.raises(UnknownOutcomeError, match="version 9 of the account of jane is not there yet"):
            journal(shelf).open_part("jane", version)
    with pytest.raises(UnknownOutcomeError):
        journal(shelf).open_part("john", 0)


def reads(shelf: Shelf, reader: Any = None, *, is_archived: bool = False) -> AccountReads:
    def archive(query: Any, _form: Any) -> Any:
        assert query == {"users": "jane"}
        return {"_id": "an archive"} if is_archived else None

    database: Any = {
        "accounts": shelf.accounts,
        "journal": shelf.journal,
        "archives": SimpleNamespace(find_one=archive),
    }
    return AccountReads(database, reader)


def numbers_after(shelf: Shelf, sequence: int, *, is_archived: bool = False) -> list[int]:
    where = reads(shelf, is_archived=is_archived)
    return [one.sequence for one in where.after(where.snapshot("jane"), sequence)]


def numbers_before(shelf: Shelf, *, is_archived: bool = False) -> list[int]:
    where = reads(shelf, is_archived=is_archived)
    return [one.sequence for one in where.newest_first(where.snapshot("jane"))]


def test_what_has_been_archived_is_left_out_where_a_journal_begins_and_nowhere_else(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    assert numbers_before(shelf, is_archived=True) == [8, 7]
    assert numbers_after(shelf, 2, is_archived=True) == [7, 8]
    shelf.journal.found = [shelf.part(5, 6)]
    assert numbers_after(shelf, 2, is_archived=True) == [5, 6, 7, 8]
    for call in (numbers_before, partial(numbers_after, sequence=4)):
        shelf.journal.found = [shelf.part(5, 5)]
        with pytest.raises(UnknownOutcomeError, match="entry 6 of the journal of jane is not there"):
            call(shelf, is_archived=True)


def test_what_is_missing_and_was_not_archived_is_of_unknown_outcome(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    with pytest.raises(UnknownOutcomeError, match="entry 6 "):
        numbers_before(shelf)
    with pytest.raises(UnknownOutcomeError, match="entry 3 "):
        numbers_after(shelf, 2)
    shelf.journal.found = [shelf.part(5, 6)]
    with pytest.raises(UnknownOutcomeError, match="entry 3 "):
        numbers_after(shelf, 2)


def test_a_snapshot_is_an_account_with_the_open_end_of_its_journal(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    snapshot = reads(shelf).snapshot("jane")
    assert (snapshot.account.user, snapshot.version, snapshot.open_from) == ("jane", 8, 7)
    assert [entry["tx"] for entry in snapshot.open_entries] == [7, 8]
    assert reads(shelf).snapshot("john") == Snapshot(Account("john"), 0, 1, ())


def test_a_version_is_read_by_itself_or_with_those_of_others(shelf: Shelf) -> None:
    shelf.hold(7, 8)
    assert (reads(shelf).version("jane"), reads(shelf).version("john")) == (8, 0)
    assert shelf.accounts.asked[0] == ({"_id": "jane"}, {f"{STATE}.version": 1})
    assert reads(shelf, shelf).version("jane") == 0
    shelf.document = shelf.accounts.held["jane"]
    assert reads(shelf, shelf).version("jane") == 8
    assert shelf.reads == [("jane", "", False)] * 2


@pytest.mark.parametrize(
    ("before", "sequences", "end"), [(None, [8, 7, 6, 5], 7), (8, [7, 6, 5], 7), (7, [6, 5], 7), (6, [5], 6)]
)
def test_a_journal_is_read_from_the_newest_entry_or_from_one_on(
    shelf: Shelf, before: int | None, sequences: list[int], end: int
) -> None:
    shelf.hold(7, 8)
    shelf.journal.found = [shelf.part(5, 6)]
    snapshot = reads(shelf).snapshot("jane")
    assert [one.sequence for one in reads(shelf).newest_first(snapshot, before)] == sequences
    assert shelf.journal.asked == [({"_id": {"$gt": "jane:", "$lt": part_id("jane", end)}}, {"from": 1, "entries": 1})]


@pytest.mark.parametrize(("after", "sequences"), [(4, [5, 6, 7, 8]), (5, [6, 7, 8]), (6, [7, 8]), (7, [8]), (8, [])])
def test_a_journal_is_read_from_after_an_entry_on(shelf: Shelf, after: int, sequences: list[int]) -> None:
    shelf.hold(7, 8)
    part = shelf.part(5, 7)  # one entry of it is still in the account
    part["_id"] = part_id("jane", 5)
    shelf.journal.found = [part]
    snapshot = reads(shelf).snapshot("jane")
    assert [one.sequence for one in reads(shelf).after(snapshot, after)] == sequences
    if after < 6:
        bounds = {"$gte": part_id("jane", 5), "$lt": part_id("jane", 7)}
        assert shelf.journal.asked[-1] == ({"_id": bounds}, {"from": 1, "entries": 1})
    else:
        assert shelf.journal.asked == []
