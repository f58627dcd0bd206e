"""An account as the store holds it: its state, its version, and the open end of its journal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import bson
from bson.raw_bson import RawBSONDocument

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH, Entry, PastCommand
from chalicelib.store.documents import account_from_state, entry_from_document, state_of

KEPT_KEYS = 64
"""At least so many of a user's latest idempotency keys are kept (SPEC.md section 7)."""

KEPT_KEYS_MS = 120_000
"""Those of so long are kept too, as far as MOST_KEPT_KEYS allows.

A request can be held up, in a server that is suspended or on its way, while its sender tries again elsewhere and goes
on. When it is let go, its key must still be known, also of a user who gives many commands a second.
"""

MOST_KEPT_KEYS = 1024
"""8 KiB of hashes: what more would cost every write of a very busy user is not worth it."""

ATTEMPT_BYTES = 8

_HASH_BYTES = 8


class Found(NamedTuple):
    """An entry of a user's journal, with its sequence number and the id of the attempt that wrote it."""

    entry: Entry
    sequence: int
    attempt: bytes


@dataclass(frozen=True, slots=True)
class ClosedPart:
    """Where the keys of a closed journal part are: its first sequence number, and 8 bytes of hash a key.

    `until_ms` is the time of its last entry. Two keys may share a hash: it says which part is worth reading, and the
    part itself decides.
    """

    first: int
    until_ms: int
    hashes: bytes

    def may_hold(self, wanted: bytes) -> bool:
        """Tell whether the part may hold the key with a hash; when not, it surely does not."""
        place = self.hashes.find(wanted)
        while place % _HASH_BYTES:  # a match across two hashes; -1 ends it as well as a true one
            if place == -1:
                return False
            place = self.hashes.find(wanted, place + 1)
        return True

    def __len__(self) -> int:
        """Return how many keys the part holds."""
        return len(self.hashes) // _HASH_BYTES


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one account at one version. Immutable, so that threads can share it.

    `open_entries` are BSON documents; `keys` says at which place among them a key stands. `latest` are the latest
    commands, newest first, None when they have not been read.
    """

    account: Account
    version: int = 0
    last_ms: int = 0
    open_from: int = 1
    open_entries: tuple[bytes, ...] = ()
    open_bytes: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)
    closed: tuple[ClosedPart, ...] = ()
    latest: tuple[PastCommand, ...] | None = None

    def find_key(self, key: str) -> Found | None:
        """Return the entry in the open part that has an idempotency key."""
        place = self.keys.get(key)
        return None if place is None else self._found(place)

    def find_attempt(self, attempt: bytes) -> Found | None:
        """Return the entry in the open part that a certain attempt wrote."""
        for place in reversed(range(len(self.open_entries))):
            if attempt in self.open_entries[place] and (found := self._found(place)).attempt == attempt:
                return found
        return None

    def newest_first(self) -> Iterator[Entry]:
        """Yield the entries of the open part, newest first."""
        return (entry_from_document(bson.decode(raw)) for raw in reversed(self.open_entries))

    def _found(self, place: int) -> Found:
        document = bson.decode(self.open_entries[place])
        return Found(entry_from_document(document), self.open_from + place, attempt_of(document))


def attempt_of(document: Mapping[str, Any]) -> bytes:
    """Return the id of the attempt that wrote an entry, with which the id of the write begins."""
    return bytes(document["id"])[:ATTEMPT_BYTES]


def new_record(user: str) -> Record:
    """Return the record of a user who has no account yet."""
    return Record(Account(user), latest=())


def latest_with(latest: tuple[PastCommand, ...] | None, entry: Entry) -> tuple[PastCommand, ...] | None:
    """Return the latest commands, newest first, after an entry; None when those before it are not known."""
    past = entry.past
    if latest is None or past is None:
        return latest
    return (past, *latest[: HISTORY_LENGTH - 1])


def record_from_document(document: RawBSONDocument) -> Record:
    """Return the record that a document of `accounts`, read as raw BSON, holds."""
    state: RawBSONDocument = state_of(document)
    entries: Sequence[RawBSONDocument] = state["open"]
    return Record(
        account=account_from_state(document["_id"], state),
        version=state["version"],
        last_ms=state["last_at"],
        open_from=state["open_from"],
        open_entries=tuple(bytes(entry.raw) for entry in entries),
        open_bytes=state["open_bytes"],
        keys={entry["key"]: place for place, entry in enumerate(entries) if "key" in entry},
        closed=tuple(ClosedPart(part["from"], part["until"], bytes(part["keys"])) for part in state["closed"]),
    )


def closed_with(closed: tuple[ClosedPart, ...], part: ClosedPart) -> tuple[ClosedPart, ...]:
    """Return the closed parts, newest first, with a new one; those whose keys need not be kept are dropped."""
    kept: list[ClosedPart] = []
    count = 0
    for older in (part, *closed) if len(part) else closed:
        is_recent = older.until_ms >= part.until_ms - KEPT_KEYS_MS and count + len(older) <= MOST_KEPT_KEYS
        if count >= KEPT_KEYS and not is_recent:
            break
        kept.append(older)
        count += len(older)
    return tuple(kept)


def closed_documents(closed: tuple[ClosedPart, ...]) -> list[dict[str, Any]]:
    """Return the closed parts as they stand in the account's document."""
    return [{"from": part.first, "until": part.until_ms, "keys": part.hashes} for part in closed]


def key_hash(key: str) -> bytes:
    """Return the 8 bytes that stand for an idempotency key."""
    return blake2b(key.encode(), digest_size=_HASH_BYTES).digest()
