"""The accounts in MongoDB: load a record, save it with one guarded write (SPEC.md sections 6 to 8).

The guard is the account's version: an update names the version it was decided on and changes no other. State, journal
entry and idempotency key are in that one update, so none exists without the others. Only plain update operators on one
document are used: a standalone mongod, a replica set, a sharded cluster and DocumentDB all take them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import DESCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH, Entry
from chalicelib.store.documents import (
    Document,
    changed_fields,
    entry_document,
    entry_from_document,
    new_account_fields,
)
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.indexes import make_account_indexes
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import (
    ClosedPart,
    Found,
    Record,
    attempt_of,
    closed_documents,
    closed_with,
    key_hash,
    latest_with,
    new_record,
    record_from_document,
)
from chalicelib.store.registry import Registry
from chalicelib.store.writers import GuardedWrite, SingleWriter, Writer, outcomes

PART_ENTRIES = 64
"""The open part of a journal is closed when it holds so many entries: longer ones make every write dearer."""

PART_BYTES = 256 * 1024
"""It is also closed at this size, which keeps an account far below MongoDB's 16 MiB a document."""

_NUMBER_BYTES = 4
"""Behind the id of its attempt, which is of one process, each write has a number of its own: which was applied can be
told."""

_numbers = itertools.count()


class Accounts:
    """Loads and saves accounts; safe to share between threads.

    `server` is the name that journal entries made here carry. `recent` keeps records in the process: a warm server
    then needs one round trip a command, since the write itself checks that the version is still the latest. `writer`
    sends the writes, each alone unless it is told otherwise.
    """

    def __init__(
        self,
        database: Database[Document],
        server: str,
        recent: RecentRecords,
        writer: Writer | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._database = database
        self._accounts: Collection[Document] = database["accounts"]
        self._journal: Collection[Document] = database["journal"]
        self._raw_accounts: Collection[RawBSONDocument] = database["accounts"].with_options(
            codec_options=CodecOptions(document_class=RawBSONDocument)
        )
        self._server = server
        self._recent = recent
        self._writer = writer or SingleWriter(self._accounts)
        self._registry = registry or Registry(database)

    def make_indexes(self) -> None:
        """Create the indexes that are not there yet; harmless to repeat. A new database has them before the first load.

        Raises UnknownOutcomeError when the database does not answer, and UnknownDataVersionError.
        """
        self._registry.check()
        with outcomes():
            make_account_indexes(self._database)

    def load(self, user: str) -> Record:
        """Return the record of a user, from the process when it is there, a new one when there is none.

        It may be out of date: only a save tells. Raises UnknownOutcomeError when the database does not answer.
        """
        return self._recent.get(user) or self.reload(user)

    def reload(self, user: str) -> Record:
        """Return the record of a user as the database has it now."""
        self._registry.check()
        with outcomes():
            document = self._raw_accounts.find_one({"_id": user})
        record = new_record(user) if document is None else record_from_document(document)
        self._recent.put(record)
        return record

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Store the change of `record.account` to `account` with its entry; return the record after it.

        When it returns, the write is journaled on a majority of the replica set. Raises LostRaceError when the account
        has changed since `record` was loaded, UnknownOutcomeError when the database did not confirm in time; then the
        entry, if it was written, can be found by `attempt`.
        """
        user = account.user
        number = next(_numbers) % (1 << 8 * _NUMBER_BYTES)
        write_id = attempt + number.to_bytes(_NUMBER_BYTES)
        entry_bytes = bson.encode(entry_document(entry, write_id, self._server))
        try:
            after, operators = self._update(record, account, entry, entry_bytes)
            self._writer.write(GuardedWrite(user, record.version, operators, write_id))
        except StoreError:
            self._recent.forget(user)
            raise
        self._recent.put(after)
        return after

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry that an idempotency key stands for, from the open part or one closed lately."""
        if found := record.find_key(key):
            return found
        wanted = key_hash(key)
        for part in record.closed:
            if part.may_hold(wanted):
                for found in self._read_part(record.account.user, part.first):
                    if found.entry.key == key:
                        return found
        return None

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after the version `since`, however many came after it."""
        if found := record.find_attempt(attempt):
            return found
        if record.open_from <= since + 1:
            return None
        for part in self._parts_newest_first(record.account.user):
            for found in _entries(part):
                if found.attempt == attempt:
                    return found
            if part["from"] <= since + 1:
                break
        return None

    def with_history(self, record: Record) -> Record:
        """Return a record that knows the user's latest commands; reads the journal if it does not know them yet."""
        if record.latest is not None:
            return record
        latest = (past for entry in self._newest_first(record) if (past := entry.past) is not None)
        return replace(record, latest=tuple(islice(latest, HISTORY_LENGTH)))

    def _newest_first(self, record: Record) -> Iterator[Entry]:
        yield from record.newest_first()
        if record.open_from > 1:
            for part in self._parts_newest_first(record.account.user, below=record.open_from):
                yield from (found.entry for found in reversed(list(_entries(part))))

    def _update(
        self, record: Record, account: Account, entry: Entry, entry_bytes: bytes
    ) -> tuple[Record, dict[str, Document]]:
        """Return the record after the write, and the update operators of the write."""
        if len(record.open_entries) >= PART_ENTRIES or record.open_bytes >= PART_BYTES:
            record_before, cut = self._close_part(record), True
        else:
            record_before, cut = record, False
        keys = record_before.keys
        if entry.key is not None:
            keys = {**keys, entry.key: len(record_before.open_entries)}
        after = Record(
            account=account,
            version=record.version + 1,
            last_ms=entry.timestamp_ms,
            open_from=record_before.open_from,
            open_entries=(*record_before.open_entries, entry_bytes),
            open_bytes=record_before.open_bytes + len(entry_bytes),
            keys=keys,
            closed=record_before.closed,
            latest=latest_with(record_before.latest, entry),
        )
        operators = (
            {"$set": new_account_fields(account)} if record.version == 0 else changed_fields(record.account, account)
        )
        to_set = operators.setdefault("$set", {})
        to_set.update(version=after.version, last_at=after.last_ms, open_bytes=after.open_bytes)
        if cut or record.version == 0:
            to_set.update(
                open=[RawBSONDocument(raw) for raw in after.open_entries],
                open_from=after.open_from,
                closed=closed_documents(after.closed),
            )
        else:
            # Not pushed: after a push MongoDB checks the whole array, after this what it was given. The version in the
            # guard says how many entries there are.
            to_set[f"open.{len(record.open_entries)}"] = RawBSONDocument(entry_bytes)
        return after, operators

    def _close_part(self, record: Record) -> Record:
        """Copy the open part to the journal and return the record without it.

        The copy is made before the account is cut, so that no entry is ever nowhere; until the cut, an entry may be in
        both places, with the same sequence number. The open part only ever grows at its end: if another process has
        copied a shorter beginning of it under the same number, exactly that beginning is cut.
        """
        user, entries = record.account.user, record.open_entries
        first, last = bson.decode(entries[0]), bson.decode(entries[-1])
        part = {
            "_id": part_id(user, record.open_from),
            "user": user,
            "from": record.open_from,
            "count": len(entries),
            "from_at": first["at"],
            "to_at": last["at"],
            "entries": [RawBSONDocument(raw) for raw in entries],
        }
        with outcomes():
            count = self._copy_part(part)
        if count > len(entries):
            # Another process closed a part that is longer than what we know: it has a newer version.
            raise LostRaceError(user)
        hashes = b"".join(key_hash(key) for key, place in record.keys.items() if place < count)
        return replace(
            record,
            open_from=record.open_from + count,
            open_entries=entries[count:],
            open_bytes=sum(len(raw) for raw in entries[count:]),
            keys={key: place - count for key, place in record.keys.items() if place >= count},
            closed=closed_with(record.closed, ClosedPart(record.open_from, last["at"], hashes)),
        )

    def _copy_part(self, part: Document) -> int:
        """Store a closed part; return how many entries the one has that is there now, ours or one that was before."""
        count: int = part["count"]
        try:
            self._journal.insert_one(part)
        except DuplicateKeyError:
            there = self._journal.find_one({"_id": part["_id"]}, {"count": 1})
            if there is None:
                # The copy that was in our way is not confirmed by a majority, and may vanish with its primary.
                raise UnknownOutcomeError("a closed part is not confirmed yet") from None
            count = there["count"]
        return count

    def _read_part(self, user: str, first: int) -> Iterator[Found]:
        with outcomes():
            part = self._journal.find_one({"_id": part_id(user, first)})
        return iter(()) if part is None else _entries(part)

    def _parts_newest_first(self, user: str, below: int | None = None, limit: int = 0) -> Iterator[Document]:
        end = f"{user};" if below is None else part_id(user, below)
        with outcomes():
            yield from (
                self._journal.find({"_id": {"$gt": f"{user}:", "$lt": end}})
                .sort("_id", DESCENDING)
                .limit(limit)
                .batch_size(2)
            )


def part_id(user: str, first: int) -> str:
    """Return the `_id` of the journal part of a user that begins with the sequence number `first`."""
    return f"{user}:{first:015d}"


def _entries(part: dict[str, Any]) -> Iterator[Found]:
    for place, document in enumerate(part["entries"]):
        yield Found(entry_from_document(document), part["from"] + place, attempt_of(document))
