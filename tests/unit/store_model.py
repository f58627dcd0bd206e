"""A store in memory, for tests of the layers above the store."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH, Entry
from chalicelib.store.errors import LostRaceError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import Found


@dataclass(frozen=True, slots=True)
class ModelWrite:
    """A change to one version of an account."""

    version: int
    account: Account
    entry: Entry
    attempt: bytes


@dataclass(slots=True)
class _Kept:
    """One account: all its versions, and its journal."""

    versions: list[Account]
    entries: list[tuple[Entry, bytes]] = field(default_factory=list)

    @property
    def version(self) -> int:
        return len(self.versions) - 1


class ModelDatabase:
    """All accounts, with every version they had."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Kept] = {}

    def users(self) -> list[str]:
        """Return the users that have an account."""
        return sorted(self._accounts)

    def journal(self, user: str) -> list[tuple[Entry, bytes]]:
        """Return a user's entries and the attempts that wrote them, oldest first."""
        return self._accounts[user].entries if user in self._accounts else []

    def record(self, user: str, version: int | None = None) -> Record:
        """Return an account as it is now, or at a version."""
        kept = self._accounts.get(user)
        if kept is None:
            return Record(Account(user))
        number = kept.version if version is None else version
        last_ms = kept.entries[number - 1][0].timestamp_ms if number else 0
        return Record(kept.versions[number], number, last_ms)

    def apply(self, write: ModelWrite) -> bool:
        """Execute a write if the account is at its version; return whether it was."""
        kept = self._accounts.setdefault(write.account.user, _Kept([Account(write.account.user)]))
        if kept.version != write.version:
            return False
        kept.versions.append(write.account)
        kept.entries.append((write.entry, write.attempt))
        return True


class ModelStore:
    """A server's view of the accounts."""

    def __init__(self, database: ModelDatabase, recent: int = 10) -> None:
        self._database = database
        self._recent = RecentRecords(recent)

    def make_indexes(self) -> None:
        """Do nothing: there are no indexes."""

    def kept(self, user: str, key: str | None = None) -> Record | None:  # any key can be looked up
        """Return what the process keeps of an account, which may be out of date."""
        return self._recent.get(user)

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        """Return an account as the database has it now."""
        record = self._database.record(user)
        self._recent.put(record)
        return record

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Write the change of a record; raises LostRaceError."""
        if not self._database.apply(ModelWrite(record.version, account, entry, attempt)):
            self._recent.forget(account.user)
            raise LostRaceError(account.user)
        after = Record(account, record.version + 1, entry.timestamp_ms)
        self._recent.put(after)
        return after

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry of a key."""
        return next((found for found in self._newest_first(record) if found.entry.key == key), None)

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after the version `since`."""
        later = takewhile(lambda found: found.sequence > since, self._newest_first(record))
        return next((found for found in later if found.attempt == attempt), None)

    def with_history(self, record: Record) -> Record:
        """Return a record with its latest commands."""
        latest = (past for found in self._newest_first(record) if (past := found.entry.past) is not None)
        return replace(record, latest=tuple(islice(latest, HISTORY_LENGTH)))

    def _newest_first(self, record: Record) -> Iterator[Found]:
        entries = self._database.journal(record.account.user)
        for number in range(record.version, 0, -1):
            entry, attempt = entries[number - 1]
            yield Found(entry, number, attempt)
