"""A model of the store: the same promises as `chalicelib.store.accounts.Accounts`, and not one more.

It finds keys only as far back as the real one must, so that what rests on luck there fails here. One suite
of tests holds both to the same contract (tests/faults/test_store_contract.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import islice, takewhile
from typing import Protocol

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH, Entry
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import Found

KEPT_KEYS = 64
"""So few of a user's latest keys are known by default that schedules of a hundred commands go beyond them."""


class ReadingKind(Enum):
    """What comes of asking the database for an account."""

    RIGHT = auto()
    OLD = auto()
    """A member that does not know yet that it is not primary any more answers with what it last had."""
    LOST = auto()


class Sending(Enum):
    """What comes of sending a write."""

    ARRIVES = auto()
    TWICE = auto()
    """The driver sends it again, and both arrive."""
    LATE = auto()
    """It arrives when the sender has given up on it, and perhaps has done the same by another write."""
    NEVER = auto()


class Weather(Protocol):
    """What the network and the machines do. Every call is a moment at which anybody else may go on."""

    def step(self, what: str) -> None:
        """Return when it is this one's turn again; raises whatever ends a process that crashes."""

    def reading(self) -> ReadingKind:
        """Return what comes of a read."""

    def sending(self) -> Sending:
        """Return what comes of a write."""

    def answer_arrives(self) -> bool:
        """Return whether the sender learns what became of its write."""


class Calm:
    """Weather in which everything works."""

    def step(self, what: str) -> None:
        """Go on."""

    def reading(self) -> ReadingKind:
        """Read what is there."""
        return ReadingKind.RIGHT

    def sending(self) -> Sending:
        """Let the write arrive."""
        return Sending.ARRIVES

    def answer_arrives(self) -> bool:
        """Let the answer arrive."""
        return True


@dataclass(frozen=True, slots=True)
class ModelWrite:
    """A change of one account, meant for one version of it."""

    version: int
    account: Account
    entry: Entry
    attempt: bytes


@dataclass(slots=True)
class _Kept:
    """One account: its versions from the first on, and its journal."""

    versions: list[Account]
    entries: list[tuple[Entry, bytes]] = field(default_factory=list)

    @property
    def version(self) -> int:
        return len(self.versions) - 1


class ModelDatabase:
    """All accounts, with every version they had. `guarded` is whether a write must meet its version: it must."""

    def __init__(self, *, guarded: bool = True) -> None:
        self._guarded = guarded
        self._accounts: dict[str, _Kept] = {}
        self.late: list[ModelWrite] = []

    def users(self) -> list[str]:
        """Return the users that have an account."""
        return sorted(self._accounts)

    def journal(self, user: str) -> list[tuple[Entry, bytes]]:
        """Return a user's entries and the attempts that wrote them, oldest first."""
        return self._accounts[user].entries if user in self._accounts else []

    def record(self, user: str, version: int | None = None) -> Record:
        """Return an account as it is, or as it was at a version."""
        kept = self._accounts.get(user)
        if kept is None:
            return Record(Account(user))
        number = kept.version if version is None else version
        last_ms = kept.entries[number - 1][0].timestamp_ms if number else 0
        return Record(kept.versions[number], number, last_ms)

    def apply(self, write: ModelWrite) -> bool:
        """Carry out a write if the account is at its version; return whether it was."""
        kept = self._accounts.setdefault(write.account.user, _Kept([Account(write.account.user)]))
        if self._guarded and kept.version != write.version:
            return False
        kept.versions.append(write.account)
        kept.entries.append((write.entry, write.attempt))
        return True


class ModelStore:
    """A server's view of the model database, in some weather."""

    def __init__(self, database: ModelDatabase, weather: Weather, recent: int = 10, kept_keys: int = KEPT_KEYS) -> None:
        self._kept_keys = kept_keys
        self._database = database
        self._weather = weather
        self._recent = RecentRecords(recent)

    def make_indexes(self) -> None:
        """Do nothing: there are none."""

    def kept(self, user: str, key: str | None = None) -> Record | None:  # noqa: ARG002  # any key can be looked up
        """Return what the process keeps of an account, which may be out of date."""
        return self._recent.get(user)

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:  # noqa: ARG002
        """Return an account as the database has it now; raises UnknownOutcomeError."""
        self._weather.step("asks for the account")
        reading = self._weather.reading()
        if reading is ReadingKind.LOST:
            raise UnknownOutcomeError("the answer to a read was lost")
        record = self._database.record(user)
        if reading is ReadingKind.OLD and record.version:
            record = self._database.record(user, record.version - 1)
        self._weather.step("has the account")
        self._recent.put(record)
        return record

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Write the change of a record; raises LostRaceError or UnknownOutcomeError."""
        try:
            applied = self._send(ModelWrite(record.version, account, entry, attempt))
        except UnknownOutcomeError:
            self._recent.forget(account.user)
            raise
        if not applied:
            self._recent.forget(account.user)
            raise LostRaceError(account.user)
        after = Record(account, record.version + 1, entry.timestamp_ms)
        self._recent.put(after)
        return after

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry of a key if it is one of the latest `kept_keys`."""
        with_keys = (found for found in self._newest_first(record) if found.entry.key is not None)
        return next((found for found in islice(with_keys, self._kept_keys) if found.entry.key == key), None)

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return what an attempt wrote after the version `since`."""
        later = takewhile(lambda found: found.sequence > since, self._newest_first(record))
        return next((found for found in later if found.attempt == attempt), None)

    def with_history(self, record: Record) -> Record:
        """Return a record with its latest commands."""
        latest = (past for found in self._newest_first(record) if (past := found.entry.past) is not None)
        return replace(record, latest=tuple(islice(latest, HISTORY_LENGTH)))

    def _send(self, write: ModelWrite) -> bool:
        """Return whether a write was applied; raises UnknownOutcomeError when nobody tells."""
        self._weather.step("sends its write")
        match self._weather.sending():
            case Sending.NEVER:
                raise UnknownOutcomeError("a write was lost")
            case Sending.LATE:
                self._database.late.append(write)
                raise UnknownOutcomeError("a write is late")
            case Sending.TWICE:
                applied = self._database.apply(write)
                applied = self._database.apply(write) or applied
            case Sending.ARRIVES:
                applied = self._database.apply(write)
        self._weather.step("waits for the answer")
        if not self._weather.answer_arrives():
            raise UnknownOutcomeError("the answer to a write was lost")
        return applied

    def _newest_first(self, record: Record) -> Iterator[Found]:
        entries = self._database.journal(record.account.user)
        for number in range(record.version, 0, -1):
            entry, attempt = entries[number - 1]
            yield Found(entry, number, attempt)
