"""Guarded writes, and how they go out: each alone, or (`chalicelib.store.grouped`) those that wait together.

A write is confirmed when it is in the journals of a majority, and no sooner is its command answered.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError, WriteError

from chalicelib.store.documents import STATE, Document
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError

BAD_VALUE = 2
"""Of an update of an account that has no state of our form: another build has taken it, and nothing was written."""

_ONE = "one"
_GUARDED = f"{STATE}.$[{_ONE}]."


class GuardedWrite(NamedTuple):
    """An update of one account that applies to one version only; version 0 is an account that is not there yet.

    `operators` are those of the fields of its state, for version 0 a `$set` of all of them. `write_id` is the `id` of
    the entry it adds, and that of no other write: an earlier write of the same attempt, of which nobody knew what had
    become of it, may have added another entry, decided at another time and price.
    """

    user: str
    version: int
    operators: Mapping[str, Document]
    write_id: bytes

    def statement(self) -> Document:
        """Return it as a statement of MongoDB's `update` command.

        The document is found by its id alone, which spares MongoDB its query planner, and the array filter is the
        guard: it leaves a state of another version as it is (decision 38). So the write was applied when the command
        says that a document was modified or inserted, and has lost when it says neither.
        """
        query = {"_id": self.user}
        if self.version == 0:
            return {"q": query, "u": {"$setOnInsert": {STATE: [self.operators["$set"]]}}, "upsert": True}
        guarded = {
            operator: {f"{_GUARDED}{field}": value for field, value in fields.items()}
            for operator, fields in self.operators.items()
        }
        return {"q": query, "u": guarded, "arrayFilters": [{f"{_ONE}.version": self.version}]}


class Writer(Protocol):
    """Sends guarded writes."""

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""

    def close(self) -> None:
        """Finish what has begun; nothing is written afterwards."""


class SingleWriter:
    """Sends each write by itself, in the thread that asks."""

    def __init__(self, accounts: Collection[Document]) -> None:
        self._accounts = accounts

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""
        statement = write.statement()
        with outcomes():
            result = self._accounts.update_one(
                statement["q"],
                statement["u"],
                upsert=statement.get("upsert", False),
                array_filters=statement.get("arrayFilters"),
            )
        if result.modified_count == 0 and result.upserted_id is None:
            raise LostRaceError(write.user)

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""


@contextmanager
def outcomes() -> Iterator[None]:
    """Turn the driver's errors into the store's."""
    try:
        yield
    except DuplicateKeyError as error:
        # The upsert of a new account found one: its version is not 0 any more.
        raise LostRaceError(str(error)) from error
    except PyMongoError as error:
        if isinstance(error, WriteError) and error.code == BAD_VALUE:
            raise LostRaceError(str(error)) from error
        raise UnknownOutcomeError(str(error)) from error
