"""How accounts are read for commands: one at a time, or in groups (`chalicelib.store.grouped`).

A read returns the state and what tells whether a key is new; of the journal, at most its latest entries.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pymongo.collection import Collection

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH
from chalicelib.store.documents import STATE, Document, new_state
from chalicelib.store.key_filter import GENERATIONS, KeyFilter
from chalicelib.store.writers import outcomes

Block = str | None
"""The block of the key filter that a key needs: "" is none of them, None all."""

_FILTER_FIELDS = {"keyed", "keys"}
_NOT_READ = {"open", "armed", *_FILTER_FIELDS}
_ACCOUNT = {
    f"{STATE}.{field}": True  # a byte; a number would be four
    for field in new_state(Account(""), [], last_ms=0, keys=KeyFilter()).keys() - _NOT_READ  # none may be forgotten
}
_WHOLE_FILTER = {f"{STATE}.{field}": True for field in _FILTER_FIELDS}
_LATEST: Document = {f"{STATE}.open": {"$slice": -HISTORY_LENGTH}}


class Reader(Protocol):
    """Reads accounts."""

    def read(self, user: str, block: Block, *, with_latest: bool = False) -> Mapping[str, Any] | None:
        """Return a user's document as a majority has it, or None if there is none; raises UnknownOutcomeError.

        `with_latest` adds the latest entries of the open part of the journal.
        """


class SingleReader:
    """Reads each account with its own query, in the calling thread.

    It uses the raw command: a cursor takes the driver a quarter more time, and failed reads are retried anyway.
    """

    def __init__(self, accounts: Collection[Document]) -> None:
        self._database = accounts.database
        self._find: Document = {"find": accounts.name, "singleBatch": True}
        if level := accounts.read_concern.document:
            self._find["readConcern"] = level

    def read(self, user: str, block: Block, *, with_latest: bool = False) -> Mapping[str, Any] | None:
        """Return a user's document, or None if there is none; raises UnknownOutcomeError."""
        form = projection([block])
        command = {**self._find, "filter": {"_id": user}, "projection": form | _LATEST if with_latest else form}
        with outcomes():
            found = self._database.command(command)["cursor"]["firstBatch"]
        return found[0] if found else None


def projection(blocks: Iterable[Block]) -> Document:
    """Return the projection that includes these blocks of the filter."""
    wanted = set(blocks)
    if None in wanted:
        return _ACCOUNT | _WHOLE_FILTER
    wanted.discard("")
    if not wanted:
        return _ACCOUNT
    parts = {f"{STATE}.keys.{name}.{block}": True for name in GENERATIONS for block in wanted}
    return _ACCOUNT | {f"{STATE}.keyed": True} | parts
