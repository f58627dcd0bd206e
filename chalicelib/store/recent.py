"""The records a process used recently, and whether reusing them pays."""

from collections import OrderedDict
from dataclasses import dataclass

from chalicelib import concurrency
from chalicelib.store.record import Record

STALE_SHARE = 0.3
"""Above this share of stale records it is cheaper to read an account first than to lose a write on an old record.

A stale record costs a failed write and a read; a current one saves a read. A read costs about half a write.
"""

_OBSERVATIONS = 64
"""The length of the moving average. Over 16, a share of one half often falls below STALE_SHARE by chance."""


@dataclass(slots=True)
class _Kept:
    record: Record
    is_read: bool = False
    """Until it is asked for: whoever read it does so first, to decide on it, which says nothing of keeping."""
    is_used: bool = False


class RecentRecords:
    """At most `limit` records, evicting the least recently used; 0 keeps none. Thread-safe.

    A record here (also one that says there is no account) was confirmed by the database but may be out of date: another
    server may have written since. How often depends on how requests reach servers, so it is measured, with each write
    on a kept record and each read of an account that has one; `is_worth_it` follows the measurement.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = concurrency.Lock()
        self._stale_share = 0.0
        self._observations = 0

    @property
    def is_worth_it(self) -> bool:
        """Return whether a kept record is likely enough to be current."""
        return self._limit > 0 and self._stale_share <= STALE_SHARE

    def get(self, user: str) -> Record | None:
        """Return a user's record to decide on, or None."""
        with self._lock:
            kept = self._kept.get(user)
            if kept is None:
                return None
            kept.is_used |= not kept.is_read
            kept.is_read = False
            self._kept.move_to_end(user)
            return kept.record

    def note_read(self, record: Record) -> Record:
        """Keep a record that was read; return the one to use: the kept one, if it is the same and knows more."""
        with self._lock:
            there = self._kept.get(record.account.user)
            if there is not None:
                self._observe(is_stale=there.record.version < record.version)
                if there.record.version == record.version and there.record.keys.block is None:
                    there.is_read = True
                    return there.record
            self._put(record, is_read=True)
            return record

    def put(self, record: Record) -> None:
        """Keep the record after a write."""
        with self._lock:
            there = self._kept.get(record.account.user)
            if there is not None and there.is_used:
                self._observe(is_stale=False)
            self._put(record)

    def note_lost(self, user: str) -> None:
        """Drop a user's record after a write that lost its race."""
        with self._lock:
            there = self._kept.pop(user, None)
            if there is not None and there.is_used:
                self._observe(is_stale=True)

    def forget(self, user: str) -> None:
        """Drop a user's record: it may no longer be true."""
        with self._lock:
            self._kept.pop(user, None)

    def _observe(self, *, is_stale: bool) -> None:
        self._observations = min(self._observations + 1, _OBSERVATIONS)
        self._stale_share += (is_stale - self._stale_share) / self._observations

    def _put(self, record: Record, *, is_read: bool = False) -> None:
        """Keep a record unless one at least as new is here, which may know more; called with the lock held."""
        user = record.account.user
        there = self._kept.get(user)
        if there is not None and there.record.version >= record.version:
            return
        self._kept[user] = _Kept(record, is_read)
        self._kept.move_to_end(user)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
