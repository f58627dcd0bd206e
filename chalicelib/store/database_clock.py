"""The database's clock, against which servers check their own."""

from datetime import UTC, datetime

import pymongo
from pymongo.database import Database
from pymongo.read_preferences import ReadPreference

from chalicelib.store.documents import Document
from chalicelib.store.writers import outcomes

LIMIT_SECONDS = 2.0
"""A later answer would say little about the time."""


def database_ms(database: Database[Document]) -> int:
    """Return the primary's time in milliseconds, from its `hello`; raises UnknownOutcomeError."""
    with outcomes(), pymongo.timeout(LIMIT_SECONDS):
        told: datetime = database.command("hello", read_preference=ReadPreference.PRIMARY)["localTime"]
    return round(told.replace(tzinfo=UTC).timestamp() * 1000)
