"""One user's journal: the open part, which is in the account, and the closed parts in the collection `journal`.

Sequence numbers have no gaps. An entry that is missing was read from a member that does not have it yet, or is lost:
the outcome is then unknown (UnknownOutcomeError), never "there is no such entry".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import DESCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from chalicelib.domain.journal import Entry
from chalicelib.store.documents import STATE, Document, entry_from_document, state_of
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.key_filter import GENERATIONS, oldest_entry
from chalicelib.store.writers import outcomes

PART_ENTRIES = 64
"""The open part is closed at this many entries: a longer one makes every write more expensive."""

PART_BYTES = 256 * 1024
"""It is also closed at this size, which keeps an account far below MongoDB's limit of 16 MiB."""

ATTEMPT_BYTES = 8

_OPEN = {
    f"{STATE}.{field}": 1 for field in ("version", "open", "open_from", *(f"keys.{name}.from" for name in GENERATIONS))
}


class Found(NamedTuple):
    """A journal entry, with its sequence number and the id of the attempt that wrote it."""

    entry: Entry
    sequence: int
    attempt: bytes


class OpenPart(NamedTuple):
    """The open part as it was read: its entries as BSON, and the sequence number of the first.

    `keys_from` is the sequence number from which keys are known, or None.
    """

    first: int
    entries: Sequence[bytes]
    keys_from: int | None

    def found(self) -> Iterator[Found]:
        """Yield the entries, newest first."""
        for place in reversed(range(len(self.entries))):
            yield _found(bson.decode(self.entries[place]), self.first + place)


class UserJournal:
    """Reads the journals of users one at a time, and closes their parts. Methods raise UnknownOutcomeError."""

    def __init__(self, database: Database[Document]) -> None:
        raw: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
        self._accounts = database["accounts"].with_options(codec_options=raw)
        self._journal: Collection[Document] = database["journal"]

    def open_part(self, user: str, version: int) -> OpenPart:
        """Return the open part at this version of the account or a later one."""
        with outcomes():
            document = self._accounts.find_one({"_id": user}, _OPEN)
        if document is None or state_of(document)["version"] < version:
            raise UnknownOutcomeError(f"version {version} of the account of {user} is not there yet")
        state = state_of(document)
        entries = tuple(bytes(entry.raw) for entry in state["open"])
        return OpenPart(state["open_from"], entries, oldest_entry(state))

    def newest_first(self, user: str, version: int, down_to: int) -> Iterator[Found]:
        """Yield the entries, newest first, from that of `version` or a later one down to sequence number `down_to`."""
        open_part = self.open_part(user, version)
        yield from open_part.found()
        form = {"from": 1, "count": 1, "entries": 1}
        for part in self._parts_down_to(user, open_part.first, down_to, form, batch=2):
            for place in reversed(range(part["count"])):
                yield _found(part["entries"][place], part["from"] + place)

    def find_key(self, user: str, version: int, key: str) -> Found | None:
        """Return the entry with an idempotency key if it is one of the latest that are known.

        MongoDB searches the closed parts and returns only their numbers and the entry.
        """
        open_part = self.open_part(user, version)
        for found in open_part.found():
            if found.entry.key == key:
                return found
        if open_part.keys_from is None:
            return None
        form = {"from": 1, "count": 1, "entries": {"$elemMatch": {"key": key}}}
        looked_at = list(self._parts_down_to(user, open_part.first, open_part.keys_from, form, batch=100))
        holding = next((part["_id"] for part in looked_at if "entries" in part), None)
        return None if holding is None else self._find_in_part(holding, key)

    def _find_in_part(self, holding: str, key: str) -> Found:
        with outcomes():
            part = self._journal.find_one({"_id": holding})
        if part is not None:
            for place, document in enumerate(part["entries"]):
                if document.get("key") == key:
                    return _found(document, part["from"] + place)
        raise UnknownOutcomeError(f"part {holding} of the journal is not there any more")

    def close_part(self, user: str, version: int) -> tuple[int, Sequence[bytes]]:
        """Copy the open part of an account to the journal; return how many entries were copied, and the rest.

        The copy is made before the account is cut, so no entry is ever missing; until the cut an entry may be in both
        places, with the same sequence number. The open part only grows at its end: if another process has copied a
        shorter prefix under the same number, exactly that prefix is cut. Raises LostRaceError if the account has
        another version.
        """
        part = self.open_part(user, version)
        entries = part.entries
        if part.first + len(entries) - 1 != version:
            raise LostRaceError(user)
        document = {
            "_id": part_id(user, part.first),
            "user": user,
            "from": part.first,
            "count": len(entries),
            "from_at": bson.decode(entries[0])["at"],
            "to_at": bson.decode(entries[-1])["at"],
            "entries": [RawBSONDocument(raw) for raw in entries],
        }
        with outcomes():
            count = self._copy(document)
        if count > len(entries):
            # Another process closed a longer part than we know: it has a newer version.
            raise LostRaceError(user)
        return count, entries[count:]

    def _copy(self, part: Document) -> int:
        """Store a closed part; return how many entries it has now, ours or an earlier copy's."""
        count: int = part["count"]
        try:
            self._journal.insert_one(part)
        except DuplicateKeyError as error:
            if set((error.details or {}).get("keyPattern", {"_id": 1})) != {"_id"}:
                raise
            there = self._journal.find_one({"_id": part["_id"]}, {"count": 1})
            if there is None:
                # An earlier copy exists but no majority has confirmed it: it may vanish with its primary.
                raise UnknownOutcomeError("a closed part is not confirmed yet") from None
            count = there["count"]
        return count

    def _parts_down_to(self, user: str, end: int, down_to: int, form: Document, batch: int) -> Iterator[Document]:
        """Yield the closed parts, newest first, with the entries from the one before `end` down to `down_to`."""
        if end <= down_to:
            return
        expected = end - 1
        bounds = {"$gte": part_id(user, max(1, down_to - PART_ENTRIES + 1)), "$lt": part_id(user, end)}
        found = self._journal.find({"_id": bounds}, form).sort("_id", DESCENDING).batch_size(batch)
        with outcomes(), found as parts:
            for part in parts:
                if part["from"] + part["count"] - 1 < expected:
                    break
                yield part
                expected = part["from"] - 1
                if expected < down_to:
                    return
        raise UnknownOutcomeError(f"entry {expected} of the journal of {user} is not there")


def part_id(user: str, first: int) -> str:
    """Return the `_id` of a user's journal part that begins with the sequence number `first`."""
    return f"{user}:{first:015d}"


def attempt_of(document: Mapping[str, Any]) -> bytes:
    """Return the id of the attempt that wrote an entry: a prefix of the write's id."""
    return bytes(document["id"])[:ATTEMPT_BYTES]


def _found(document: Mapping[str, Any], sequence: int) -> Found:
    return Found(entry_from_document(document), sequence, attempt_of(document))
