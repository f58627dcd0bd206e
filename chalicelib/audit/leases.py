"""Leases in the collection `dumps`: who writes a dump, and who puts a log in its place (`chalicelib.audit.dumps`)."""

import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import PyMongoError

from chalicelib import concurrency
from chalicelib.audit.refusals import refusal_document
from chalicelib.clock import Clock
from chalicelib.domain.errors import PermanentError, StoreUnavailableError
from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError

log = logging.getLogger(__name__)

LEASE_MS = 15_000
PROGRESS = ("after", "bytes", "events", "upload")
"""The fields of a checkpoint."""


class LostLeaseError(Exception):
    """Another writer took over this dump, which seemed abandoned."""


class Lease:
    """The right to write a dump, or to put a log in its place, as long as it is renewed."""

    def __init__(self, dumps: Any, dump_id: str, clock: Clock) -> None:
        self._dumps = dumps
        self._dump_id = dump_id
        self._clock = clock
        self._by = secrets.token_hex(8)
        self._mine = {"_id": dump_id, "lease.by": self._by}

    def take(self) -> Document | None:
        """Return the dump as it was before we took it, or None if another writer has it or it is done."""
        now = self._clock()
        free = [{"lease": {"$exists": False}}, {"lease.until": {"$lt": now}}]
        dump: Document | None = self._dumps.find_one_and_update(
            {"_id": self._dump_id, "done": {"$exists": False}, "refused": {"$exists": False}, "$or": free},
            {"$set": {"lease": {"by": self._by, "until": now + LEASE_MS}}},
            return_document=ReturnDocument.BEFORE,
        )
        return dump

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease on a thread: MongoDB may take longer to sort than the lease lasts."""
        over = concurrency.Event()

        def renew() -> None:
            while not over.wait(LEASE_MS / 3000):
                with ignored("a lease could not be renewed"):
                    self._dumps.update_one(self._mine, {"$set": {"lease.until": self._clock() + LEASE_MS}})

        thread = concurrency.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def renew(self) -> None:
        """Renew it now; raises LostLeaseError: this process may have been suspended."""
        self.save({"lease.until": self._clock() + LEASE_MS})

    def save(self, progress: Mapping[str, Any]) -> None:
        """Save a checkpoint."""
        self._update({"$set": progress})

    def give_back(self) -> None:
        """Let another writer continue from the last checkpoint."""
        self._update({"$unset": {"lease": ""}})

    def finish(self, events: int) -> None:
        """Record that the dump is done."""
        unset = dict.fromkeys({"lease", *PROGRESS} - {"events"}, "")
        self._update({"$set": {"done": True, "events": events}, "$unset": unset})

    def fail(self, refusal: PermanentError | None = None) -> None:
        """Record a failure: a `refusal` is permanent; otherwise the next try begins again."""
        noted = {} if refusal is None else {"$set": {"refused": refusal_document(refusal)}}
        with ignored("a failed dump could not be noted as such"):
            self._dumps.update_one(self._mine, {**noted, "$unset": dict.fromkeys(("lease", *PROGRESS), "")})

    def _update(self, operators: Mapping[str, Any]) -> None:
        if not self._dumps.update_one(self._mine, operators).matched_count:
            raise LostLeaseError(self._dump_id)


@contextmanager
def ignored(what: str) -> Iterator[None]:
    """Log an error that does not affect what follows."""
    try:
        yield
    except (PyMongoError, OSError, StoreError, StoreUnavailableError):
        log.exception("%s", what)
