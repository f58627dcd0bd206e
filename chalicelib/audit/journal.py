"""Reads journals in time order, open and closed parts alike, streaming."""

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.database import Database

from chalicelib.audit.events import JournalLine
from chalicelib.store.documents import Document, entry_from_document

ORDER = {"entry.at": 1, "user": 1, "sequence": 1}
"""By time; within a user by the order of the journal, which never goes back in time."""


def journal_lines(database: Database[Document], user: str | None) -> Iterator[JournalLine]:
    """Yield the lines of one user's journal, or of all, oldest first.

    MongoDB sorts (on disk when there is much); an entry that is being moved to a closed part while we read is in both
    places and comes once. Raises PyMongoError.
    """
    last: tuple[str, int] | None = None
    with database["accounts"].aggregate(_pipeline(user), allowDiskUse=True) as cursor:
        for row in cursor:
            place = (row["user"], row["sequence"])
            if place != last:
                last = place
                yield JournalLine(row["user"], row["sequence"], row["entry"]["srv"], entry_from_document(row["entry"]))


def _pipeline(user: str | None) -> list[Mapping[str, Any]]:
    # Open parts are read before closed ones: an entry leaves the open part only after its copy is in the journal.
    own_account = {} if user is None else {"_id": user}
    own_parts = {} if user is None else {"_id": {"$gt": f"{user}:", "$lt": f"{user};"}}
    form = {"_id": 0, "user": 1, "from": 1, "entries": 1}
    return [
        {"$match": own_account},
        {"$project": {"_id": 0, "user": "$_id", "from": "$open_from", "entries": "$open"}},
        {"$unionWith": {"coll": "journal", "pipeline": [{"$match": own_parts}, {"$project": form}]}},
        {"$unwind": {"path": "$entries", "includeArrayIndex": "place"}},
        {"$project": {"user": 1, "sequence": {"$add": ["$from", "$place"]}, "entry": "$entries"}},
        {"$unset": ["entry.res", "entry.key", "entry.id"]},
        {"$sort": ORDER},
    ]
