"""Streams journals in time order: open parts, closed parts and archives, each entry once.

An entry is first in the open part of its account, then for a moment also in a closed part, then only there; when
archived, first also in an archive, then only there. Reading the places in this order, one after the other, misses
nothing, and duplicates are dropped by the entry's sequence number.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import chain, pairwise
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.command_cursor import CommandCursor
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from chalicelib import concurrency
from chalicelib.audit.archives import INDEXES, Archives
from chalicelib.audit.lines import JournalLine, Position, each_once, position
from chalicelib.clock import monotonic_seconds
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.user_journal import PART_ENTRIES

log = logging.getLogger(__name__)

SLICE_ENTRIES = 250_000
"""How many entries MongoDB sorts at once: about what fits the 100 MB of memory that a sort may use."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is asked of MongoDB: how many entries at once, and how long it rests, in multiples of what that took."""

    slice_entries: int = SLICE_ENTRIES
    rests: float = 0.0


FULL_SPEED = Pace()

SETTLED_MS = 60_000
"""Nothing is added to times older than this: a command is saved, or given up, long before."""

_BATCH_ROWS = 2_000
_BATCH_PARTS = 20
_LEAST_SAMPLE, _LARGEST_SAMPLE = 400, 10_000
_POINTS_A_PART = 4
_ACCOUNTS_A_SLICE = 0.25
_UNUSED = ["entries.res", "entries.key", "entries.id", "entries.cash"]
_SORT = {"entries.at": ASCENDING, "user": ASCENDING, "from": ASCENDING, "place": ASCENDING}
_TIMES = IndexModel([("to_at", ASCENDING), ("from_at", ASCENDING)], name="times")

Bound = int | None
"""One end of a slice, in ms; None is before, or after, all times."""

RemainingMs = Callable[[], int | None]
"""Returns how long MongoDB may take to answer, None without a limit."""


def no_bound() -> int | None:
    """Set no limit."""
    return None


