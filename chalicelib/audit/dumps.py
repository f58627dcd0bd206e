"""DUMPLOG: a log is written once its command is in the journal, by the request itself or by a process or function.

Each dump has a document in `dumps`, `_id` the user and sequence number of its journal entry:

    file, of_all, at     what to write: the path in the place, whose log, and when the command was given
    asked                when it was first asked for, by the database's clock
    lease {by, until}    who writes it, and until when; renewed meanwhile
    most                 how many bytes the logs of its user may take, if there is a quota
    after, events, bytes, upload   the checkpoint of an interrupted dump: the last line written, how much, and what the
                         place needs to resume
    done                 set when it is written; `events` is then their number
    refused {code, message}   set if it can never be written

Each file has a document too, `_id` its path, which has a slash: `latest`, when the log in it was `asked` for, and the
`lease` of who puts a log there. So of two logs of one name the one asked for later stays.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database
from pymongo.errors import ExecutionTimeout, OperationFailure, PyMongoError

from chalicelib import concurrency
from chalicelib.audit.archives import Archives
from chalicelib.audit.errors import LogNotFoundError, LogTooLargeError
from chalicelib.audit.events import HEAD, TAIL, events_of
from chalicelib.audit.journal import FULL_SPEED, Journals, Pace, no_bound
from chalicelib.audit.leases import LEASE_MS, PROGRESS, Lease, LostLeaseError, ignored
from chalicelib.audit.lines import position
from chalicelib.audit.places import MIN_PART_BYTES, Place, PlaceWriter
from chalicelib.audit.refusals import Quota, refusal_from, refusal_of
from chalicelib.clock import Clock, monotonic_seconds
from chalicelib.domain.errors import PermanentError, StoreUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.domain.names import plain_name
from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError
from chalicelib.store.writers import note_refused_login

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
_POLL_SECONDS = 0.1
_MOST_TURN_MS = 2 * LEASE_MS
"""The longest wait for another log of the same name to be put in place: a killed writer's lease ends before."""

LONG_ENTRIES = 20_000
"""A smaller log is written before a separate process would have started."""

_TURN_SECONDS = 0.001
"""The pause that lets other threads run."""

_NAMESPACE_EXISTS = 48


class _OutOfTimeError(Exception):
    """The time is up; another process or function continues."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Who continues a dump that is too large for a request: `start` is called with its id.

    `limit_ms` is how long a request may take; None means that LONG_ENTRIES entries or more are too many.
    """

    start: Callable[[str], None]
    limit_ms: int | None


