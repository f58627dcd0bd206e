"""Accounts and journals without a server: what is asked for, what is sent, and what a process keeps of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError

from chalicelib.domain.account import Account
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import AccountFullError, IndexConflictError
from chalicelib.domain.journal import HISTORY_LENGTH, OK, Entry
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import DATA_VERSION, STATE, account_document, entry_document, new_state
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.key_filter import KeyFilter, block_of
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record, new_record
from chalicelib.store.user_journal import PART_BYTES, PART_ENTRIES, part_id
from chalicelib.store.writers import GuardedWrite

ATTEMPT = b"attempt!"
SERVER = "a server"


def entry_of(number: int, key: str | None = None, message: str | None = None, transaction: int | None = None) -> Entry:
    return Entry(
        transaction=number if transaction is None else transaction,
        timestamp_ms=1_000 + number,
        command=CommandName.ADD,
        symbol=None,
        amount_cents=100,
        filename=None,
        of_all=False,
        key=key,
        outcome=OK,
        message=message,
        cash_cents=100,
        events=(),
        result={},
    )


def stored(number: int, key: str | None = None) -> bytes:
    """Return an entry as an account holds it; its attempt is named after it."""
    return bson.encode(entry_document(entry_of(number, key), b"%8d----" % number, SERVER))


class Cursor:
    """What a query has found."""

    def __init__(self, documents: Sequence[Any]) -> None:
        self._documents = documents

    def sort(self, *_: Any) -> "Cursor":
        return self

    def batch_size(self, _: int) -> "Cursor":
        return self

    def __enter__(self) -> Iterator[Any]:
        return iter(self._documents)

    def __exit__(self, *_: object) -> None: ...


@dataclass
class Documents:
    """A collection of which the test says what it holds: `held` by id, and what a query finds (`found`)."""

    held: dict[str, Any] = field(default_factory=dict)
    found: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    name: str = "accounts"
    key_pattern: Mapping[str, int] = field(default_factory=lambda: {"_id": 1})

    def with_options(self, *, codec_options: Any) -> Any:
        """Return the collection as one of raw documents."""
        assert codec_options.document_class is RawBSONDocument
        return SimpleNamespace(find_one=lambda *asked: self._raw(self.find_one(*asked)))

    @staticmethod
    def _raw(document: Any) -> Any:
        return None if document is None else RawBSONDocument(bson.encode(document))

    def find_one(self, query: Mapping[str, Any], form: Any = None) -> Any:
        self.asked.append((query, form))
        return self.held.get(query["_id"])

    def find(self, query: Any, form: Any) -> Cursor:
        self.asked.append((query, form))
        return Cursor(self.found)

    def insert_one(self, document: Any) -> None:
        if document["_id"] in self.held:
            raise DuplicateKeyError("it is there", 11_000, {"keyPattern": self.key_pattern})
        self.held[document["_id"]] = document


@dataclass
class Shelf:
    """The store of accounts over parts of the test's: it reads what `document` is, and `fails` with what is set."""

    document: Any = None
    fails: Exception | None = None
    recent: RecentRecords = field(default_factory=lambda: RecentRecords(10))
    accounts: Documents = field(default_factory=Documents)
    journal: Documents = field(default_factory=Documents)
    reads: list[tuple[str, str | None, bool]] = field(default_factory=list)
    writes: list[GuardedWrite] = field(default_factory=list)
    checks: int = 0

    def read(self, user: str, block: str | None, *, with_latest: bool = False) -> Any:
        self.reads.append((user, block, with_latest))
        return self.document

    def write(self, write: GuardedWrite) -> None:
        self.writes.append(write)
        if self.fails is not None:
            raise self.fails

    def check(self) -> None:
        self.checks += 1

    def store(self) -> Accounts:
        database: Any = {"accounts": self.accounts, "journal": self.journal}
        return Accounts(database, SERVER, self.recent, self, self, self)  # type: ignore[arg-type]

    def hold(self, first: int, last: int) -> None:
        """Let the account have the entries from `first` to `last` in its open part."""
        entries = [stored(number) for number in range(first, last + 1)]
        state = new_state(Account("jane"), entries, last_ms=1, keys=KeyFilter(), open_from=first)
        self.accounts.held["jane"] = bson.decode(bson.encode(account_document("jane", state)))

    def part(self, first: int, last: int) -> dict[str, Any]:
        """Return a closed part."""
        entries = [bson.decode(stored(number)) for number in range(first, last + 1)]
        return {"_id": part_id("jane", first), "from": first, "count": len(entries), "entries": entries}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def record_at(version: int, **fields: Any) -> Record:
    return replace(new_record("jane"), version=version, **fields)


