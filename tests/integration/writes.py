"""Guarded writes for the tests of writers, and what becomes of them."""

from chalicelib.store.documents import entry_document
from chalicelib.store.errors import StoreError
from chalicelib.store.writers import GuardedWrite, Writer
from tests.integration.test_store import FULL_ENTRY


def write_of(user: str, version: int, write_id: bytes) -> GuardedWrite:
    """Return a write that raises the version and pushes an entry."""
    entry = entry_document(FULL_ENTRY, write_id, "test")
    if version == 0:
        return GuardedWrite(user, 0, {"$set": {"version": 1, "open": [entry], "open_from": 1}}, write_id)
    return GuardedWrite(user, version, {"$set": {"version": version + 1}, "$push": {"open": entry}}, write_id)


def outcome(writer: Writer, write: GuardedWrite) -> type[StoreError] | None:
    """Write, and return the kind of failure or None."""
    try:
        writer.write(write)
    except StoreError as error:
        return type(error)
    return None
