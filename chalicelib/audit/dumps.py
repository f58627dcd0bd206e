"""DUMPLOG: the log is written after the command stands in it, and what came of it is kept for repeated requests."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from chalicelib.audit.events import LogEvent, log_events
from chalicelib.audit.journal import journal_lines
from chalicelib.audit.places import Folder
from chalicelib.audit.xml import log_xml
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.store.documents import Document

log = logging.getLogger(__name__)


class Dumps:
    """Writes the logs that DUMPLOG entries ask for.

    The collection `dumps` remembers each finished one under `user:sequence` of its entry. A repeated DUMPLOG gets that;
    one whose first try did not finish is written now, which does no harm: the command itself is in the journal once.
    """

    def __init__(self, database: Database[Document], place: Folder) -> None:
        self._database = database
        self._place = place

    def write(self, entry: Entry, user: str, sequence: int) -> Mapping[str, Any]:
        """Write the log of a DUMPLOG entry unless that was done before; return `location` and `events`.

        Raises StoreUnavailableError when the journal cannot be read or the log cannot be written.
        """
        assert entry.filename is not None
        done_id = f"{user}:{sequence}"
        try:
            done = self._database["dumps"].find_one({"_id": done_id}, {"_id": 0})
            if done is None:
                owner = None if entry.of_all else user
                counted = _Counted(
                    log_event for line in journal_lines(self._database, owner) for log_event in log_events(line)
                )
                location = self._place.write(owner, entry.filename, log_xml(counted))
                done = {"location": location, "events": counted.count}
                self._database["dumps"].replace_one({"_id": done_id}, {"_id": done_id, **done}, upsert=True)
        except (PyMongoError, OSError) as error:
            log.exception("the log %s could not be written", entry.filename)
            raise StoreUnavailableError("the log could not be written; send the command again") from error
        return done


class _Counted:
    """Events that are counted while they pass."""

    def __init__(self, events: Iterator[LogEvent]) -> None:
        self._events = events
        self.count = 0

    def __iter__(self) -> Iterator[LogEvent]:
        for event in self._events:
            self.count += 1
            yield event
