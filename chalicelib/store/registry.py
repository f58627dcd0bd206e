"""What a process asks the database before it uses it: the form of its data, and a number of the process's own.

`meta` has one document for both, `{_id: "data", version, processes}`, so that one write answers both (SPEC.md 1 and 8).
An account says itself of which form it is: its one field is named after that.
"""

import os
from collections.abc import Callable

from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.database import Database

from chalicelib import concurrency
from chalicelib.clock import Clock, monotonic_seconds, now_ms
from chalicelib.domain.errors import UnknownDataVersionError
from chalicelib.store.documents import DATA_VERSION, STATE, Document
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.indexes import make_account_indexes
from chalicelib.store.writers import outcomes

META = "meta"
DATA = "data"

LEASE_SECONDS = 3_600.0
"""A process takes another number after so long: the numbers between that and the first would have to be used up in it
before two processes could have the same one."""

PAUSE_SECONDS = 0.2
"""After a failure the database is left alone for so long."""


class Registry:
    """Enters this process in the database; safe to share between threads, and after a fork."""

    def __init__(
        self,
        database: Database[Document],
        clock: Clock = now_ms,
        monotonic: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._database = database
        self._meta: Collection[Document] = database[META]
        self._clock = clock
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._pid = 0
        self._number = 0
        self._at_ms = 0
        self._at_seconds = 0.0
        self._failure: tuple[float, UnknownOutcomeError] | None = None

    def check(self) -> None:
        """Return once it is known that this build knows the form of the data; asks the database once a process.

        Raises UnknownDataVersionError and UnknownOutcomeError.
        """
        if self._pid != os.getpid():
            self.number()

    def number(self) -> int:
        """Return the number of this process: no two that are alive have the same one, but for its highest bits.

        Numbers are given out in turn, whether those who had them live or not, and each is held for an hour: a process
        that stood still for longer takes a new one before it goes on. Raises as `check` does.
        """
        with self._lock:
            if self._pid != os.getpid() or self._age_seconds() >= LEASE_SECONDS:
                self._number = self._try_to_register()
            return self._number

    def look(self) -> None:
        """Ask the database for the form of its data, now; raises as `check` does."""
        with outcomes():
            found = self._meta.find_one({"_id": DATA}, {"version": 1})
        check_version(None if found is None else found["version"])

    def _age_seconds(self) -> float:
        """Return how old the number is; either of the two clocks may have stood still."""
        return max(self._monotonic() - self._at_seconds, abs(self._clock() - self._at_ms) / 1000)

    def _try_to_register(self) -> int:
        """Register; those who waited meanwhile share a failure, or each would wait for the database in turn."""
        began_ms, began = self._clock(), self._monotonic()
        if self._failure is not None and began < self._failure[0] + PAUSE_SECONDS:
            raise self._failure[1]
        try:
            number = self._register()
        except UnknownOutcomeError as error:
            self._failure = (self._monotonic(), error)
            raise
        self._pid, self._at_ms, self._at_seconds, self._failure = os.getpid(), began_ms, began, None
        return number

    def _register(self) -> int:
        found = self._next()
        if found is None:
            self._begin()
            found = self._next()
        check_version(None if found is None else found["version"])
        assert found is not None
        return int(found["processes"])

    def _next(self) -> Document | None:
        with outcomes():
            found: Document | None = self._meta.find_one_and_update(
                {"_id": DATA}, {"$inc": {"processes": 1}}, return_document=ReturnDocument.AFTER
            )
        return found

    def _begin(self) -> None:
        """Note the form of the data, when it is ours or there are none yet."""
        with outcomes():
            some = self._database["accounts"].find_one({}, {f"{STATE}.version": 1})
        if some is not None and STATE not in some:
            raise UnknownDataVersionError(None, DATA_VERSION)
        with outcomes():
            make_account_indexes(self._database)
            self._meta.update_one(
                {"_id": DATA}, {"$setOnInsert": {"version": DATA_VERSION, "processes": 0}}, upsert=True
            )


def check_version(version: int | None) -> None:
    """Raise UnknownDataVersionError unless data of a version are what this build reads and writes."""
    if version != DATA_VERSION:
        raise UnknownDataVersionError(version, DATA_VERSION)
