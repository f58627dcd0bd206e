"""One change of one account by optimistic concurrency: read, decide, save, and again if another write came first."""

import secrets
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from chalicelib.clock import Clock
from chalicelib.domain.account import Account
from chalicelib.domain.decide import Decision
from chalicelib.domain.errors import PermanentError, UnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.observe.timing import CommandTimer
from chalicelib.service.deadline import Deadline
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.record import Record
from chalicelib.store.user_journal import ATTEMPT_BYTES, Found

Result = TypeVar("Result")


class Store(Protocol):
    """The part of the store that writes use; see `chalicelib.store.accounts.Accounts`."""

    def make_indexes(self) -> None:
        """Create the missing indexes."""

    def kept(self, user: str, key: str | None = None) -> Record | None:
        """Return the record kept in this process if a key can be looked up in it; it may be out of date."""

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        """Return a user's record from the database, with what a lookup of the key needs."""

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Save the change of a record, or raise LostRaceError or UnknownOutcomeError."""

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry of an idempotency key."""

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after version `since`."""

    def with_history(self, record: Record) -> Record:
        """Return the record with its latest commands."""


class Written(NamedTuple):
    """The result of a write: its entry, or None if there was nothing to do, and the number of lost races.

    `replayed` means that an earlier request with the same key made the entry.
    """

    found: Found | None
    replayed: bool = False
    lost_races: int = 0

    @property
    def entry(self) -> Entry | None:
        """Return the entry, or None."""
        return None if self.found is None else self.found.entry


Decide = Callable[[Record, int], Decision | None]
"""Decides on a record at a time (ms); None means no change. It may be called again with another record."""


class AccountWrite:
    """One change of the account of `user`, retried until its outcome is known or its time is over.

    One attempt id covers all tries: the guard lets at most one of them succeed, even if a write of unknown outcome
    arrives late. The attempt's entry is looked for from the version of its first try of unknown outcome on: other
    servers may have written any number of entries since.

    With a `key`, the entry of an earlier request is returned instead. The record in which the key was looked up is the
    one that is decided on: the guard tells if it was out of date. `wants_latest` says that the latest commands will be
    needed, which the same read may return.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        user: str,
        deadline: Deadline,
        *,
        key: str | None = None,
        wants_latest: bool = False,
        timer: CommandTimer | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._user = user
        self._deadline = deadline
        self._key = key
        self._wants_latest = wants_latest
        self._timer = timer or CommandTimer()
        self._attempt = secrets.token_bytes(ATTEMPT_BYTES)
        self._since: int | None = None
        self._record: Record | None = None
        self._was_read_now = False
        self._lost_races = 0

    def earlier_outcome(self) -> Found | None:
        """Return the entry that already has the key, before anything is decided.

        Raises StoreUnavailableError if the database does not answer in time.
        """
        return self._until_known(partial(self._look_up, trust_kept=True))

    def check_clock(self) -> None:
        """Raise ClockSkewError if nothing can be decided, StoreUnavailableError if that cannot be found out in time."""
        self._until_known(self._clock)

    def forget(self) -> None:
        """Drop the record looked at: another write has come since."""
        self._record = None

    def carry_out(self, decide: Decide, *, trust_kept: bool = True) -> Written:
        """Decide and save until the write is confirmed.

        Unless `trust_kept`, the database's record is decided on and not the one kept in the process: an old one could
        say "nothing to do", and no guard checks an account that is not written.

        Raises TooLateError if it was not begun in time, ClockSkewError, UnknownDataVersionError and PermanentError,
        after which nothing was changed; StoreUnavailableError if the database did not confirm it; and what `decide`
        raises.
        """
        return self._until_known(partial(self._try, decide, trust_kept=trust_kept))

    def _until_known(self, step: Callable[[], Result]) -> Result:
        last: Exception | None = None
        while True:
            try:
                return step()
            except LostRaceError:
                self._lost_races += 1
                self._timer.lost_races += 1
                # After a kept record, out of date, there need not be any contention.
                pauses = self._was_read_now
            except UnknownOutcomeError as error:
                last, pauses = error, True
            except (PermanentError, UnavailableError) as error:
                if self._since is None:  # nothing was changed, as the error says
                    raise
                last, pauses = error, True
            self._record = None
            if pauses and not self._deadline.pause():
                raise self._deadline.failure(last)

    def _look_up(self, *, trust_kept: bool) -> Found | None:
        """Get a record to decide on; return the entry if it is in the journal already."""
        with self._timer.load:
            kept = self._store.kept(self._user, self._key) if trust_kept else None
            record = kept or self._record
            if self._timer.kept is None:
                self._timer.kept = record is not None
            if record is not None and record is self._record:
                return None
            self._was_read_now = record is None
            if record is None:
                record = self._store.read(self._user, self._key, with_latest=self._wants_latest)
            found: Found | None = None
            if self._key is not None:
                found = self._store.find_key(record, self._key)
            elif self._since is not None:
                found = self._store.find_attempt(record, self._attempt, self._since)
        self._record = record
        return found

    def _try(self, decide: Decide, *, trust_kept: bool) -> Written:
        found = self._look_up(trust_kept=trust_kept)
        if found is not None:
            return Written(found, found.attempt != self._attempt, self._lost_races)
        record = self._record
        assert record is not None
        # A late command's key may have been forgotten. The time is checked after the record was read: from then on the
        # guard tells whether the record is still current.
        if not self._deadline.remaining_seconds():
            raise self._deadline.too_late()
        decision = decide(record, self._clock())
        if decision is None:
            return Written(None, lost_races=self._lost_races)
        entry = decision.entry.no_earlier_than(record.last_ms)
        try:
            with self._timer.save:
                after = self._store.save(record, decision.account, entry, self._attempt)
        except UnknownOutcomeError:
            self._since = record.version if self._since is None else self._since
            raise
        return Written(Found(entry, after.version, self._attempt), lost_races=self._lost_races)


def write_for_system(
    store: Store, clock: Clock, user: str, decide: Callable[[Account, int], Decision | None], limit_ms: int
) -> Written:
    """Write what the system does to an account on its own; return None if there is nothing to do.

    Raises UnavailableError: StoreUnavailableError if the database did not confirm it in time, others if nothing was
    changed.
    """
    one = AccountWrite(store, clock, user, Deadline(limit_ms))
    return one.carry_out(lambda record, now_ms: decide(record.account, now_ms), trust_kept=False)