class Journals:
    """The journals of all users. Methods raise PyMongoError, and OSError if an archive cannot be read."""

    def __init__(self, database: Database[Document], archives: Archives, pace: Pace = FULL_SPEED) -> None:
        self._accounts = database["accounts"]
        self._journal = database["journal"]
        self._archive_documents = database["archives"]
        self._archives = archives
        self._pace = pace
        self._indexed = False

    def lines(
        self,
        user: str | None,
        at_ms: int,
        after: Position | None = None,
        remaining_ms: RemainingMs = no_bound,
    ) -> Generator[JournalLine, None, None]:
        """Yield the lines of one user's journal, or of all, sorted, from the first one after `after`.

        They include everything acknowledged by `at_ms`. Raises ExecutionTimeout if MongoDB, or for one user reading the
        archives, took too long.
        """
        self.make_indexes()
        found = self._of_all(at_ms, after, remaining_ms) if user is None else self._of_user(user, remaining_ms)
        return each_once(found, after)

    def estimated_entries(self, user: str | None) -> int:
        """Return how many entries a user's journal has, archived ones included; for None, an estimate for all users.

        The cost does not grow with the journals.
        """
        if user is not None:
            account = self._accounts.find_one({"_id": user}, {f"{STATE}.version": 1})
            return 0 if account is None else int(state_of(account)["version"])
        open_parts, closed_parts = self._accounts.estimated_document_count(), self._journal.estimated_document_count()
        return PART_ENTRIES * (open_parts + 2 * closed_parts) // 2 + self._archives.entries()

    def make_indexes(self) -> None:
        """Create the indexes that dumps and archives need; idempotent."""
        if not self._indexed:
            self._journal.create_indexes([_TIMES])
            self._archive_documents.create_indexes(INDEXES)
            self._indexed = True

    def _of_user(self, user: str, remaining_ms: RemainingMs) -> Iterator[JournalLine]:
        """Yield one user's lines. Parts are a range of the index, in order, so nothing is sorted.

        Sequence numbers have no gaps: entries missing between two parts have been archived.
        """
        account = self._accounts.find_one({"_id": user}, {f"{STATE}.open": 1, f"{STATE}.open_from": 1})
        states = [] if account is None else account[STATE]
        open_part = [{"from": state["open_from"], "entries": state["open"]} for state in states]
        parts = self._journal.find({"_id": {"$gt": f"{user}:", "$lt": f"{user};"}}, {"from": 1, "entries": 1})
        expected = 1
        with parts.sort("_id", ASCENDING).batch_size(_BATCH_PARTS) as closed_parts:
            for part in chain(closed_parts, open_part):
                if part["from"] > expected:
                    for line in self._archived(user, expected, part["from"], remaining_ms):
                        yield line
                        expected = line.sequence + 1
                    if part["from"] > expected:
                        log.error("entries %d to %d of the journal of %s are gone", expected, part["from"] - 1, user)
                for sequence, entry in enumerate(part["entries"], start=part["from"]):
                    if sequence >= expected:
                        yield JournalLine(entry["at"], user, sequence, entry)
                        expected = sequence + 1

    def _archived(self, user: str, first: int, end: int, remaining_ms: RemainingMs) -> Iterator[JournalLine]:
        def check() -> None:
            if remaining_ms() == 0:
                raise ExecutionTimeout("the archives take longer than there is time")

        return each_once(self._archives.user_lines(user, first, end, check))

    def _of_all(self, at_ms: int, after: Position | None, remaining_ms: RemainingMs) -> Iterator[JournalLine]:
        """Yield the lines of all users, one slice of time after another; MongoDB sorts one while another is written.

        Only the last slice covers times at which entries may still be added: otherwise, with a slice read before an
        addition and the next one after it, a log could have an entry and lack the one before it.
        """
        begin = None if after is None else after[0]
        planned = self._plan(at_ms - SETTLED_MS)
        bounds: list[Bound] = [begin, *planned[bisect_right(planned, -1 if begin is None else begin) :], None]
        archived = _Archived(self._archives, begin)
        slices_of_time = list(pairwise(bounds))
        with _opened_ahead(lambda part: self._open(*part, remaining_ms), slices_of_time, self._pace.rests) as slices:
            for (from_at, to_at), rows in slices:
                others = archived.until(from_at, to_at)
                lines = _lines(rows)
                yield from merge(lines, *others, key=position) if others else lines

    def _open(self, from_at: Bound, to_at: Bound, remaining_ms: RemainingMs) -> "CommandCursor[Document]":
        """Return the entries of a slice, sorted; MongoDB has read all of them on return.

        Open parts are read before closed ones.
        """
        options: dict[str, Any] = {}
        if (limit_ms := remaining_ms()) is not None:
            options["maxTimeMS"] = max(1, limit_ms)
        return self._accounts.aggregate(_pipeline(from_at, to_at), allowDiskUse=True, batchSize=_BATCH_ROWS, **options)

    def _plan(self, until_ms: int) -> list[int]:
        """Return times, from a sample, that cut the log into slices of about the size that sorts in memory.

        A slice reads all accounts for their open parts, so with many accounts slices are larger, and sorted on disk.
        Archived entries count too: a slice opens only the archives that overlap it.
        """
        accounts, parts = self._accounts.estimated_document_count(), self._journal.estimated_document_count()
        slice_entries = max(self._pace.slice_entries, accounts / _ACCOUNTS_A_SLICE)
        at_most, archived = PART_ENTRIES * (accounts + parts), self._archives.spans()
        if at_most + sum(one["count"] for one in archived) <= slice_entries:
            return []
        size = int(min(_LARGEST_SAMPLE, max(_LEAST_SAMPLE, 20 * at_most / slice_entries)))
        points = [*self._sampled_accounts(accounts, size), *self._sampled_parts(parts, size), *_spread(archived, 1)]
        cuts: list[int] = []
        gathered = 0.0
        for at, weight in sorted(points):
            gathered += weight
            if gathered >= slice_entries and at <= until_ms and (not cuts or at > cuts[-1]):
                cuts.append(at)
                gathered = 0.0
        return cuts

    def _sampled_accounts(self, count: int, size: int) -> list[tuple[int, float]]:
        form = {f"{STATE}.open.at": 1}
        sample = list(self._accounts.aggregate([{"$sample": {"size": size}}, {"$project": form}]))
        weight = count / max(1, len(sample))
        return [(entry["at"], weight) for account in sample for entry in state_of(account)["open"]]

    def _sampled_parts(self, count: int, size: int) -> list[tuple[int, float]]:
        form = {"from_at": 1, "to_at": 1, "count": 1}
        sample = list(self._journal.aggregate([{"$sample": {"size": size}}, {"$project": form}]))
        return _spread(sample, count / max(1, len(sample)))


def _spread(spans: Iterable[Document], weight: float) -> list[tuple[int, float]]:
    """Return points spread over the time of each span, which stands for `weight` like it, and each one's entries."""
    return [
        (
            span["from_at"] + (span["to_at"] - span["from_at"]) * point // _POINTS_A_PART,
            span["count"] * weight / _POINTS_A_PART,
        )
        for span in spans
        for point in range(1, _POINTS_A_PART + 1)
    ]


