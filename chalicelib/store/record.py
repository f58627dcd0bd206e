"""An account as the store holds it: its state, its version, and the open end of its journal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from chalicelib.domain.account import Account
from chalicelib.domain.journal import Entry
from chalicelib.store.documents import account_from_document, entry_from_document

KEPT_KEYS = 64
"""At least so many of a user's latest idempotency keys are kept (SPEC.md section 7)."""

_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a user's journal, with its sequence number and the id of the attempt that wrote it."""

    entry: Entry
    sequence: int
    attempt: bytes


@dataclass(frozen=True, slots=True)
class ClosedPart:
    """Where the keys of a closed journal part are: its first sequence number, and 8 bytes of hash a key.

    Two keys may share a hash: it says which part is worth reading, and the part itself decides.
    """

    first: int
    hashes: bytes

    def may_hold(self, key: str) -> bool:
        """Tell whether the part may hold a key; when not, it surely does not."""
        wanted = key_hash(key)
        return any(
            self.hashes[start : start + _HASH_BYTES] == wanted for start in range(0, len(self.hashes), _HASH_BYTES)
        )

    def __len__(self) -> int:
        """Return how many keys the part holds."""
        return len(self.hashes) // _HASH_BYTES


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one account at one version. Immutable, so that threads can share it.

    `open_entries` are BSON documents; `keys` says at which place among them a key stands.
    """

    account: Account
    version: int = 0
    last_ms: int = 0
    open_from: int = 1
    open_entries: tuple[bytes, ...] = ()
    open_bytes: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)
    closed: tuple[ClosedPart, ...] = ()

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
        return Found(entry_from_document(document), self.open_from + place, document["id"])


def record_from_document(document: RawBSONDocument) -> Record:
    """Return the record that a document of `accounts`, read as raw BSON, holds."""
    entries: Sequence[RawBSONDocument] = document["open"]
    return Record(
        account=account_from_document(document),
        version=document["version"],
        last_ms=document["last_at"],
        open_from=document["open_from"],
        open_entries=tuple(bytes(entry.raw) for entry in entries),
        open_bytes=document["open_bytes"],
        keys={entry["key"]: place for place, entry in enumerate(entries) if "key" in entry},
        closed=tuple(ClosedPart(part["from"], bytes(part["keys"])) for part in document["closed"]),
    )


def closed_with(closed: tuple[ClosedPart, ...], first: int, keys: Sequence[str]) -> tuple[ClosedPart, ...]:
    """Return the closed parts, newest first, with one more; those not needed for the last 64 keys are dropped."""
    newest = (ClosedPart(first, b"".join(key_hash(key) for key in keys)), *closed) if keys else closed
    kept: list[ClosedPart] = []
    count = 0
    for part in newest:
        if count >= KEPT_KEYS:
            break
        kept.append(part)
        count += len(part)
    return tuple(kept)


def closed_documents(closed: tuple[ClosedPart, ...]) -> list[dict[str, Any]]:
    """Return the closed parts as they stand in the account's document."""
    return [{"from": part.first, "keys": part.hashes} for part in closed]


def key_hash(key: str) -> bytes:
    """Return the 8 bytes that stand for an idempotency key."""
    return blake2b(key.encode(), digest_size=_HASH_BYTES).digest()
