"""Retention: closed parts of journals move to archives after a number of days (docs/audit.md).

A run may be killed at any point: parts are deleted only after the archive with them was written, read back and recorded
as written; until then it is not used. The next run finishes the work.
"""

import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database
from pymongo.errors import PyMongoError

from chalicelib.audit.archives import Archives, line_json, packed
from chalicelib.audit.journal import Journals, sorted_parts
from chalicelib.audit.places import MIN_PART_BYTES, Place
from chalicelib.clock import Clock
from chalicelib.domain.journal import HISTORY_LENGTH
from chalicelib.domain.system import SYSTEM_JOURNAL
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.key_filter import GENERATIONS, oldest_entry
from chalicelib.store.writers import note_refused_login

log = logging.getLogger(__name__)

PARTS_AN_ARCHIVE = 10_000
DAY_MS = 24 * 3600 * 1000
_LOOKED_AT = 1_000
_USERS_KNOWN = 100_000


@dataclass(frozen=True, slots=True)
class Archived:
    """What a retention run moved."""

    archives: int
    parts: int
    entries: int


class Retention:
    """Moves parts older than `days` to archives; 0 keeps everything in MongoDB.

    Parts that are still needed stay: those with a user's latest idempotency keys or latest commands, and each user's
    newest part.
    """

    def __init__(
        self,
        database: Database[Document],
        place: Place,
        clock: Clock,
        days: int,
        parts_an_archive: int = PARTS_AN_ARCHIVE,
    ) -> None:
        self._accounts = database["accounts"]
        self._journal = database["journal"]
        self._archives = database["archives"]
        self._reader = Archives(database, place)
        self._journals = Journals(database, self._reader)
        self._place = place
        self._clock = clock
        self._days = days
        self._parts_an_archive = parts_an_archive

    def run(self, most_archives: int = 1_000) -> Archived:
        """Finish what an earlier run began, then archive what is old enough. Raises PyMongoError or OSError."""
        try:
            return self._run(most_archives)
        except PyMongoError as error:
            note_refused_login(error)
            raise

    def _run(self, most_archives: int) -> Archived:
        self._journals.make_indexes()
        done = [self._finish(archive) for archive in list(self._archives.find({"state": {"$ne": "done"}}))]
        if self._days:
            old = self._old_parts(self._clock() - self._days * DAY_MS)
            for _ in range(most_archives - len(done)):
                parts = list(islice(old, self._parts_an_archive))
                if not parts:
                    break
                done.append(self._finish(self._choose(parts)))
        finished = [archive for archive in done if archive is not None]
        return Archived(
            len(finished),
            sum(archive["part_count"] for archive in finished),
            sum(archive["entries"] for archive in finished),
        )

    def _choose(self, parts: Sequence[Document]) -> Document:
        archive = {
            "_id": f"{self._clock()}-{secrets.token_hex(4)}",
            "state": "chosen",
            "parts": [part["_id"] for part in parts],
            "part_count": len(parts),
            "users": sorted({part["user"] for part in parts}),
            "entries": sum(part["count"] for part in parts),
            "from_at": min(part["from_at"] for part in parts),
            "to_at": max(part["to_at"] for part in parts),
        }
        self._archives.insert_one(archive)
        return archive

    def _finish(self, archive: Document) -> Document | None:
        """Finish an archive: write it, read it back, record it as written, delete its parts."""
        if archive["state"] == "chosen":
            # A new file for each try: another run may be writing the same archive.
            file = f"archive/{archive['_id']}-{secrets.token_hex(4)}.jsonl.gz"
            found = self._write(archive["parts"], file)
            noted = found == archive["entries"] and self._note_as_written(archive, file)
            if not noted:
                self._place.remove(file)
            if found != archive["entries"]:
                # Another run has archived some of these parts; the next run chooses the rest again.
                log.warning("archive %s: %d of %d entries found, given up", archive["_id"], found, archive["entries"])
                self._archives.delete_one({"_id": archive["_id"], "state": "chosen"})
                return None
            if not noted:
                return None
        self._journal.delete_many({"_id": {"$in": archive["parts"]}})
        self._archives.update_one({"_id": archive["_id"]}, {"$set": {"state": "done"}, "$unset": {"parts": ""}})
        return archive

    def _note_as_written(self, archive: Mapping[str, Any], file: str) -> bool:
        found = self._archives.update_one(
            {"_id": archive["_id"], "state": "chosen"}, {"$set": {"state": "written", "file": file}}
        )
        return bool(found.matched_count)

    def _write(self, part_ids: Sequence[str], file: str) -> int:
        """Write parts to a file, read it back and return how many entries it has."""
        writer = self._place.writer(file)
        try:
            with sorted_parts(self._journal, part_ids) as lines:
                for piece in packed(map(line_json, lines), MIN_PART_BYTES):
                    writer.add(piece)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        return sum(1 for _ in self._reader.lines({"file": file}))

    def _old_parts(self, before_ms: int) -> Iterator[Document]:
        """Yield the parts that ended before a time, oldest first, without those that are still needed."""
        form = {"user": 1, "from": 1, "count": 1, "from_at": 1, "to_at": 1}
        # A journal is looked through once, however many parts it has. What is needed later is newer, so nothing goes
        # too soon.
        needed: dict[str, int] = {}
        with self._journal.find({"to_at": {"$lt": before_ms}}, form).sort("to_at", ASCENDING) as found:
            while some := list(islice(found, _LOOKED_AT)):
                if len(needed) > _USERS_KNOWN:
                    needed.clear()
                needed |= self._needed({part["user"] for part in some} - needed.keys())
                yield from (part for part in some if part["from"] < needed.get(part["user"], 0))

    def _needed(self, users: Iterable[str]) -> dict[str, int]:
        """Return the sequence number from which on each user's parts are still needed."""
        fields = {f"{STATE}.keys.{name}.from": 1 for name in GENERATIONS}
        accounts = self._accounts.find({"_id": {"$in": list(users)}}, fields)
        return {account["_id"]: self._needed_of(account) for account in accounts}

    def _needed_of(self, account: Document) -> int:
        user, commands, needed = account["_id"], 0, 0
        keys_from = oldest_entry(state_of(account))
        history = 0 if user == SYSTEM_JOURNAL else HISTORY_LENGTH  # the system gives no commands: it would all be kept
        newest_first = self._journal.find(
            {"_id": {"$gt": f"{user}:", "$lt": f"{user};"}}, {"from": 1, "entries.cmd": 1}
        ).sort("_id", DESCENDING)
        with newest_first.batch_size(2) as parts:
            for part in parts:
                needed = part["from"]
                commands += sum("cmd" in entry for entry in part["entries"])
                if commands >= history and (keys_from is None or needed <= keys_from):
                    break
        return needed
