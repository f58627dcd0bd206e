"""The accounts in MongoDB: load a record, save it with one guarded write (docs/rules.md sections 6 to 8).

The guard is the account's version: an update applies only to the version it was decided on. State, journal entry and
idempotency key are in one update, so none exists without the others. It uses only plain update operators on one
document, which a standalone mongod, a replica set, a sharded cluster and DocumentDB all support.
"""

import itertools
from dataclasses import replace

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.database import Database

from chalicelib.domain.account import Account
from chalicelib.domain.errors import LoginRefusedError, PermanentError
from chalicelib.domain.journal import HISTORY_LENGTH, Entry
from chalicelib.store.documents import (
    Document,
    changed_fields,
    entry_document,
    new_state,
)
from chalicelib.store.errors import LostRaceError, StoreError
from chalicelib.store.indexes import make_account_indexes
from chalicelib.store.key_filter import block_of
from chalicelib.store.readers import Reader, SingleReader
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record, latest_with, new_record, record_from_document
from chalicelib.store.registry import Registry
from chalicelib.store.user_journal import PART_BYTES, PART_ENTRIES, Found, UserJournal
from chalicelib.store.writers import AccountWriter, GuardedWrite, SingleWriter, account_full, outcomes

_NUMBER_BYTES = 4
"""A write's number, appended to the id of its attempt, tells which of the attempt's writes was applied."""

_numbers = itertools.count()


class Accounts:
    """Loads and saves accounts; thread-safe.

    `server` is recorded in journal entries. `recent` keeps records in the process: a warm server then needs one round
    trip per command, since the write itself checks that the version is still the latest. `writer` and `reader` send
    writes and reads, by default one at a time.
    """

    def __init__(
        self,
        database: Database[Document],
        server: str,
        recent: RecentRecords,
        writer: AccountWriter | None = None,
        reader: Reader | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._database = database
        self._accounts: Collection[Document] = database["accounts"]
        self._journal = UserJournal(database)
        self._server = server
        self._recent = recent
        self._writer = writer or SingleWriter(self._accounts)
        self._reader = reader or SingleReader(self._accounts)
        self._registry = registry or Registry(database)

    def make_indexes(self) -> None:
        """Create the missing indexes; idempotent. A new database has them before the first read.

        Raises UnknownOutcomeError if the database does not answer, IndexConflictError and UnknownDataVersionError.
        """
        self._registry.check()
        with outcomes():
            make_account_indexes(self._database)

    def kept(self, user: str, key: str | None = None) -> Record | None:
        """Return the user's record kept in this process. It may be out of date: only a save tells.

        None if there is none, or if `key`, a command's idempotency key, cannot be looked up in it.
        """
        record = self._recent.get(user) if self._recent.is_worth_it else None
        return record if record is not None and record.keys.covers(key) else None

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        """Return the user's record from the database, or a new one if there is none.

        It has the state and what tells whether `key` is new; with `with_latest` also the latest commands, if the open
        part of the journal has that many. Raises UnknownOutcomeError if the database does not answer, and
        UnknownDataVersionError.
        """
        self._registry.check()
        # A record that is kept is read with its whole filter, for the keys of later commands.
        block = None if self._recent.is_worth_it else block_of(key)
        document = self._reader.read(user, block, with_latest=with_latest)
        record = new_record(user) if document is None else record_from_document(document, block)
        return self._recent.note_read(record)

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Save the change from `record.account` to `account` with its entry; return the new record.

        On return the write is in the journals of a majority. Raises LostRaceError if the account has changed since
        `record` was read, PermanentError if it can never be written, and UnknownOutcomeError if the database did not
        confirm it in time: if the entry was written, `attempt` finds it.
        """
        user = account.user
        number = next(_numbers) % (1 << 8 * _NUMBER_BYTES)
        write_id = attempt + number.to_bytes(_NUMBER_BYTES)
        try:
            entry_bytes = _entry_bytes(entry, write_id, self._server)
            after, operators = self._update(record, account, entry, entry_bytes)
            self._writer.write(GuardedWrite(user, record.version, operators, write_id))
        except LostRaceError:
            self._recent.note_lost(user)
            raise
        except (StoreError, PermanentError, LoginRefusedError):
            self._recent.forget(user)
            raise
        self._recent.put(after)
        return after

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry with an idempotency key if it is one of the user's latest (docs/rules.md section 7).

        The record must have been kept or read for this key. Raises UnknownOutcomeError if the journal cannot be read as
        far back as the key may be.
        """
        if not record.keys.may_hold(key):
            return None
        return self._journal.find_key(record.account.user, record.version, key)

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after version `since`, however many entries followed it."""
        later = self._journal.newest_first(record.account.user, record.version, down_to=since + 1)
        return next((found for found in later if found.attempt == attempt), None)

    def with_history(self, record: Record) -> Record:
        """Return the record with the user's latest commands; reads the journal if they are not known yet."""
        if record.latest is not None:
            return record
        entries = self._journal.newest_first(record.account.user, record.version, down_to=1)
        latest = (
            past for found in entries if found.sequence <= record.version and (past := found.entry.past) is not None
        )
        return replace(record, latest=tuple(itertools.islice(latest, HISTORY_LENGTH)))

    def _update(
        self, record: Record, account: Account, entry: Entry, entry_bytes: bytes
    ) -> tuple[Record, dict[str, Document]]:
        """Return the record after the write, and the write's update operators."""
        version = record.version + 1
        keys, key_changes = (
            (record.keys, {}) if entry.key is None else record.keys.with_key(entry.key, sequence=version)
        )
        left = None
        after = Record(
            account=account,
            version=version,
            last_ms=entry.timestamp_ms,
            open_from=record.open_from,
            open_bytes=record.open_bytes + len(entry_bytes),
            keys=keys,
            latest=latest_with(record.latest, entry),
        )
        if record.open_count >= PART_ENTRIES or record.open_bytes >= PART_BYTES:
            count, left = self._journal.close_part(account.user, record.version)
            left_bytes = sum(map(len, left))
            after = replace(after, open_from=record.open_from + count, open_bytes=left_bytes + len(entry_bytes))
        if record.version == 0:
            return after, {"$set": new_state(account, [entry_bytes], last_ms=after.last_ms, keys=keys)}
        operators = changed_fields(record.account, account)
        to_set = operators.setdefault("$set", {})
        to_set.update(version=version, last_at=after.last_ms, open_bytes=after.open_bytes, **key_changes)
        if left is None:
            # Not `$push`, after which MongoDB checks the whole array. The guard's version says how many entries there
            # are.
            to_set[f"open.{record.open_count}"] = RawBSONDocument(entry_bytes)
        else:
            to_set["open"] = [RawBSONDocument(raw) for raw in (*left, entry_bytes)]
            to_set["open_from"] = after.open_from
        return after, operators


def _entry_bytes(entry: Entry, write_id: bytes, server: str) -> bytes:
    """Return an entry as BSON; raises AccountFullError for a number too large for the database."""
    try:
        return bson.encode(entry_document(entry, write_id, server))
    except OverflowError as error:
        raise account_full(error) from error
