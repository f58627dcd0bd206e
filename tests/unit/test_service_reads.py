"""Pages of what happened to an account: where they end, and where the next one begins."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.domain.account import Account
from chalicelib.domain.history import EventKind
from chalicelib.domain.journal import Entry
from chalicelib.service.reads import (
    DEFAULT_ENTRIES,
    LATEST_EVENTS,
    MOST_ENTRIES,
    MOST_EVENTS,
    MOST_SCANNED,
    EventId,
    events_after,
    history_page,
    latest_events,
)
from chalicelib.store.reads import AccountReads, Numbered, Snapshot
from tests.unit.trader import Trader

SNAPSHOT = Snapshot(Account("jane"), 0, 1, ())


class Journal(AccountReads):
    """A journal in memory, whose entries have the numbers from 1 on."""

    def __init__(self, entries: list[Entry]) -> None:
        self._all = [Numbered(number, entry) for number, entry in enumerate(entries, start=1)]

    def snapshot(self, user: str) -> Snapshot:
        assert user == "jane"
        return SNAPSHOT

    def newest_first(self, snapshot: Snapshot, before: int | None = None) -> Iterator[Numbered]:
        return (one for one in reversed(self._all) if before is None or one.sequence < before)

    def after(self, snapshot: Snapshot, sequence: int) -> Iterator[Numbered]:
        return (one for one in self._all if one.sequence > sequence)


def adds(number: int) -> list[Entry]:
    trader = Trader()
    return [trader.does("ADD", amount=f"{each}.00") for each in range(1, number + 1)]


def sequences(events: Any) -> list[int]:
    return [event.sequence for event in events.events]


def test_a_page_has_fifty_entries_by_default_and_two_hundred_at_most() -> None:
    assert (DEFAULT_ENTRIES, MOST_ENTRIES) == (50, 200)  # docs/api.md


@pytest.mark.parametrize(("entries", "more"), [(LATEST_EVENTS, False), (LATEST_EVENTS + 1, True)])
def test_the_latest_events_are_twenty_the_newest_first(entries: int, more: bool) -> None:
    found = latest_events(Journal(adds(entries)), SNAPSHOT)
    assert sequences(found) == list(range(entries, entries - 20, -1))
    assert found.more is more


@pytest.mark.parametrize(("entries", "more"), [(MOST_EVENTS + 2, False), (MOST_EVENTS + 3, True)])
def test_events_after_one_are_two_hundred_the_oldest_first(entries: int, more: bool) -> None:
    found = events_after(Journal(adds(entries)), SNAPSHOT, EventId(2, 0))
    assert sequences(found) == list(range(3, 203))
    assert found.more is more


def expiry_and_cancel() -> list[Entry]:
    """Return the entries of orders one of which runs out in the entry of an ADD, which so has two events."""
    trader = Trader()
    trader.does("ADD", amount="1000.00")
    trader.does("BUY", "ABC", "50.00")
    trader.waits(60_001)
    trader.does("ADD", amount="1.00")
    return trader.entries


def test_events_of_one_entry_have_their_places_and_a_page_goes_on_between_them() -> None:
    journal = Journal(expiry_and_cancel())
    newest = latest_events(journal, SNAPSHOT).events
    assert [(event.sequence, event.place) for event in newest] == [(3, 1), (3, 0), (2, 0), (1, 0)]
    assert [event.kind for event in newest[:2]] == [EventKind.CASH_ADDED, EventKind.ORDER_EXPIRED]
    after = events_after(journal, SNAPSHOT, EventId(3, 0)).events
    assert [(event.sequence, event.place) for event in after] == [(3, 1)]
    assert events_after(journal, SNAPSHOT, EventId(3, 1)).events == ()


def test_a_page_of_a_journal_says_where_the_next_one_begins() -> None:
    journal = Journal(adds(5))
    first = history_page(journal, "jane", None, 2, only_trades=False)
    assert ([one.sequence for one in first.entries], first.next) == ([5, 4], 4)
    second = history_page(journal, "jane", first.next, 2, only_trades=False)
    assert ([one.sequence for one in second.entries], second.next) == ([3, 2], 2)
    last = history_page(journal, "jane", second.next, 2, only_trades=False)
    assert ([one.sequence for one in last.entries], last.next) == ([1], None)
    assert history_page(journal, "jane", None, 5, only_trades=False).next is None


def test_a_page_of_trades_has_only_entries_by_which_shares_changed_hands() -> None:
    trader = Trader()
    trader.does("ADD", amount="1000.00")
    for _ in range(3):
        trader.does("BUY", "ABC", "50.00")
        trader.does("COMMIT_BUY")
    journal = Journal(trader.entries)
    page = history_page(journal, "jane", None, 2, only_trades=True)
    assert ([one.sequence for one in page.entries], page.next) == ([7, 5], 5)
    rest = history_page(journal, "jane", page.next, 2, only_trades=True)
    assert ([one.sequence for one in rest.entries], rest.next) == ([3], None)


@pytest.mark.parametrize(("entries", "following"), [(20_000, None), (20_001, 2)])
def test_not_more_than_twenty_thousand_entries_are_looked_through_for_a_page_of_trades(
    entries: int, following: int | None
) -> None:
    (entry,) = adds(1)
    assert MOST_SCANNED == 20_000
    page = history_page(Journal([entry] * entries), "jane", None, 1, only_trades=True)
    assert (page.entries, page.next) == ((), following)


def test_not_more_than_that_are_looked_through_for_the_latest_events() -> None:
    trader = Trader()
    added = trader.does("ADD", amount="1.00")
    nothing = trader.does("CANCEL_BUY")
    within, beyond = [added, *[nothing] * (MOST_SCANNED - 1)], [added, *[nothing] * MOST_SCANNED]
    assert sequences(latest_events(Journal(within), SNAPSHOT)) == [1]
    assert sequences(latest_events(Journal(beyond), SNAPSHOT)) == []