def _pipeline(from_at: Bound, to_at: Bound) -> list[dict[str, Any]]:
    """Return the pipeline for the entries made at or after `from_at` and before `to_at`."""
    accounts, journal, entries = {}, {}, {}
    if from_at is not None:
        accounts[f"{STATE}.last_at"] = journal["to_at"] = {"$gte": from_at}
        entries["$gte"] = from_at
    if to_at is not None:
        accounts[f"{STATE}.open.0.at"] = journal["from_at"] = {"$lt": to_at}
        entries["$lt"] = to_at
    form = {"_id": 0, "user": 1, "from": 1, "entries": 1}
    return [
        {"$match": accounts},
        {"$unwind": f"${STATE}"},
        {"$project": {"_id": 0, "user": "$_id", "from": f"${STATE}.open_from", "entries": f"${STATE}.open"}},
        {"$unionWith": {"coll": "journal", "pipeline": [{"$match": journal}, {"$project": form}]}},
        {"$unset": _UNUSED},
        {"$unwind": {"path": "$entries", "includeArrayIndex": "place"}},
        *([{"$match": {"entries.at": entries}}] if entries else []),
        {"$sort": _SORT},
    ]


def _lines(rows: Iterable[Document]) -> Iterator[JournalLine]:
    for row in rows:
        entry = row["entries"]
        yield JournalLine(entry["at"], row["user"], row["from"] + row["place"], entry)


@contextmanager
def sorted_parts(journal: Collection[Document], part_ids: Sequence[str]) -> Iterator[Iterator[JournalLine]]:
    """Yield the lines of some closed parts, sorted, without what an archive does not keep."""
    pipeline: list[dict[str, Any]] = [
        {"$match": {"_id": {"$in": part_ids}}},
        {"$project": {"_id": 0, "user": 1, "from": 1, "entries": 1}},
        {"$unwind": {"path": "$entries", "includeArrayIndex": "place"}},
        {"$sort": _SORT},
    ]
    with journal.aggregate(pipeline, allowDiskUse=True, batchSize=_BATCH_ROWS) as rows:
        yield _lines(rows)


Slice = tuple[Bound, Bound]
Rows = CommandCursor[Document]


@contextmanager
def _opened_ahead(
    open_slice: Callable[[Slice], Rows], slices: Sequence[Slice], rests: float
) -> Iterator[Iterator[tuple[Slice, Rows]]]:
    """Yield slices with their rows; while one is read, MongoDB rests `rests` times what it took, and opens the next."""
    ahead: list[Future[tuple[Rows, float]]] = []

    def open_after(rest_seconds: float, bounds: Slice) -> tuple[Rows, float]:
        if rest_seconds:
            concurrency.sleep(rest_seconds)
        began = monotonic_seconds()
        return open_slice(bounds), monotonic_seconds() - began

    def opened() -> Iterator[tuple[Slice, Rows]]:
        for number, bounds in enumerate(slices):
            rows, seconds = ahead.pop().result()
            if number + 1 < len(slices):
                ahead.append(pool.submit(open_after, rests * seconds, slices[number + 1]))
            with rows:
                yield bounds, rows

    with concurrency.ThreadPoolExecutor(1, "slices") as pool:
        ahead.append(pool.submit(open_after, 0.0, slices[0]))
        try:
            yield opened()
        finally:
            for waiting in ahead:
                if not waiting.cancel() and waiting.exception() is None:
                    waiting.result()[0].close()


class _Archived:
    """The archives in a dump of all users, each read once from front to back, one slice at a time."""

    def __init__(self, archives: Archives, begin: Bound) -> None:
        self._archives = archives
        self._begin = begin
        self._readers: dict[object, _Ahead] = {}

    def until(self, from_at: Bound, to_at: Bound) -> list[Iterator[JournalLine]]:
        """Return the archived lines before `to_at` that have not been returned yet.

        Called after the slice was read from the journals: whatever left them before is in an archive by now. Entries of
        an archive made since the previous slice were in the journals when that was read, so they are not returned
        twice.
        """
        for archive in self._archives.between(from_at, to_at):
            if archive["_id"] not in self._readers:
                self._readers[archive["_id"]] = _Ahead(self._archives.lines(archive), from_at)
        return [reader.until(to_at) for reader in self._readers.values()]


class _Ahead:
    """An iterator of lines that is read up to a given time."""

    def __init__(self, lines: Iterator[JournalLine], begin: Bound) -> None:
        self._lines = lines
        self._next = next((line for line in lines if begin is None or line.at >= begin), None)

    def until(self, to_at: Bound) -> Iterator[JournalLine]:
        """Yield the lines before a time."""
        while self._next is not None and (to_at is None or self._next.at < to_at):
            given, self._next = self._next, next(self._lines, None)
            yield given