def test_what_is_not_there_is_a_new_record_and_its_first_write_is_the_whole_state(shelf: Shelf) -> None:
    store = shelf.store()
    record = store.read("jane")
    assert (record, shelf.checks) == (new_record("jane"), 1)
    account = replace(record.account, cash_cents=700)
    after = store.save(record, account, entry_of(1, "a key"), ATTEMPT)
    (write,) = shelf.writes
    assert (write.user, write.version, list(write.operators)) == ("jane", 0, ["$set"])
    state = write.operators["$set"]
    assert (state["version"], state["cash"], state["last_at"], state["keyed"]) == (1, 700, 1_001, 1)
    assert (after.version, after.last_ms, after.open_from, after.open_count) == (1, 1_001, 1, 1)
    assert after.open_bytes == len(state["open"][0].raw) == state["open_bytes"]
    assert after.keys.may_hold("a key")
    assert [past.command for past in after.latest or ()] == [CommandName.ADD]
    assert store.kept("jane") == after


def test_a_later_write_sets_what_changed_and_puts_its_entry_behind_the_others(shelf: Shelf) -> None:
    record = record_at(7, open_from=3, open_bytes=500, last_ms=5)
    after = shelf.store().save(record, replace(record.account, cash_cents=700), entry_of(8, "a key"), ATTEMPT)
    (write,) = shelf.writes
    assert (write.version, list(write.operators)) == (7, ["$set"])
    fields = dict(write.operators["$set"])
    raw = fields.pop("open.5").raw
    assert {name for name in fields if name.startswith("keys.")} == {"keys.a"}
    assert {name: fields[name] for name in ("cash", "version", "last_at", "open_bytes", "keyed")} == {
        "cash": 700,
        "version": 8,
        "last_at": 1_008,
        "open_bytes": 500 + len(raw),
        "keyed": 1,
    }
    assert "open_from" not in fields
    assert (after.version, after.open_from, after.open_bytes) == (8, 3, 500 + len(raw))
    entry = bson.decode(raw)
    assert (entry["key"], entry["srv"], entry["id"]) == ("a key", SERVER, write.write_id)


def test_every_write_has_an_id_of_its_own_that_begins_with_its_attempts(shelf: Shelf) -> None:
    store = shelf.store()
    for _ in range(2):
        store.save(record_at(1), Account("jane"), entry_of(2), ATTEMPT)
    ids = [write.write_id for write in shelf.writes]
    assert {one[:8] for one in ids} == {ATTEMPT}
    assert {len(one) for one in ids} == {12}
    assert int.from_bytes(ids[1][8:]) == int.from_bytes(ids[0][8:]) + 1


def test_a_command_without_a_key_changes_no_filter(shelf: Shelf) -> None:
    record = record_at(7, keys=KeyFilter(3))
    after = shelf.store().save(record, record.account, entry_of(8), ATTEMPT)
    assert after.keys is record.keys
    assert not [name for name in shelf.writes[0].operators["$set"] if name.startswith("key")]


@pytest.mark.parametrize(
    "error", [LostRaceError("jane"), UnknownOutcomeError("no answer"), IndexConflictError("an index")]
)
def test_after_a_write_that_failed_nothing_is_kept_of_the_account(shelf: Shelf, error: Exception) -> None:
    store = shelf.store()
    store.save(record_at(1), Account("jane"), entry_of(2), ATTEMPT)
    shelf.fails = error
    with pytest.raises(type(error)):
        store.save(record_at(2), Account("jane"), entry_of(3), ATTEMPT)
    assert store.kept("jane") is None


def test_a_number_that_is_too_large_fills_the_account_and_nothing_is_sent(shelf: Shelf) -> None:
    store = shelf.store()
    store.save(record_at(1), Account("jane"), entry_of(2), ATTEMPT)
    with pytest.raises(AccountFullError):
        store.save(record_at(2), Account("jane"), entry_of(3, transaction=1 << 63), ATTEMPT)
    assert (len(shelf.writes), store.kept("jane")) == (1, None)


def test_a_process_whose_records_are_worth_it_reads_the_whole_filter_and_another_the_block_of_the_key(
    shelf: Shelf,
) -> None:
    shelf.store().read("jane", "a key", with_latest=True)
    shelf.recent = RecentRecords(0)
    shelf.store().read("jane", "a key")
    shelf.store().read("jane")
    assert shelf.reads == [("jane", None, True), ("jane", block_of("a key"), False), ("jane", "", False)]
    assert block_of("a key") != ""


def test_a_record_is_used_only_for_keys_that_can_be_looked_up_in_it(shelf: Shelf) -> None:
    store = shelf.store()
    shelf.recent.put(record_at(1, keys=KeyFilter(block=block_of("a key"))))
    others = [key for key in map(str, range(50)) if block_of(key) != block_of("a key")]
    assert (store.kept("jane", "a key"), store.kept("jane")) == (shelf.recent.get("jane"),) * 2
    assert store.kept("jane", others[0]) is None
    assert store.kept("john") is None