class Dumps:
    """Writes the logs that DUMPLOG entries ask for; thread-safe, and safe to run in many processes.

    A repeated DUMPLOG gets the result of the first. One whose first try did not finish is written now, which is
    harmless: the command itself is in the journal once. Without `hand_over` a request writes its whole log.
    `clock` is the database's: a server with a wrong one neither takes another's lease nor keeps its own too long.
    """

    def __init__(
        self,
        database: Database[Document],
        place: Place,
        clock: Clock,
        hand_over: HandOver | None = None,
        timer: Callable[[], float] = monotonic_seconds,
        pace: Pace = FULL_SPEED,
    ) -> None:
        self._dumps = database["dumps"]
        self._journals = Journals(database, Archives(database, place), pace)
        self._place = place
        self._clock = clock
        self._timer = timer
        self._hand_over = hand_over if place.resumable or hand_over is None or hand_over.limit_ms is None else None

    def make_indexes(self) -> None:
        """Create missing collections and indexes; idempotent. Raises PyMongoError."""
        self._journals.make_indexes()
        try:
            self._dumps.database.create_collection(self._dumps.name, check_exists=False)
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise

    def write(self, entry: Entry, user: str, sequence: int, most_bytes: int | None = None) -> Mapping[str, Any]:
        """Write the log of a DUMPLOG entry unless that is done; return `location`, `events` and perhaps `url`.

        The user's logs, including this one, may take `most_bytes`, None for no quota. Raises StoreUnavailableError if
        the journal cannot be read, the log cannot be written, or another writer is still at work: the same command with
        the same key finds out later. Raises PermanentError if the log can never be written.
        """
        assert entry.filename is not None
        dump_id = f"{user}:{sequence}"
        asked = {
            "file": _path(None if entry.of_all else user, entry.filename),
            "of_all": entry.of_all,
            "at": entry.timestamp_ms,
            **({} if most_bytes is None else {"most": most_bytes}),
        }
        with _store_errors():
            first = {"user": user, "asked": self._clock(), **asked}
            self._dumps.update_one({"_id": dump_id}, {"$setOnInsert": first}, upsert=True)
            limit_ms = None if self._hand_over is None else self._hand_over.limit_ms
            dump = self._advance(dump_id, _Limit(limit_ms, self._timer, is_request=True), wait=True)
            if "refused" in dump:
                raise refusal_from(dump["refused"])
            if "done" in dump:
                return self._written(dump)
            where = self._place.public_location(dump["file"])
            raise StoreUnavailableError(f"the log is still being written to {where}", RETRY_AFTER_SECONDS)

    def public_location(self, user: str, filename: str) -> str:
        """Return where a user's log is, for the user: without what only operators may know."""
        return self._place.public_location(_path(user, filename))

    def go_on(self, dump_id: str, limit_ms: int) -> bool:
        """Continue a dump for `limit_ms`, unless another writer does; return whether it is finished.

        If not, a successor has been started. Raises StoreUnavailableError.
        """
        with _store_errors():
            limit = _Limit(None if self._hand_over is None else limit_ms, self._timer)
            try:
                return _is_over(self._advance(dump_id, limit, wait=False))
            except PermanentError as error:  # recorded: the next DUMPLOG with its key is told
                log.warning("dump %s is given up: %s", dump_id, error)
                return True

    def read(self, user: str | None, filename: str, most_bytes: int) -> bytes:
        """Return a complete log of a user, or of all users for None, from a place that makes no links.

        Raises LogNotFoundError, LogTooLargeError if it has more than `most_bytes`, and StoreUnavailableError.
        """
        if self._place.has_links:
            raise LogNotFoundError("logs are not served here: use the link in the answer to DUMPLOG")
        try:
            with self._place.open(_path(user, filename)) as file:
                text = file.read(most_bytes + 1)
        except FileNotFoundError:
            raise LogNotFoundError("no DUMPLOG has written a log with this name") from None
        except OSError as error:
            log.exception("a log could not be read")
            raise StoreUnavailableError("the log could not be read") from error
        if len(text) > most_bytes:
            raise LogTooLargeError(f"the log has more than {most_bytes} bytes: fetch it from where DUMPLOG wrote it")
        return text

    def _written(self, dump: Document) -> Mapping[str, Any]:
        link = self._place.link(dump["file"])
        where = {"location": self._place.location(dump["file"]), "events": dump["events"]}
        return where if link is None else {**where, "url": link}

    def _advance(self, dump_id: str, limit: "_Limit", *, wait: bool) -> Document:
        """Write a dump until it is done, or the time is up and a successor has been started; return it.

        Raises PermanentError, and records it, if it can never be done.

        If another writer is at work, `wait` for it within the time, or return at once.
        """
        while True:
            lease = Lease(self._dumps, dump_id, self._clock)
            dump = lease.take()
            if dump is None:
                there = self._dumps.find_one({"_id": dump_id})
                if there is None:
                    raise StoreUnavailableError(f"there is no dump {dump_id}")
                if _is_over(there) or not wait or limit.remaining_ms() == 0:
                    return there
                concurrency.sleep(_POLL_SECONDS)
                continue
            try:
                with lease.kept():
                    return self._write(dump, lease, limit)
            except _OutOfTimeError:
                lease.give_back()
                assert self._hand_over is not None
                self._hand_over.start(dump_id)
                return self._dumps.find_one({"_id": dump_id}) or dump
            except LostLeaseError:
                log.warning("dump %s was taken over", dump_id)

    def _write(self, dump: Document, lease: Lease, limit: "_Limit") -> Document:
        try:
            self._check_not_long(dump)
            writer = self._writer(dump)
        except _OutOfTimeError:
            raise
        except BaseException:
            lease.fail()
            raise
        try:
            events = self._write_lines(dump, lease, limit, writer)
            self._put(dump, lease, writer)
        except _OutOfTimeError:
            if writer.state is None:
                writer.abort()
            raise
        except BaseException as error:
            if isinstance(error, ExecutionTimeout) and limit.remaining_ms() is not None:
                raise _OutOfTimeError from error
            with ignored("what was written of a log could not be removed"):
                writer.abort()
            refusal = refusal_of(error)
            lease.fail(refusal)
            if refusal is not None:
                raise refusal from error
            raise
        lease.finish(events)
        return {**dump, "done": True, "events": events}

    def _put(self, dump: Document, lease: Lease, writer: PlaceWriter) -> None:
        """Finish a log, unless one that was asked for later has its name; one writer at a time does so."""
        asked = dump.get("asked", dump["at"])
        self._dumps.update_one({"_id": dump["file"]}, {"$setOnInsert": {"latest": 0}}, upsert=True)
        turn = Lease(self._dumps, dump["file"], self._clock)
        limit = _Limit(_MOST_TURN_MS, self._timer)
        while (there := turn.take()) is None:
            if limit.remaining_ms() == 0:
                raise StoreUnavailableError(f"another log is being put at {dump['file']}", RETRY_AFTER_SECONDS)
            concurrency.sleep(_POLL_SECONDS)
        try:
            with turn.kept():
                lease.renew()
                turn.renew()
                if there["latest"] > asked:
                    writer.abort()
                else:
                    writer.finish()
                    turn.save({"latest": asked})
        finally:
            turn.fail()  # gives it back, also if it was lost

    def _check_not_long(self, dump: Document) -> None:
        """Raise _OutOfTimeError for a log that a serving process must not even begin."""
        if self._hand_over is not None and self._hand_over.limit_ms is None:
            entries = self._journals.estimated_entries(None if dump["of_all"] else dump["user"])
            if entries >= LONG_ENTRIES:
                raise _OutOfTimeError

    def _writer(self, dump: Document) -> PlaceWriter:
        if "lease" in dump and "upload" in dump:
            # Its writer was killed or still writes: without its upload it cannot finish, and we begin again.
            with ignored("an upload that was left behind could not be removed"):
                self._place.resume(dump["file"], dump["upload"]).abort()
            for name in PROGRESS:
                dump.pop(name, None)
        if "upload" in dump:
            return self._place.resume(dump["file"], dump["upload"])
        return self._place.writer(dump["file"])

    def _write_lines(self, dump: Document, lease: Lease, limit: "_Limit", writer: PlaceWriter) -> int:
        """Write the events after `after` and return how many there are in all."""
        after = dump.get("after")
        user = None if dump["of_all"] else dump["user"]
        pieces = [HEAD] if after is None else []
        size = 0
        quota = Quota(self._place, dump)
        count: int = dump.get("events", 0)
        turn_began = monotonic_seconds()
        # A request may leave all of a user's log to the function, which must get on with it.
        remaining_ms = limit.remaining_ms if user is None or limit.is_request else no_bound
        found = self._journals.lines(user, dump["at"], None if after is None else tuple(after), remaining_ms)
        with closing(found):
            for line in found:
                events = events_of(line.user, line.entry)
                count += len(events)
                if monotonic_seconds() - turn_began >= _TURN_SECONDS:
                    concurrency.sleep(0)
                    turn_began = monotonic_seconds()
                text = "".join(events)
                pieces.append(text)
                size += len(text)
                if size >= MIN_PART_BYTES:
                    writer.add(quota.counted("".join(pieces).encode()))
                    pieces, size = [], 0
                    if writer.state is not None:
                        got = {"after": list(position(line)), "events": count, "bytes": quota.written}
                        lease.save({**got, "upload": writer.state})
                        limit.check()
        pieces.append(TAIL)
        writer.add(quota.counted("".join(pieces).encode()))
        return count


def _is_over(dump: Document) -> bool:
    return "done" in dump or "refused" in dump


def _path(user: str | None, filename: str) -> str:
    """Return the path of a log in the place."""
    name = plain_name(filename)
    return f"all/{name}" if user is None else f"users/{user}/{name}"


class _Limit:
    """The time limit of a dump."""

    def __init__(self, limit_ms: int | None, timer: Callable[[], float], *, is_request: bool = False) -> None:
        self.is_request = is_request
        self._timer = timer
        self._end = None if limit_ms is None else timer() + limit_ms / 1000

    def remaining_ms(self) -> int | None:
        """Return the time left, 0 when it is up, None without a limit."""
        return None if self._end is None else max(0, int((self._end - self._timer()) * 1000))

    def check(self) -> None:
        """Raise _OutOfTimeError if the time is up."""
        if self.remaining_ms() == 0:
            raise _OutOfTimeError


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except (PyMongoError, OSError, StoreError) as error:
        if isinstance(error, PyMongoError):
            note_refused_login(error)
        log.exception("a log could not be written")
        raise StoreUnavailableError("the log could not be written") from error
