"""Races for one account on a real mongod: nothing is lost, nothing counted twice (docs/rules.md sections 7 and 8)."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from chalicelib.config.settings import Settings
from chalicelib.domain.account import Account
from chalicelib.domain.journal import Entry
from chalicelib.store.accounts import Accounts
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.record import Record
from tests.integration.shop import Shop, settings_for


@pytest.fixture
def settings(mongo_uri: str, mongo_database: str) -> Settings:
    """Return settings for a fresh database."""
    return settings_for(mongo_uri, mongo_database)


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    """Return a shop to look with afterwards."""
    shop = Shop(settings, recent=0)
    yield shop
    shop.close()


def add_cents(settings: Settings, times: int, start: "Barrier | None", key: str | None = None) -> list[bool]:
    """Add a cent so many times from a store of its own; tell which were replayed."""
    shop = Shop(settings)
    if start is not None:
        start.wait()
    answers = [shop.does("ADD", amount="0.01", key=key) for _ in range(times)]
    shop.close()
    return [answer.replayed for answer in answers]


def test_threads_with_stores_of_their_own_lose_no_add(settings: Settings, shop: Shop) -> None:
    start = Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add_cents(settings, 50, start), range(4)))
    record = shop.accounts.read("jane")
    assert (record.account.cash_cents, record.version) == (200, 200)


def test_threads_of_one_process_lose_no_add(shop: Shop) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: shop.does("ADD", amount="0.01"), range(200)))
    assert shop.accounts.read("jane").account.cash_cents == 200


def test_processes_lose_no_add(settings: Settings, shop: Shop) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(add_cents, [(settings, 40, None)] * 3)
    record = shop.accounts.read("jane")
    assert (record.account.cash_cents, record.version) == (120, 120)


def test_the_last_cash_is_spent_once_however_many_want_it(settings: Settings, shop: Shop) -> None:
    shop.does("ADD", amount="50.00")
    shops = [Shop(settings) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda n: shops[n % 4].does("BUY", "ABC", "10.00").entry.outcome, range(16)))
    assert sorted(outcomes) == ["insufficient_funds"] * 11 + ["ok"] * 5
    for other in shops:
        other.close()


def test_one_key_in_flight_on_several_servers_is_applied_once(settings: Settings, shop: Shop) -> None:
    for number in range(10):
        start = Barrier(4)
        keys = [f"key-{number}"] * 4
        with ThreadPoolExecutor(4) as pool:
            replayed = list(pool.map(lambda key, start=start: add_cents(settings, 1, start, key), keys))
        assert sorted(flag for flags in replayed for flag in flags) == [False, True, True, True]
    assert shop.accounts.read("jane").account.cash_cents == 10


class LosesAnswers(Accounts):
    """A store whose answers are lost: the write is applied, or not, and the caller is told neither."""

    applied = True
    losses = 1

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Save, or do not, and lose the answer as long as losses remain."""
        if not self.losses:
            return super().save(record, account, entry, attempt)
        self.losses -= 1
        if self.applied:
            super().save(record, account, entry, attempt)
        self._recent.forget(account.user)
        raise UnknownOutcomeError("the answer was lost")


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("key", [None, "a key"])
def test_a_write_whose_answer_is_lost_is_applied_once(shop: Shop, applied: bool, key: str | None) -> None:
    shop.does("ADD", amount="1.00")
    losing = LosesAnswers(shop.database, "test", shop.accounts._recent)
    losing.applied = applied
    shop.trading = shop.trading.__class__(
        losing, shop.quotes, shop.trading.dumps, shop.trading.clock, shop.trading.queues, 10_000
    )
    answer = shop.does("ADD", amount="1.00", key=key)
    assert (answer.replayed, answer.entry.cash_cents) == (False, 200)
    record = shop.accounts.read("jane")
    assert (record.account.cash_cents, record.version) == (200, 2)


def test_a_late_write_of_an_earlier_try_loses_to_the_later_one(shop: Shop) -> None:
    """The first try hangs on its way; when it arrives after the second, its guard does not match any more."""
    shop.does("ADD", amount="1.00")
    stale = shop.accounts.read("jane")
    done = Event()

    class Late(LosesAnswers):
        applied = False

        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            if not self.losses:
                after = super().save(record, account, entry, attempt)
                with pytest.raises(Exception, match="jane"):
                    Accounts.save(self, stale, account, entry, attempt)
                done.set()
                return after
            return super().save(record, account, entry, attempt)

    late = Late(shop.database, "test", shop.accounts._recent)
    shop.trading = shop.trading.__class__(
        late, shop.quotes, shop.trading.dumps, shop.trading.clock, shop.trading.queues, 10_000
    )
    shop.does("ADD", amount="1.00")
    assert done.is_set()
    assert shop.accounts.read("jane").account.cash_cents == 200
