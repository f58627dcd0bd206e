"""What a command may rely on in the store: the same suite over a real MongoDB and over the model of the simulation."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, cast

import pytest

from chalicelib.connections import connect_database
from chalicelib.domain.account import Account
from chalicelib.domain.commands import CommandName
from chalicelib.domain.journal import HISTORY_LENGTH, OK, CashMoved, Entry
from chalicelib.service.account_write import Store
from chalicelib.store.accounts import Accounts
from chalicelib.store.errors import LostRaceError
from chalicelib.store.key_filter import GENERATION_KEYS
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import PART_ENTRIES
from infra.simulation.driver import Link, ModelledDatabase
from infra.simulation.mongod import ReplicaSet
from infra.simulation.network import Calm
from infra.simulation.scheduler import Process, Scheduler
from infra.simulation.waits import in_virtual_time
from tests.integration.shop import settings_for

START_MS = 1_000_000_000_000


class MakeStore(Protocol):
    def __call__(self, recent: int = 0) -> Store: ...


@pytest.fixture(params=["real", "model"])
def make_store(request: pytest.FixtureRequest, mongo_uri: str, mongo_database: str) -> Iterator[MakeStore]:
    """Return what makes stores over one database, each as another process would have it."""
    if request.param == "model":
        scheduler, members = Scheduler(START_MS), ReplicaSet()
        model: Any = ModelledDatabase(Link(scheduler, Calm(), members))
        with in_virtual_time(scheduler):
            yield lambda recent=0: cast("Store", Carried(Accounts(model, "test", RecentRecords(recent)), scheduler))
        return
    database = connect_database(settings_for(mongo_uri, mongo_database))
    yield lambda recent=0: Accounts(database, "test", RecentRecords(recent))
    database.client.close()


class Carried:
    """A store whose calls are carried out in virtual time, each to its end."""

    def __init__(self, store: Accounts, scheduler: Scheduler) -> None:
        self._store = store
        self._scheduler = scheduler
        self._process = Process("test", 1)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            work = partial(getattr(self._store, name), *arguments, **named)
            actor = self._scheduler.begin(name, self._process, work)
            self._scheduler.run_until(lambda: actor.is_done)
            if actor.error is not None:
                raise actor.error
            return actor.result

        return call


def entry_of(number: int, key: str | None = None, at_ms: int | None = None, *, system: bool = False) -> Entry:
    return Entry(
        transaction=number,
        timestamp_ms=START_MS + number if at_ms is None else at_ms,
        command=None if system else CommandName.ADD,
        symbol=None,
        amount_cents=None if system else 1,
        filename=None,
        of_all=False,
        key=key,
        outcome=OK,
        message=None,
        cash_cents=number,
        events=(CashMoved("add", 1),),
        result={},
    )


def attempt_of(number: int) -> bytes:
    return b"%8d" % number


@dataclass
class Writer:
    """Writes entry after entry of one user."""

    store: Store
    number: int = 0
    records: list[Record] = field(default_factory=list)

    def write(self, count: int = 1, *, keys: bool = True, at_ms: int | None = None, system: bool = False) -> Record:
        for _ in range(count):
            self.number += 1
            key = f"key-{self.number}" if keys else None
            record = self.store.kept("jane", key) or self.store.read("jane", key)
            account = replace(record.account, cash_cents=self.number)
            entry = entry_of(self.number, key, at_ms, system=system)
            self.store.save(record, account, entry, attempt_of(self.number))
            self.records.append(self.store.read("jane", key))
        return self.records[-1]


def is_known(store: Store, key: str) -> bool:
    """Tell whether a process that looks now finds a key."""
    return store.find_key(store.read("jane", key), key) is not None


def test_an_account_that_is_not_there_is_new(make_store: MakeStore) -> None:
    record = make_store().read("jane")
    assert (record.account, record.version, record.last_ms) == (Account("jane"), 0, 0)


def test_what_is_saved_is_what_any_other_process_loads(make_store: MakeStore) -> None:
    Writer(make_store()).write(2)
    record = make_store().read("jane")
    assert (record.account.cash_cents, record.version, record.last_ms) == (2, 2, START_MS + 2)


def test_a_save_on_an_old_version_changes_nothing(make_store: MakeStore) -> None:
    store = make_store()
    old = Writer(store).write()
    Writer(make_store(), 1).write()
    with pytest.raises(LostRaceError):
        store.save(old, Account("jane", cash_cents=99), entry_of(3), attempt_of(3))
    record = make_store().read("jane")
    assert (record.account.cash_cents, record.version) == (2, 2)
    assert make_store().find_attempt(record, attempt_of(3), 0) is None


def test_of_two_who_make_an_account_one_is_first(make_store: MakeStore) -> None:
    one, other = make_store(), make_store()
    new = other.read("jane")
    Writer(one).write()
    with pytest.raises(LostRaceError):
        other.save(new, Account("jane", cash_cents=99), entry_of(2), attempt_of(2))
    assert make_store().read("jane").account.cash_cents == 1


def test_a_process_that_remembers_an_old_record_learns_by_its_loss(make_store: MakeStore) -> None:
    store = make_store(recent=10)
    Writer(store).write()
    Writer(make_store(), 1).write()
    remembered = store.kept("jane")
    assert remembered is not None
    assert remembered.version == 1
    with pytest.raises(LostRaceError):
        store.save(remembered, remembered.account, entry_of(3), attempt_of(3))
    assert store.kept("jane") is None
    assert store.read("jane").version == 2


def test_a_process_remembers_too_that_there_was_no_account(make_store: MakeStore) -> None:
    store = make_store(recent=10)
    remembered = store.read("jane")
    Writer(make_store()).write()
    assert store.kept("jane") is remembered
    with pytest.raises(LostRaceError):
        store.save(remembered, Account("jane", cash_cents=99), entry_of(2), attempt_of(2))
    assert store.read("jane").account.cash_cents == 1


def test_a_key_is_found_with_what_it_stands_for(make_store: MakeStore) -> None:
    store = make_store()
    Writer(store).write(3)
    found = store.find_key(store.read("jane", "key-2"), "key-2")
    assert found is not None
    assert (found.entry, found.sequence, found.attempt) == (entry_of(2, "key-2"), 2, attempt_of(2))
    assert not is_known(store, "key-4")


@pytest.mark.parametrize("recent", [0, 10])
def test_the_last_thousand_keys_are_found_however_old_they_are(make_store: MakeStore, recent: int) -> None:
    """Also when as many have come before them, and much without a key after them."""
    store = make_store(recent)
    writer = Writer(store)
    writer.write(GENERATION_KEYS + 100)
    writer.write(100, keys=False, at_ms=START_MS + 10**9)
    others = make_store(recent)
    known = [f"key-{number}" for number in range(101, GENERATION_KEYS + 101)]
    assert [key for key in known if not is_known(others, key)] == []
    assert not is_known(others, "another")


def test_an_attempt_is_found_however_much_was_written_since(make_store: MakeStore) -> None:
    """Two parts of the journal are closed, and a third is open, when it is looked for."""
    store = make_store()
    writer = Writer(store)
    record = writer.write(2 * PART_ENTRIES + 2)
    for number in range(1, writer.number + 1):
        found = store.find_attempt(record, attempt_of(number), number - 1)
        assert found is not None
        assert (found.sequence, found.entry.transaction) == (number, number)
    assert store.find_attempt(record, b"nowhere!", 0) is None
    assert store.find_attempt(record, b"nowhere!", record.version) is None


def test_the_history_is_the_latest_commands_without_the_systems_actions(make_store: MakeStore) -> None:
    store = make_store()
    writer = Writer(store)
    writer.write(PART_ENTRIES - 2)
    writer.write(3, system=True, keys=False)
    record = writer.write(4)
    latest = store.with_history(record).latest
    assert latest is not None
    assert [past.transaction for past in latest[:7]] == [69, 68, 67, 66, 62, 61, 60]
    assert len(latest) == HISTORY_LENGTH
    assert store.with_history(store.read(record.account.user)).latest == latest
