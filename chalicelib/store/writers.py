"""How guarded writes go out: each alone, or those that wait together in one message.

A write is confirmed when it is in the journals of a majority, and no sooner is its command answered. Most of what that
costs is the same for one write and for a hundred, so a server with many threads sends what has gathered while the last
groups were under way. In Lambda, where a process serves one request at a time, nothing gathers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol

from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from chalicelib.store.documents import Document
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError

DUPLICATE_KEY = 11000

GROUPS_AT_ONCE = 2
"""While one group waits for the journals of a majority, the next one is on its way."""


@dataclass(frozen=True, slots=True)
class GuardedWrite:
    """An update of one account that applies to one version only; version 0 is an account that is not there yet.

    `write_id` is the `id` of the entry it pushes, and that of no other write: an earlier write of the same attempt, of
    which nobody knew what had become of it, may have pushed another entry, decided at another time and price.
    """

    user: str
    version: int
    operators: Mapping[str, Document]
    write_id: bytes

    @property
    def guard(self) -> Document:
        """Return the filter that matches the account at that version and at no other."""
        return {"_id": self.user, "version": self.version}

    @property
    def upsert(self) -> bool:
        """Return whether the account is to be made; if it is there after all, its version makes this a duplicate."""
        return self.version == 0


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
        with outcomes():
            result = self._accounts.update_one(write.guard, write.operators, upsert=write.upsert)
        if result.matched_count == 0 and result.upserted_id is None:
            raise LostRaceError(write.user)

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""


class GroupWriter:
    """Sends what waits, up to `limit` writes, as one unordered bulk, and at most `at_once` such groups at a time."""

    def __init__(self, accounts: Collection[Document], limit: int, at_once: int = GROUPS_AT_ONCE) -> None:
        self._accounts = accounts
        self._limit = limit
        self._at_once = at_once
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._starting = Lock()
        self._threads: list[Thread] = []
        self._closed = False

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""
        waiting = _Waiting(write)
        with self._starting:
            if self._closed:
                raise UnknownOutcomeError("the server is stopping")
            while len(self._threads) < self._at_once:
                self._threads.append(Thread(target=self._run, name="group-commit", daemon=True))
                self._threads[-1].start()
            self._waiting.put(waiting)
        waiting.wait()

    def close(self) -> None:
        """Send what waits and stop the threads."""
        with self._starting:
            self._closed = True
            for _ in self._threads:
                self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, more = self._gather(first)
            self._send(group)
            if not more:
                return

    def _gather(self, first: "_Waiting") -> tuple[list["_Waiting"], bool]:
        """Return what waits, and whether more may come."""
        group = [first]
        while len(group) < self._limit:
            try:
                waiting = self._waiting.get_nowait()
            except Empty:
                break
            if waiting is None:
                return group, False
            group.append(waiting)
        return group, True

    def _send(self, group: Sequence["_Waiting"]) -> None:
        """Send a group and tell each of its members how it went, whatever happens."""
        try:
            failures = self._failures([waiting.write for waiting in group])
        except Exception as error:  # noqa: BLE001  # a member that is not told would wait for ever
            failures = dict.fromkeys(range(len(group)), UnknownOutcomeError(str(error)))
        for place, waiting in enumerate(group):
            waiting.settle(failures.get(place))

    def _failures(self, writes: Sequence[GuardedWrite]) -> dict[int, StoreError]:
        """Send the writes; return what became of those that were not applied, or not surely, by their place."""
        updates = [UpdateOne(write.guard, write.operators, upsert=write.upsert) for write in writes]
        failures: dict[int, StoreError] = {}
        try:
            result: Mapping[str, Any] = self._accounts.bulk_write(updates, ordered=False).bulk_api_result
        except BulkWriteError as error:
            result = error.details or {}
            if result.get("writeConcernErrors") or "writeErrors" not in result:
                raise
            for failed in result["writeErrors"]:
                place = failed["index"]
                is_lost = failed["code"] == DUPLICATE_KEY
                user = writes[place].user
                failures[place] = LostRaceError(user) if is_lost else UnknownOutcomeError(str(failed.get("errmsg")))
        applied = result["nMatched"] + result["nUpserted"]
        if applied < len(writes) - len(failures):
            failures |= self._not_found(writes, failures)
        return failures

    def _not_found(self, writes: Sequence[GuardedWrite], known: Mapping[int, StoreError]) -> dict[int, StoreError]:
        """Tell the losers of a group apart: their entries are not in the accounts.

        One that is not there has lost, or has been moved to the journal already: who asked for it has to look.
        """
        users = [write.user for place, write in enumerate(writes) if place not in known]
        accounts = self._accounts.find({"_id": {"$in": users}}, {"open.id": 1})
        written = {entry["id"] for account in accounts for entry in account["open"]}
        return {
            place: UnknownOutcomeError(write.user)
            for place, write in enumerate(writes)
            if place not in known and write.write_id not in written
        }


class _Waiting:
    """A write on its way, and the thread that waits for it."""

    __slots__ = ("_done", "_failure", "write")

    def __init__(self, write: GuardedWrite) -> None:
        self.write = write
        self._failure: StoreError | None = None
        self._done = Lock()  # the cheapest thing a thread can wait for
        self._done.acquire()

    def settle(self, failure: StoreError | None) -> None:
        """Let the waiting thread go on."""
        self._failure = failure
        self._done.release()

    def wait(self) -> None:
        """Return when the write is durable, or raise what became of it."""
        with self._done:
            if self._failure is not None:
                raise self._failure


@contextmanager
def outcomes() -> Iterator[None]:
    """Turn the driver's errors into the store's."""
    try:
        yield
    except DuplicateKeyError as error:
        # The upsert of a new account found one: its version is not 0 any more.
        raise LostRaceError(str(error)) from error
    except PyMongoError as error:
        raise UnknownOutcomeError(str(error)) from error


def make_writer(accounts: Collection[Document], group_limit: int) -> Writer:
    """Return the writer for groups of at most `group_limit`; 1 sends each write alone."""
    return SingleWriter(accounts) if group_limit == 1 else GroupWriter(accounts, group_limit)