def test_records_that_are_mostly_stale_are_not_used(shelf: Shelf) -> None:
    store = shelf.store()
    for version in range(1, 30):
        shelf.recent.note_read(record_at(version))
    assert shelf.recent.get("jane") is not None
    assert store.kept("jane") is None


def test_a_key_that_the_filter_does_not_hold_is_not_looked_for(shelf: Shelf) -> None:
    assert shelf.store().find_key(record_at(1), "a key") is None
    assert shelf.accounts.asked == []


def test_a_key_is_found_in_the_open_part(shelf: Shelf) -> None:
    state = new_state(Account("jane"), [stored(1, "other"), stored(2, "a key")], last_ms=1, keys=KeyFilter())
    shelf.accounts.held["jane"] = bson.decode(bson.encode(account_document("jane", state)))
    keys, _ = KeyFilter().with_key("a key", 2)
    found = shelf.store().find_key(record_at(2, keys=keys), "a key")
    assert found is not None
    assert (found.entry.transaction, found.sequence, found.attempt) == (2, 2, b"%8d" % 2)


@pytest.mark.parametrize(("since", "is_found"), [(3, True), (4, False)])
def test_what_an_attempt_wrote_is_looked_for_in_later_entries_only(shelf: Shelf, since: int, is_found: bool) -> None:
    shelf.hold(5, 6)
    shelf.journal.found = [shelf.part(3, 4)]
    found = shelf.store().find_attempt(record_at(6), b"%8d" % 4, since)
    assert (found is not None) is is_found
    if found is not None:
        assert (found.sequence, found.entry.transaction) == (4, 4)


def test_the_latest_commands_are_read_once_and_not_those_after_the_record(shelf: Shelf) -> None:
    shelf.hold(1, HISTORY_LENGTH + 3)
    record = replace(record_at(HISTORY_LENGTH + 2), latest=None)
    known = shelf.store().with_history(record)
    assert known.latest is not None
    assert [past.transaction for past in known.latest] == list(range(HISTORY_LENGTH + 2, 2, -1))
    shelf.accounts.asked.clear()
    assert shelf.store().with_history(known) is known
    assert shelf.accounts.asked == []


@pytest.mark.parametrize(
    ("open_count", "open_bytes", "closes"),
    [(PART_ENTRIES, 0, True), (PART_ENTRIES - 1, 0, False), (1, PART_BYTES, True), (1, PART_BYTES - 1, False)],
)
def test_a_part_is_closed_when_it_is_full(shelf: Shelf, open_count: int, open_bytes: int, closes: bool) -> None:
    version = 10 + open_count - 1
    shelf.hold(10, version)
    record = record_at(version, open_from=10, open_bytes=open_bytes)
    after = shelf.store().save(record, record.account, entry_of(version + 1), ATTEMPT)
    fields = shelf.writes[0].operators["$set"]
    assert bool(shelf.journal.held) is closes
    assert ("open" in fields) is closes
    if not closes:
        return
    (part,) = shelf.journal.held.values()
    assert (part["_id"], part["from"], part["count"], part["user"]) == (part_id("jane", 10), 10, open_count, "jane")
    assert (part["from_at"], part["to_at"]) == (1_010, 1_000 + version)
    assert [bson.decode(one.raw)["tx"] for one in part["entries"]] == list(range(10, version + 1))
    (left,) = fields["open"]
    assert (fields["open_from"], after.open_from, after.open_count) == (version + 1, version + 1, 1)
    assert fields["open_bytes"] == after.open_bytes == len(left.raw)


def test_of_a_part_that_another_process_closed_sooner_the_rest_stays(shelf: Shelf) -> None:
    shelf.hold(1, 64)
    shelf.journal.held[part_id("jane", 1)] = shelf.part(1, 60)
    record = record_at(64)
    after = shelf.store().save(record, record.account, entry_of(65), ATTEMPT)
    fields = shelf.writes[0].operators["$set"]
    assert [bson.decode(one.raw)["tx"] for one in fields["open"]] == [61, 62, 63, 64, 65]
    assert (fields["open_from"], after.open_count) == (61, 5)
    assert after.open_bytes == sum(len(one.raw) for one in fields["open"])


def test_a_part_that_another_index_refuses_is_no_copy_of_ours(shelf: Shelf) -> None:
    shelf.hold(1, 64)
    shelf.journal.held[part_id("jane", 1)] = shelf.part(1, 64)
    shelf.journal.key_pattern = {"user": 1}
    with pytest.raises(IndexConflictError):
        shelf.store().save(record_at(64), Account("jane"), entry_of(65), ATTEMPT)


def test_the_field_of_an_account_is_named_after_the_version_of_its_form() -> None:
    assert f"v{DATA_VERSION}" == STATE
