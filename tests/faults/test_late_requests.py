"""Requests and writes that are held up while the user goes on elsewhere, on a real mongod."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest
from pymongo.errors import DuplicateKeyError

from chalicelib.clock import now_ms
from chalicelib.domain.account import Account
from chalicelib.domain.errors import TooLateError
from chalicelib.domain.journal import Entry
from chalicelib.service.trading import Answer
from chalicelib.store.accounts import Accounts
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import PART_ENTRIES, Found
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


@pytest.mark.parametrize("newer", [1, 5 * PART_ENTRIES, 1_000])
def test_a_request_held_up_in_a_server_is_not_done_again_after_its_retry_and_many_newer_commands(
    shops: tuple[Shop, Shop], newer: int
) -> None:
    """The client sent it again through another server and gave many commands since."""
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
    assert other.accounts.read("jane").account.cash_cents == 100 + newer


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
    assert other.accounts.read("jane").account.cash_cents == 100 + newer


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
    unconfirmed = Unconfirmed(shop.database["journal"])
    shop.accounts._journal._journal = unconfirmed  # type: ignore[assignment]
    shop.does("ADD", amount="0.01")
    assert unconfirmed.met == 1
    assert [entry.transaction for entry in shop.entries()] == list(range(1, PART_ENTRIES + 2))


class LooksLate(Accounts):
    """A store in a process that is suspended when it has read the account, before it looks for the key."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.database, "suspended", RecentRecords(0))
        self.is_still, self.goes_on = Event(), Event()

    def find_key(self, record: Record, key: str) -> Found | None:
        if not self.is_still.is_set():
            self.is_still.set()
            assert self.goes_on.wait(SECONDS)
        return super().find_key(record, key)


def test_a_request_that_is_let_go_after_its_time_does_nothing(shops: tuple[Shop, Shop]) -> None:
    """No key is kept for ever; but no command is begun after its time, however many keys came since."""
    one, other = shops
    store = LooksLate(one)
    one.trading = replace(one.trading, store=store, limit_ms=100)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(one.does, "ADD", amount="1.00", key="held up")
        assert store.is_still.wait(SECONDS)
        other.does("ADD", amount="1.00", key="held up")
        while time.monotonic() < began + 0.2:
            other.does("ADD", amount="0.01")
        version = other.accounts.read("jane").version
        store.goes_on.set()
        with pytest.raises(TooLateError, match=r"0\.1 s"):
            late.result(SECONDS)
    assert other.accounts.read("jane").version == version


def test_a_request_that_took_too_long_to_arrive_is_not_begun(shops: tuple[Shop, Shop]) -> None:
    """Its time counts from when the first server on its way received it."""
    shop, _ = shops
    limit_ms = shop.settings.command_timeout_ms
    with pytest.raises(TooLateError):
        shop.does("ADD", amount="1.00", arrived_ms=now_ms() - limit_ms)
    assert shop.accounts.read("jane").version == 0
    shop.does("ADD", amount="1.00", arrived_ms=now_ms() - limit_ms + 10_000)
    shop.does("ADD", amount="1.00", arrived_ms=now_ms() + 3_600_000)  # the clock of who stamped it is ahead
    assert shop.accounts.read("jane").account.cash_cents == 200


def test_a_command_that_waits_for_its_turn_in_vain_is_too_late(shops: tuple[Shop, Shop]) -> None:
    shop, other = shops
    store, thread, answers = suspended(shop, "before")
    try:
        with pytest.raises(TooLateError):
            shop.does("ADD", amount="5.00", arrived_ms=now_ms() - shop.settings.command_timeout_ms + 100)
    finally:
        store.goes_on.set()
        thread.join(SECONDS)
    assert [answer.entry.cash_cents for answer in answers] == [100]
    assert other.accounts.read("jane").account.cash_cents == 100
