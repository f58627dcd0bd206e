"""Guarded writes, and how they go out: each alone, or (`chalicelib.store.grouped`) those that wait together.

A write is confirmed when it is in the journals of a majority, and no sooner is its command answered.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from pymongo.collection import Collection
from pymongo.errors import DocumentTooLarge, OperationFailure, PyMongoError

from chalicelib.config import logins
from chalicelib.domain.errors import AccountFullError, IndexConflictError, LoginRefusedError, PermanentError
from chalicelib.store.documents import STATE, Document
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError

log = logging.getLogger(__name__)

BAD_VALUE = 2
"""Of an update of an account that has no state of our form: another build has taken it, and nothing was written."""

DUPLICATE_KEY = 11000
TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
"""A document would be larger than MongoDB takes, 16 MiB, or a key of an index than that takes."""

CONFLICTING_INDEX = frozenset({85, 86, 171})
"""An index cannot be made beside one that is there, or an account cannot be in one that is not ours."""

_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
"""Of a connection whose user has been removed; of a new one."""

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


class AccountWriter(Protocol):
    """Sends guarded writes."""

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError, UnknownOutcomeError or PermanentError."""

    def close(self) -> None:
        """Finish what has begun; nothing is written afterwards."""


def send(accounts: Collection[Document], writes: Sequence[GuardedWrite]) -> Mapping[str, Any]:
    """Send writes as one unordered command, and return MongoDB's answer once they are durable.

    As the command itself, which the driver does not try again after a fault: what was not confirmed is looked for and
    decided again in any case (decision 34). Raises the driver's errors, and UnknownOutcomeError.
    """
    result: Mapping[str, Any] = accounts.database.command(
        {
            "update": accounts.name,
            "updates": [write.statement() for write in writes],
            "ordered": False,
            "writeConcern": accounts.write_concern.document,
        }
    )
    if "writeConcernError" in result:
        raise UnknownOutcomeError(str(result["writeConcernError"].get("errmsg")))
    return result


class SingleWriter:
    """Sends each write by itself, in the thread that asks."""

    def __init__(self, accounts: Collection[Document]) -> None:
        self._accounts = accounts

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError, UnknownOutcomeError or PermanentError."""
        with outcomes():
            result = send(self._accounts, [write])
        for failed in result.get("writeErrors", ()):
            raise failure_of(failed)
        if result["nModified"] == 0 and "upserted" not in result:
            raise LostRaceError(write.user)

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""


@contextmanager
def outcomes() -> Iterator[None]:
    """Turn the driver's errors into the store's, and into PermanentError what no further try can change.

    Raises LoginRefusedError besides.
    """
    try:
        yield
    except (DocumentTooLarge, OverflowError) as error:
        raise account_full(error) from error
    except PyMongoError as error:
        if note_refused_login(error):
            raise LoginRefusedError("the database refuses this server's login") from error
        if isinstance(error, OperationFailure):
            raise failure_of({"errmsg": str(error), **(error.details or {}), "code": error.code}) from error
        raise UnknownOutcomeError(str(error)) from error


def failure_of(failed: Mapping[str, Any]) -> StoreError | PermanentError:
    """Return what a failure means that the database has answered: its code, its message, the index it names."""
    code, message = failed.get("code"), str(failed.get("errmsg"))
    if code == BAD_VALUE:
        return LostRaceError(message)
    if code in TOO_LARGE:
        return account_full(message)
    if code == DUPLICATE_KEY and set(failed.get("keyPattern", {"_id": 1})) == {"_id"}:
        # The upsert of a new account found one: its version is not 0 any more.
        return LostRaceError(message)
    if code == DUPLICATE_KEY or code in CONFLICTING_INDEX:
        return index_conflict(message)
    return UnknownOutcomeError(message)


def account_full(reason: object) -> AccountFullError:
    """Return the error for a document, or a number in it, that is more than the database takes."""
    log.error("an account has reached what the database can hold: %s", reason)
    return AccountFullError("the account has reached the size that the database can hold; operators: see the log")


def index_conflict(reason: object) -> IndexConflictError:
    """Return the error for an index that is in the way."""
    log.error("an index of the database conflicts with the system's own, drop it: %s", reason)
    return IndexConflictError(
        "an index of the database conflicts with the system's own; operators: drop the one named in the log"
    )


def note_refused_login(error: PyMongoError) -> bool:
    """Tell whether the database has refused the login, and note it.

    After a first refusal the driver takes the server for one that is away, and tells of the login in its text only.
    Atlas has a code of its own for whatever it refuses.
    """
    code = error.code if isinstance(error, OperationFailure) else None
    is_refused = code in {_UNAUTHORIZED, _AUTHENTICATION_FAILED} or "authentication failed" in str(error).lower()
    if is_refused:
        logins.refused.set()
    return is_refused
