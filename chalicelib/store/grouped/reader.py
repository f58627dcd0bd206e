"""Accounts that are read at the same time are read by one query, for servers with many requests at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo.collection import Collection

from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError
from chalicelib.store.grouped.batcher import WAIT_SECONDS, Batcher, MakeBatcher, untold
from chalicelib.store.readers import Block, SingleReader, projection
from chalicelib.store.writers import outcomes


class _Read(NamedTuple):
    user: str
    block: Block


class GroupReader:
    """Reads accounts in queries of up to `limit` accounts, one query at a time.

    The cost of a query hardly depends on how many accounts it reads, and unlike a write it waits for no journal: what
    arrives while one is in flight makes the next one larger.
    A query begins after every read in it was requested, so it returns nothing older than a single read would.
    """

    def __init__(
        self,
        accounts: Collection[Document],
        limit: int,
        wait_seconds: float = WAIT_SECONDS,
        make_batcher: MakeBatcher = Batcher,
        told: Callable[[str, int], None] = untold,
    ) -> None:
        self._accounts = accounts
        self._alone = SingleReader(accounts)
        self._told = told
        self._batcher: Batcher[_Read, Mapping[str, Any] | None] = make_batcher(self._find, limit, wait_seconds)

    def read(self, user: str, block: Block, *, with_latest: bool = False) -> Mapping[str, Any] | None:
        """Return a user's document, or None if there is none; raises UnknownOutcomeError.

        With the latest entries it is a query of its own: a group would read them for every account in it.
        """
        if with_latest:
            self._told("find", 1)
            return self._alone.read(user, block, with_latest=True)
        return self._batcher.submit(_Read(user, block))

    def _find(self, reads: Sequence[_Read]) -> Sequence[Mapping[str, Any] | StoreError | None]:
        self._told("find", len(reads))
        users = list({one.user for one in reads})
        form = projection(one.block for one in reads)
        with outcomes():
            found = {document["_id"]: document for document in self._accounts.find({"_id": {"$in": users}}, form)}
        return [found.get(one.user) for one in reads]
