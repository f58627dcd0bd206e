"""Guarded writes, sent one at a time or in groups (`chalicelib.store.grouped`).

A write is confirmed when it is in the journals of a majority; its command is answered only then.
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
"""The error of an update of an account without our state: another build has migrated it, and nothing was written."""

DUPLICATE_KEY = 11000
TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
"""A document would exceed MongoDB's 16 MiB, or an index key its limit."""

CONFLICTING_INDEX = frozenset({85, 86, 171})
"""An index conflicts with one that exists, or an account cannot be added to an index that is not ours."""

_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
"""On a connection whose user was removed, and on a new one."""

_ONE = "one"
_GUARDED = f"{STATE}.$[{_ONE}]."


class GuardedWrite(NamedTuple):
    """An update of one account that applies to one version only. Version 0 is an account that does not exist yet.

    `operators` are those of its state's fields; for version 0, a `$set` of all of them. `write_id` is the `id` of the
    entry it adds, unique to this write: an earlier write of the same attempt, of unknown outcome, may have added
    another entry, decided at another time and price.
    """

    user: str
    version: int
    operators: Mapping[str, Document]
    write_id: bytes

    def statement(self) -> Document:
        """Return the write as a statement of MongoDB's `update` command.

        The document is found by its id alone, which spares MongoDB its query planner. The array filter is the guard: it
        matches no state of another version (decision 38). The write was applied if the command reports a document
        modified or inserted, and lost if it reports neither.
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
        """Finish writes in progress; nothing is written afterwards."""


def send(accounts: Collection[Document], writes: Sequence[GuardedWrite]) -> Mapping[str, Any]:
    """Send writes as one unordered command and return MongoDB's answer once they are durable.

    It is a raw command, which the driver does not retry: an unconfirmed write is looked up and decided again anyway
    (decision 34). Raises the driver's errors, and UnknownOutcomeError.
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
    """Sends each write on its own, in the calling thread."""

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
    """Turn the driver's errors into the store's, or into PermanentError if no retry can help.

    Also raises LoginRefusedError.
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
    """Return the error for a failure that the database reported: its code, its message, the index it names."""
    code, message = failed.get("code"), str(failed.get("errmsg"))
    if code == BAD_VALUE:
        return LostRaceError(message)
    if code in TOO_LARGE:
        return account_full(message)
    if code == DUPLICATE_KEY and set(failed.get("keyPattern", {"_id": 1})) == {"_id"}:
        # The upsert of a new account found one: its version is no longer 0.
        return LostRaceError(message)
    if code == DUPLICATE_KEY or code in CONFLICTING_INDEX:
        return index_conflict(message)
    return UnknownOutcomeError(message)


def account_full(reason: object) -> AccountFullError:
    """Return the error for a document, or a number in it, that exceeds the database's limits."""
    log.error("an account has reached what the database can hold: %s", reason)
    return AccountFullError("the account has reached the size that the database can hold; operators: see the log")


def index_conflict(reason: object) -> IndexConflictError:
    """Return the error for an index that conflicts."""
    log.error("an index of the database conflicts with the system's own, drop it: %s", reason)
    return IndexConflictError(
        "an index of the database conflicts with the system's own; operators: drop the one named in the log"
    )


def note_refused_login(error: PyMongoError) -> bool:
    """Return whether the database has refused the login, and remember it.

    After a first refusal the driver reports the server as unavailable and mentions the login only in its text. Atlas
    has one code for everything it refuses.
    """
    code = error.code if isinstance(error, OperationFailure) else None
    is_refused = code in {_UNAUTHORIZED, _AUTHENTICATION_FAILED} or "authentication failed" in str(error).lower()
    if is_refused:
        logins.refused.set()
    return is_refused
