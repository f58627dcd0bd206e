"""The database's clock, by which servers check theirs."""

from datetime import UTC, datetime

import pymongo
from pymongo.database import Database
from pymongo.read_preferences import ReadPreference

from chalicelib.store.documents import Document
from chalicelib.store.writers import outcomes

LIMIT_SECONDS = 2.0
"""How long the answer may take: a later one would say little of the time."""


def database_ms(database: Database[Document]) -> int:
    """Return the time of the primary in milliseconds, as its `hello` tells it; raises UnknownOutcomeError."""
    with outcomes(), pymongo.timeout(LIMIT_SECONDS):
        told: datetime = database.command("hello", read_preference=ReadPreference.PRIMARY)["localTime"]
    return round(told.replace(tzinfo=UTC).timestamp() * 1000)
