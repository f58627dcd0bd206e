"""One guarded write of the system to one account, tried until its outcome is known."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chalicelib.clock import Clock
from chalicelib.domain.account import Account
from chalicelib.domain.decide import Decision
from chalicelib.domain.errors import ClockSkewError, UnavailableError, UnknownDataVersionError
from chalicelib.domain.journal import Entry
from chalicelib.service.deadline import Deadline
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.record import Found, Record

Decide = Callable[[Account, int], Decision | None]
"""What is to become of an account at a time (ms); None when nothing."""


class Store(Protocol):
    """What such a write needs of the store; see `chalicelib.store.accounts.Accounts`."""

    def reload(self, user: str) -> Record:
        """Return a user's account as the database has it now."""

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Write the change of a record, or raise LostRaceError or UnknownOutcomeError."""

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after the version `since`."""


@dataclass(frozen=True, slots=True)
class Written:
    """The entry that was written, None when there was nothing to do, and how many races were lost on the way."""

    entry: Entry | None
    lost_races: int = 0


def write(store: Store, clock: Clock, user: str, decide: Decide, limit_ms: int) -> Written:
    """Decide on the account as it is now and save that; when another write came first, decide again.

    The record always comes from the database: an old one kept in the process could say "nothing to do", and no guard
    checks an account that is not written. Raises StoreUnavailableError when the database did not confirm in time, and
    ClockSkewError.
    """
    attempt = secrets.token_bytes(8)
    deadline = Deadline(limit_ms)
    since: int | None = None
    lost_races = 0
    for _ in deadline.tries():
        tried: int | None = None
        try:
            record = store.reload(user)
            if since is not None and (found := store.find_attempt(record, attempt, since)):
                return Written(found.entry, lost_races)
            decision = decide(record.account, clock())
            if decision is None:
                return Written(None, lost_races)
            tried = record.version
            entry = decision.entry.no_earlier_than(record.last_ms)
            store.save(record, decision.account, entry, attempt)
            return Written(entry, lost_races)
        except LostRaceError:
            lost_races += 1
        except (UnknownOutcomeError, ClockSkewError, UnknownDataVersionError) as error:
            since = unknown_since(since, tried, error)
            deadline.note(error)
    raise deadline.store_unavailable()


def unknown_since(since: int | None, tried: int | None, error: Exception) -> int | None:
    """Return the version from which on what was tried is to be looked for, after one more try that failed.

    Raises an UnavailableError again, which says that nothing was changed, unless it is unknown what became of an
    earlier try.
    """
    if since is None and isinstance(error, UnavailableError):
        raise error
    return tried if since is None else since
