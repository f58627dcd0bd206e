"""Migrates a database to this build's data version, account by account; after an interruption it continues.

Meanwhile the data version says so, and no build of ours trades on the data. An account that somebody writes all the
same is migrated as it is afterwards: each is replaced on the condition that it is unchanged.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pymongo import ReplaceOne
from pymongo.database import Database
from pymongo.errors import OperationFailure

from chalicelib.domain.errors import MIGRATING
from chalicelib.store.documents import DATA_VERSION, STATE, Document
from chalicelib.store.indexes import ACCOUNT_INDEXES, make_account_indexes, missing_indexes
from chalicelib.store.registry import DATA, META
from infra.migrate.forms import UnknownFormError, converted, form_of, unchanged

APP_NAMES = "^day-trading( |$)"
"""The application names of servers; older ones have no name of their own."""

_BATCH = 200
_SHOWN = 5

Progress = Callable[[int, int], None]
"""Called with how many accounts were processed, of about how many."""


class MigrationError(Exception):
    """The data cannot be migrated; says why, and what to do."""


@dataclass(slots=True)
class MigrationOutcome:
    """How many accounts of each older format there were, and the first few of unknown formats."""

    found: Counter[int] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)


def version_of(database: Database[Document]) -> int | None:
    """Return the data version, or None."""
    found = database[META].find_one({"_id": DATA}, {"version": 1})
    return None if found is None else int(found["version"])


def servers_of(database: Database[Document]) -> list[str]:
    """Return the addresses of connected servers; empty if this user may not list them."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"appName": {"$regex": APP_NAMES}}},
        {"$group": {"_id": "$client"}},
    ]
    try:
        return sorted(str(one["_id"]) for one in database.client.admin.aggregate(pipeline) if one["_id"])
    except OperationFailure:
        return []


def look(database: Database[Document], progress: Progress) -> MigrationOutcome:
    """Convert every account of an older format without writing it; return what was found."""
    return _each_batch(database, lambda _: None, progress)


def migrate(database: Database[Document], progress: Progress) -> MigrationOutcome:
    """Migrate all accounts, then the indexes, then the data version.

    Raises MigrationError for accounts of an unknown format; nothing is lost then, and nobody can trade.
    """
    database[META].update_one(
        {"_id": DATA}, {"$set": {"version": MIGRATING}, "$setOnInsert": {"processes": 0}}, upsert=True
    )
    _drop_old_indexes(database)
    whole = MigrationOutcome()
    while True:
        outcome = _each_batch(database, lambda batch: _replace(database, batch), progress)
        whole.found += outcome.found
        if outcome.unknown:
            raise MigrationError("; ".join(outcome.unknown))
        if not outcome.found:
            break  # accounts written meanwhile were visited again
    make_account_indexes(database)
    database[META].update_one({"_id": DATA}, {"$set": {"version": DATA_VERSION}})
    return whole


def _each_batch(
    database: Database[Document], work: Callable[[list[Document]], None], progress: Progress
) -> MigrationOutcome:
    accounts, outcome = database["accounts"], MigrationOutcome()
    total, done = accounts.estimated_document_count(), 0
    with accounts.find({STATE: {"$exists": False}}).batch_size(_BATCH) as documents:
        while batch := list(islice(documents, _BATCH)):
            known: list[Document] = []
            for document in batch:
                try:
                    outcome.found[form_of(document)] += 1
                    converted(document)
                    known.append(document)
                except UnknownFormError as error:
                    outcome.unknown = [*outcome.unknown, str(error)][:_SHOWN]
            work(known)
            done += len(batch)
            progress(done, total)
    return outcome


def _replace(database: Database[Document], batch: list[Document]) -> None:
    replacements = [ReplaceOne(unchanged(document), converted(document)) for document in batch]
    if replacements:
        database["accounts"].bulk_write(replacements, ordered=False)


def _drop_old_indexes(database: Database[Document]) -> None:
    """Drop our indexes of another data version: the new ones could not be created beside them."""
    there = database["accounts"].index_information()
    ours = {model.document["name"] for model in ACCOUNT_INDEXES}
    for name in set(missing_indexes(database)) & ours & there.keys():
        database["accounts"].drop_index(name)
