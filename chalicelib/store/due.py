"""Finds the sweep's work through indexes, never by reading all accounts (docs/rules.md section 5)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.errors import PyMongoError

from chalicelib.domain.account import ORDER_LIFETIME_MS
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.indexes import DUE_INDEX, EXPIRY_INDEX
from chalicelib.store.writers import note_refused_login

_PLACE = "symbols"
_ID_ONLY = {"_id": 1}

AHEAD_MS = 10_000
"""More than the clocks of two trading servers can differ: twice the largest CLOCK_TOLERANCE_MS."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A user with an active trigger on a symbol, and the number of the transaction that set it."""

    user: str
    transaction: int


class DueAccounts:
    """The sweep's view of the accounts; thread-safe. All methods raise StoreUnavailableError."""

    def __init__(self, database: Database[Document]) -> None:
        self._accounts: Collection[Document] = database["accounts"]
        self._places: Collection[Document] = database["sweeps"]

    def symbols(self) -> list[str]:
        """Return the symbols that have an active trigger, sorted. MongoDB examines one index key per symbol."""
        with _available():
            found = self._accounts.distinct(f"{STATE}.armed.sym")
        return sorted(symbol for symbol in found if symbol is not None)  # None stands for accounts without a trigger

    def holder(self, symbol: str) -> Holder | None:
        """Return a user with an active trigger on a symbol, or None if there is none left."""
        fields = {f"{STATE}.{side}_triggers.{symbol}": 1 for side in ("buy", "sell")}
        with _available():
            document = self._accounts.find_one({f"{STATE}.armed.sym": symbol}, fields, hint=DUE_INDEX)
        if document is None:
            return None
        state = state_of(document)
        triggers = (state[side].get(symbol, {}) for side in ("buy_triggers", "sell_triggers"))
        return Holder(document["_id"], next(trigger["tx"] for trigger in triggers if "price" in trigger))

    def due(self, prices: Mapping[str, int], batch: int) -> Iterator[list[str]]:
        """Yield the users with a trigger that fires at `prices` (cents by symbol), each once, in batches."""
        if not prices:
            return iter(())
        return _in_batches(self._accounts.find(due_filter(prices), _ID_ONLY, hint=DUE_INDEX), batch)

    def expired(self, now_ms: int, batch: int) -> Iterator[list[str]]:
        """Yield the users with an expired order, oldest first, in batches.

        Then those whose orders all expire too far in the future: a server with a wrong clock made them.

        The index scan has that order; with a sort, MongoDB would collect them first (decision 38).
        """
        expiry = f"{STATE}.next_expiry"
        ends = [{expiry: {"$lt": now_ms}}, {expiry: {"$gt": now_ms + ORDER_LIFETIME_MS + AHEAD_MS}}]
        found = self._accounts.find({"$or": ends}, _ID_ONLY, hint=EXPIRY_INDEX)
        return _in_batches(found, batch)

    def place(self) -> str | None:
        """Return the symbol after which the next sweep begins, or None if no sweep was ever cut short."""
        with _available():
            document = self._places.find_one({"_id": _PLACE})
        return None if document is None else document["after"]

    def keep_place(self, symbol: str) -> None:
        """Remember the symbol after which the next sweep begins."""
        with _available():
            self._places.update_one({"_id": _PLACE}, {"$set": {"after": symbol}}, upsert=True)


def due_filter(prices: Mapping[str, int]) -> Mapping[str, Any]:
    """Return the filter for the accounts with a trigger that is due at `prices`.

    `$elemMatch` lets all three fields bound the scan of the index, which without it only the first one would.
    """
    return {
        "$or": [
            {f"{STATE}.armed": {"$elemMatch": {"sym": symbol, "from": {"$lte": price}, "to": {"$gte": price}}}}
            for symbol, price in sorted(prices.items())
        ]
    }


def _in_batches(found: Cursor[Document], batch: int) -> Iterator[list[str]]:
    """Yield the ids. An account that changes meanwhile is at worst visited in vain, or found by the next sweep."""
    users: list[str] = []
    with _available(), found.batch_size(batch) as documents:
        for document in documents:
            users.append(document["_id"])
            if len(users) == batch:
                yield users
                users = []
    if users:
        yield users


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        note_refused_login(error)
        raise StoreUnavailableError(f"the database did not list what is due: {error}") from error
