"""The records that a process has used lately."""

from collections import OrderedDict

from chalicelib import concurrency
from chalicelib.store.record import Record


class RecentRecords:
    """At most `limit` records, the least recently used dropped first; 0 keeps none. Safe to share between threads.

    A record in here, also that of no account, has been confirmed by the database, but may be out of date: another
    server may have written since.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._lock = concurrency.Lock()

    @property
    def keeps_any(self) -> bool:
        """Tell whether records are kept at all."""
        return self._limit > 0

    def get(self, user: str) -> Record | None:
        """Return the record of a user, None when it is not here."""
        with self._lock:
            record = self._records.get(user)
            if record is not None:
                self._records.move_to_end(user)
            return record

    def put(self, record: Record) -> None:
        """Keep a record, unless one at least as new is here, which may know more."""
        user = record.account.user
        with self._lock:
            there = self._records.get(user)
            if there is not None and there.version >= record.version:
                return
            self._records[user] = record
            self._records.move_to_end(user)
            while len(self._records) > self._limit:
                self._records.popitem(last=False)

    def forget(self, user: str) -> None:
        """Drop the record of a user: what was known of it is not true any more."""
        with self._lock:
            self._records.pop(user, None)
