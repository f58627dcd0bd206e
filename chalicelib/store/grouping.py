"""Chooses whether reads and writes of accounts are grouped (GROUP_COMMIT) or sent one at a time."""

from pymongo.database import Database

from chalicelib.observe.commands import Observers
from chalicelib.observe.instruments import NO_INSTRUMENTS, Instruments
from chalicelib.store.documents import Document
from chalicelib.store.readers import Reader, SingleReader
from chalicelib.store.writers import AccountWriter, SingleWriter


def make_writer(
    database: Database[Document],
    limit: int,
    wait_seconds: float,
    instruments: Instruments = NO_INSTRUMENTS,
    observers: Observers | None = None,
) -> AccountWriter:
    """Return a writer that sends groups of up to `limit`, for which a write waits `wait_seconds`, or one at a time."""
    if limit == 1:
        return SingleWriter(database["accounts"])
    from chalicelib.store.grouped.batcher import Batcher  # noqa: PLC0415 - in the cloud nothing gathers
    from chalicelib.store.grouped.writer import GroupWriter  # noqa: PLC0415 - likewise

    told = (observers or Observers()).group_sent
    return GroupWriter(database["accounts"], limit, wait_seconds, instruments.batcher(Batcher, "update"), told)


def make_reader(
    database: Database[Document],
    limit: int,
    wait_seconds: float,
    instruments: Instruments = NO_INSTRUMENTS,
    observers: Observers | None = None,
) -> Reader:
    """Return a reader that reads up to `limit` accounts with one query, or one at a time; see `make_writer`."""
    if limit == 1:
        return SingleReader(database["accounts"])
    from chalicelib.store.grouped.batcher import Batcher  # noqa: PLC0415 - in the cloud nothing gathers
    from chalicelib.store.grouped.reader import GroupReader  # noqa: PLC0415 - likewise

    told = (observers or Observers()).group_sent
    return GroupReader(database["accounts"], limit, wait_seconds, instruments.batcher(Batcher, "find"), told)
