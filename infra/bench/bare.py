"""Reads and guarded writes with the bare driver, which the system is compared with."""

from pymongo.collection import Collection

from chalicelib.store.documents import Document
from chalicelib.store.readers import Block, projection
from chalicelib.store.writers import GuardedWrite
from infra.bench.processes import BenchFailedError


class BareDriver:
    """One document at a time, by `find_one` and `update_one`."""

    def __init__(self, accounts: Collection[Document]) -> None:
        self._accounts = accounts

    def read(self, user: str, block: Block) -> None:
        """Read what a command needs of an account."""
        self._accounts.find_one({"_id": user}, projection([block]))

    def write(self, write: GuardedWrite) -> None:
        """Make a write; raises BenchFailedError if it was not applied."""
        one = write.statement()
        done = self._accounts.update_one(
            one["q"], one["u"], upsert=one.get("upsert", False), array_filters=one.get("arrayFilters")
        )
        if done.modified_count == 0 and done.upserted_id is None:
            raise BenchFailedError(f"a write of {write.user} found another version")

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""
