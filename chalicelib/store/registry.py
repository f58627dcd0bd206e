"""What a process asks the database before using it: the data version, and a number of its own.

`meta` has one document for both, `{_id: "data", version, processes}`, so one write answers both (docs/rules.md
sections 1 and 8). Each account also names its data version, by its one field.
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
"""A process takes a new number after this time. Two processes could share one only if all the numbers in between were
used up within it."""

PAUSE_SECONDS = 0.2
"""The pause after a failure before the database is asked again."""


class Registry:
    """Registers this process in the database; thread-safe and fork-safe."""

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
        """Return once the data version is known to be supported; asks the database once per process.

        Raises UnknownDataVersionError and UnknownOutcomeError.
        """
        if self._pid != os.getpid():
            self.number()

    def number(self) -> int:
        """Return this process's number; no two live processes share its lowest bits.

        Numbers are given out in sequence and each is held for an hour: a process that was suspended for longer takes a
        new one first. Raises what `check` raises.
        """
        with self._lock:
            if self._pid != os.getpid() or self._age_seconds() >= LEASE_SECONDS:
                self._number = self._try_to_register()
            return self._number

    def look(self) -> None:
        """Ask the database for the data version now; raises what `check` raises."""
        with outcomes():
            found = self._meta.find_one({"_id": DATA}, {"version": 1})
        check_version(None if found is None else found["version"])

    def _age_seconds(self) -> float:
        """Return the number's age by the clock that says older: either may have stood still."""
        return max(self._monotonic() - self._at_seconds, abs(self._clock() - self._at_ms) / 1000)

    def _try_to_register(self) -> int:
        """Register. Threads that wait meanwhile share a failure; otherwise each would wait for the database in turn."""
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
        """Record our data version if there is none yet."""
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
    """Raise UnknownDataVersionError unless this build reads and writes the data version."""
    if version != DATA_VERSION:
        raise UnknownDataVersionError(version, DATA_VERSION)
