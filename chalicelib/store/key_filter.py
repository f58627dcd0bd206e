"""A filter of the idempotency keys that an account may have: "certainly not" or "perhaps" (docs/rules.md section 7).

A blocked Bloom filter in two generations. A key sets five bits of one block in its generation, so a command changes one
block, and a lookup needs only that block of each generation. When the younger generation has GENERATION_KEYS keys, the
older one is dropped and a new one begins: the filter always has the last GENERATION_KEYS keys, and never more than
twice as many. "Perhaps" is wrong for about one new key in seventy
(docs/decisions/0042-keys-are-recognised-by-a-filter.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

GENERATION_KEYS = 1024
"""At least this many of a user's latest keys are known."""

GENERATIONS = ("a", "b")

_BLOCKS = 40
_BLOCK_BYTES = 32
_BITS_A_KEY = 5
HASH_BYTES = 8

Generation = Mapping[str, Any]
"""Blocks (bytes) by number, and `from`: the sequence number of the first entry whose key is in this generation."""


class KeyPlace(NamedTuple):
    """A key's place in a generation: the number of its block, and its bits there."""

    block: str
    bits: int


def key_hash(key: str) -> bytes:
    """Return the 8-byte hash that gives a key's place."""
    return blake2b(key.encode(), digest_size=HASH_BYTES).digest()


@lru_cache(maxsize=1024)
def _place_of_key(key: str) -> KeyPlace:
    """Return a key's place. Cached: a command needs it for the lookup and again for the write."""
    return place_of(key_hash(key))


def place_of(hashed: bytes) -> KeyPlace:
    """Return the place of a key with this hash."""
    bits = 0
    for number in hashed[:_BITS_A_KEY]:
        bits |= 1 << number
    return KeyPlace(str(int.from_bytes(hashed[_BITS_A_KEY : _BITS_A_KEY + 2], "little") % _BLOCKS), bits)


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """The filter of one account at one version: all of it, or only the block that one key needs.

    `taken` is how many keys the account has had. `block` is the only block that is known, or None if all are.
    """

    taken: int = 0
    generations: Mapping[str, Generation] = field(default_factory=dict)
    block: str | None = None

    def covers(self, key: str | None) -> bool:
        """Return whether enough of the filter is known to look up this key; None needs nothing."""
        return key is None or self.block is None or self.block == _place_of_key(key).block

    def may_hold(self, key: str) -> bool:
        """Return whether the key may be one of the latest; False is certain. The filter must cover the key."""
        block, bits = _place_of_key(key)
        for generation in self.generations.values():
            there = generation.get(block)
            if there is not None and int.from_bytes(there, "little") & bits == bits:
                return True
        return False

    def with_key(self, key: str, sequence: int) -> tuple["KeyFilter", dict[str, Any]]:
        """Return the filter with the key of the entry `sequence`, and the account's fields that change."""
        return self._with(_place_of_key(key), sequence)

    def with_hash(self, hashed: bytes, sequence: int) -> tuple["KeyFilter", dict[str, Any]]:
        """Like `with_key`, for a key of which only the hash is known."""
        return self._with(place_of(hashed), sequence)

    def _with(self, place: KeyPlace, sequence: int) -> tuple["KeyFilter", dict[str, Any]]:
        assert self.block in {None, place.block}, "the account was read for another key"
        name = GENERATIONS[self.taken // GENERATION_KEYS % len(GENERATIONS)]
        changes: dict[str, Any] = {"keyed": self.taken + 1}
        generation: Generation
        if self.taken % GENERATION_KEYS == 0:
            generation = {"from": sequence, place.block: place.bits.to_bytes(_BLOCK_BYTES, "little")}
            changes[f"keys.{name}"] = generation
        else:
            before = self.generations.get(name, {})
            bits = int.from_bytes(before.get(place.block, b""), "little") | place.bits
            block = bits.to_bytes(_BLOCK_BYTES, "little")
            generation = {**before, place.block: block}
            changes[f"keys.{name}.{place.block}"] = block
        return KeyFilter(self.taken + 1, {**self.generations, name: generation}, self.block), changes

    def fields(self) -> dict[str, Any]:
        """Return the account's fields that hold the filter; all of it must be known."""
        return {"keyed": self.taken, "keys": {name: dict(one) for name, one in self.generations.items()}}


def filter_from(state: Mapping[str, Any], block: str | None = None) -> KeyFilter:
    """Return the filter in an account's state, of which only `block` was read unless it is None."""
    return KeyFilter(state.get("keyed", 0), state.get("keys", {}), block)


def block_of(key: str | None) -> str:
    """Return the block that a key needs; "" for a command without a key."""
    return "" if key is None else _place_of_key(key).block


def oldest_entry(state: Mapping[str, Any]) -> int | None:
    """Return the sequence number of the oldest entry whose key is in the filter, or None if it has no key."""
    return min((generation["from"] for generation in state.get("keys", {}).values()), default=None)
