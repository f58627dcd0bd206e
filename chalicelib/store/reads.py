"""Accounts and journals, for requests that are not commands (docs/api.md): nothing is written.

Like all reads of the store, these return only what a majority has confirmed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

from chalicelib.domain.account import Account
from chalicelib.domain.journal import Entry
from chalicelib.store.documents import STATE, Document, account_from_state, entry_from_document, state_of
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.readers import Reader
from chalicelib.store.user_journal import part_id
from chalicelib.store.writers import outcomes

_BATCH_PARTS = 4


class Numbered(NamedTuple):
    """An entry of a journal and its sequence number."""

    sequence: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An account at one version, with the open part of its journal, oldest first. Version 0 is no account."""

    account: Account
    version: int
    open_from: int
    open_entries: tuple[Document, ...]


class AccountReads:
    """Reads accounts and journals; thread-safe. Methods raise StoreError if the database does not answer."""

    def __init__(self, database: Database[Document], reader: Reader | None = None) -> None:
        """`reader` reads account versions; without it each is a query of its own."""
        self._accounts = database["accounts"]
        self._reader = reader
        self._journal = database["journal"]
        self._archives = database["archives"]

    def version(self, user: str) -> int:
        """Return an account's version, which rises with every entry; 0 if there is none."""
        document: Mapping[str, Any] | None
        if self._reader is not None:
            document = self._reader.read(user, "")
        else:
            with outcomes():
                document = self._accounts.find_one({"_id": user}, {f"{STATE}.version": 1})
        return 0 if document is None else int(state_of(document)["version"])

    def snapshot(self, user: str) -> Snapshot:
        """Return an account as it is, or an empty one."""
        with outcomes():
            document = self._accounts.find_one({"_id": user})
        if document is None:
            return Snapshot(Account(user), 0, 1, ())
        state = state_of(document)
        account = account_from_state(user, state)
        return Snapshot(account, state["version"], state["open_from"], tuple(state["open"]))

    def newest_first(self, snapshot: Snapshot, before: int | None = None) -> Iterator[Numbered]:
        """Yield the entries of a journal, newest first, starting before the sequence number `before`.

        Archived entries are not included. Raises UnknownOutcomeError if others are missing.
        """
        for numbered in reversed(list(_numbered(snapshot.open_from, snapshot.open_entries))):
            if before is None or numbered.sequence < before:
                yield numbered
        user = snapshot.account.user
        end = expected = snapshot.open_from if before is None else min(before, snapshot.open_from)
        for part in self._parts({"$gt": f"{user}:", "$lt": part_id(user, end)}, DESCENDING):
            for numbered in reversed(list(_numbered(part["from"], part["entries"]))):
                if numbered.sequence < end:
                    expected -= 1
                    if numbered.sequence != expected:
                        self._check_archived(user, expected, begins=False)
                    yield numbered
        if expected == end > 1:
            self._check_archived(user, end - 1, begins=True)

    def after(self, snapshot: Snapshot, sequence: int) -> Iterator[Numbered]:
        """Yield the entries of a journal after a sequence number, oldest first.

        Archived entries are not included. Raises UnknownOutcomeError if others are missing.
        """
        following = max(1, sequence + 1)
        if following < snapshot.open_from:
            yield from self._closed_after(snapshot, following)
        for numbered in _numbered(snapshot.open_from, snapshot.open_entries):
            if numbered.sequence >= following:
                yield numbered

    def _closed_after(self, snapshot: Snapshot, following: int) -> Iterator[Numbered]:
        """Yield the entries of closed parts from a sequence number on; only the first ones may have been archived."""
        user, expected = snapshot.account.user, following
        first = next(self._parts({"$gt": f"{user}:", "$lte": part_id(user, following)}, DESCENDING), None)
        begin = part_id(user, following) if first is None else first["_id"]
        for part in self._parts({"$gte": begin, "$lt": part_id(user, snapshot.open_from)}, ASCENDING):
            for numbered in _numbered(part["from"], part["entries"]):
                if not following <= numbered.sequence < snapshot.open_from:
                    continue
                if numbered.sequence != expected:
                    self._check_archived(user, expected, begins=expected == following)
                expected = numbered.sequence + 1
                yield numbered
        if expected != snapshot.open_from:
            self._check_archived(user, expected, begins=expected == following)

    def _check_archived(self, user: str, sequence: int, *, begins: bool) -> None:
        """Raise UnknownOutcomeError for a missing entry that has not been archived.

        Archives take the oldest parts, so a gap is an archive only if the read `begins` with it. Otherwise a deposed
        primary answered that does not have the entry.
        """
        if begins:
            with outcomes():
                if self._archives.find_one({"users": user}, {"_id": 1}) is not None:
                    return
        raise UnknownOutcomeError(f"entry {sequence} of the journal of {user} is not there")

    def _parts(self, ids: Document, direction: int) -> Iterator[Document]:
        wanted = {"from": 1, "entries": 1}
        with (
            outcomes(),
            self._journal.find({"_id": ids}, wanted).sort("_id", direction).batch_size(_BATCH_PARTS) as parts,
        ):
            yield from parts


def _numbered(first: int, documents: "tuple[Document, ...] | list[Document]") -> Iterator[Numbered]:
    for sequence, document in enumerate(documents, start=first):
        yield Numbered(sequence, entry_from_document(document))
