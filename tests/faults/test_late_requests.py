"""Requests and writes that are held up while the user goes on elsewhere, on a real mongod."""

import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from chalicelib.domain.account import Account
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.service.trading import Answer
from chalicelib.store.accounts import PART_ENTRIES, Accounts
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import KEPT_KEYS, KEPT_KEYS_MS, Record
from tests.integration.shop import Shop, settings_for

SECONDS = 60.0


@pytest.fixture
def shops(mongo_uri: str, mongo_database: str) -> Iterator[tuple[Shop, Shop]]:
    """Return two servers over one fresh database."""
    settings = settings_for(mongo_uri, mongo_database)
    one, other = Shop(settings), Shop(settings)
    yield one, other
    one.close()
    other.close()


class StandsStill(Accounts):
    """A store in a process that is suspended at one point of its next save: before it sends, or before it is told."""

    def __init__(self, shop: Shop, point: str) -> None:
        super().__init__(shop.database, "suspended", RecentRecords(100))
        self._point = point
        self.is_still, self.goes_on = Event(), Event()

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        if self._point == "before" and not self.is_still.is_set():
            self._stand_still()
        after = super().save(record, account, entry, attempt)
        if self._point == "after" and not self.is_still.is_set():
            self._stand_still()
            self._recent.forget(account.user)
            raise UnknownOutcomeError("the answer came too late")
        return after

    def _stand_still(self) -> None:
        self.is_still.set()
        assert self.goes_on.wait(SECONDS)


def suspended(shop: Shop, point: str, **command: Any) -> tuple[StandsStill, Thread, list[Answer]]:
    """Begin a command on a server that stands still at a point of it."""
    store = StandsStill(shop, point)
    shop.trading = replace(shop.trading, store=store)
    answers: list[Answer] = []
    thread = Thread(target=lambda: answers.append(shop.does("ADD", amount="1.00", **command)))
    thread.start()
    assert store.is_still.wait(SECONDS)
    return store, thread, answers


@pytest.mark.parametrize("newer", [1, KEPT_KEYS, 5 * PART_ENTRIES])
def test_a_request_held_up_in_a_server_is_not_done_again_after_its_retry_and_many_newer_commands(
    shops: tuple[Shop, Shop], newer: int
) -> None:
    """The client sent it again through another server and gave hundreds of commands within the two minutes."""
    one, other = shops
    store, thread, answers = suspended(one, "before", key="held up")
    first = other.does("ADD", amount="1.00", key="held up")
    for number in range(newer):
        other.does("ADD", amount="0.01", key=f"newer-{number}")
    store.goes_on.set()
    thread.join(SECONDS)
    (late,) = answers
    assert late.replayed
    assert late.entry == first.entry
    assert other.accounts.reload("jane").account.cash_cents == 100 + newer


@pytest.mark.parametrize("newer", [1, 3 * PART_ENTRIES])
def test_a_write_whose_answer_was_lost_is_known_again_after_many_newer_ones(
    shops: tuple[Shop, Shop], newer: int
) -> None:
    """Without a key it is only the attempt's own id that tells; it is looked for back to where it was made."""
    one, other = shops
    store, thread, answers = suspended(one, "after")
    for _ in range(newer):
        other.does("ADD", amount="0.01")
    store.goes_on.set()
    thread.join(SECONDS)
    assert [answer.entry.cash_cents for answer in answers] == [100]
    assert other.accounts.reload("jane").account.cash_cents == 100 + newer


class Unconfirmed:
    """A journal that once holds a part which only a primary has that is about to be deposed."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self.met = 0

    def insert_one(self, part: dict[str, Any]) -> None:
        if not self.met:
            self.met += 1
            raise DuplicateKeyError("there already, in the eyes of this primary alone")
        self._journal.insert_one(part)

    def find_one(self, *arguments: Any) -> Any:
        return self._journal.find_one(*arguments)  # reads see only what a majority has


def test_an_account_is_not_cut_on_the_word_of_a_part_that_no_majority_has(shops: tuple[Shop, Shop]) -> None:
    """That part goes with its primary: the entries in it would be nowhere."""
    shop, _ = shops
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="0.01")
    unconfirmed = Unconfirmed(shop.accounts._journal)
    shop.accounts._journal = unconfirmed  # type: ignore[assignment]
    shop.does("ADD", amount="0.01")
    assert unconfirmed.met == 1
    record = shop.accounts.reload("jane")
    parts = list(shop.database["journal"].find())
    numbers = [entry["tx"] for part in parts for entry in part["entries"]]
    numbers += [entry.transaction for entry in reversed(list(record.newest_first()))]
    assert numbers == list(range(1, PART_ENTRIES + 2))


class LoadsLate(Accounts):
    """A store in a process that is suspended before it loads the account a second time."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.database, "suspended", RecentRecords(0))
        self._loads = 0
        self.is_still, self.goes_on = Event(), Event()

    def load(self, user: str) -> Record:
        self._loads += 1
        if self._loads == 2:
            self.is_still.set()
            assert self.goes_on.wait(SECONDS)
        return super().load(user)


def test_a_request_that_is_let_go_when_its_key_is_forgotten_does_nothing(shops: tuple[Shop, Shop]) -> None:
    """No key is kept for ever; but one is kept for longer than the time that any command has."""
    one, other = shops
    store = LoadsLate(one)
    one.trading = replace(one.trading, store=store, limit_ms=100)
    refused: list[StoreUnavailableError] = []

    def late() -> None:
        with pytest.raises(StoreUnavailableError) as raised:
            one.does("ADD", amount="1.00", key="held up")
        refused.append(raised.value)

    thread = Thread(target=late)
    began = time.monotonic()
    thread.start()
    assert store.is_still.wait(SECONDS)
    other.does("ADD", amount="1.00", key="held up")
    for part in range(4):
        for number in range(PART_ENTRIES):
            other.does("ADD", amount="0.01", key=f"later-{part}-{number}")
        other.now_ms += KEPT_KEYS_MS + 1
    record = other.accounts.reload("jane")
    assert other.accounts.find_key(record, "held up") is None
    while time.monotonic() < began + 0.2:
        time.sleep(0.01)  # it is time itself that is waited for
    store.goes_on.set()
    thread.join()
    assert len(refused) == 1
    assert other.accounts.reload("jane").version == record.version
