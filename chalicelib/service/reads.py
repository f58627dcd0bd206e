"""Reads, which are not commands (docs/api.md): an account, its events, and its journal page by page."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from chalicelib.domain.history import AccountEvent, events_of, is_trade
from chalicelib.store.reads import AccountReads, Numbered, Snapshot

LATEST_EVENTS = 20
MOST_EVENTS = 200
MOST_ENTRIES = 200
DEFAULT_ENTRIES = 50

MOST_SCANNED = 20_000
"""How many entries are scanned for one page of trades; the next page continues from there."""


@dataclass(frozen=True, slots=True)
class EventId:
    """An event's place: its entry's sequence number, and its index among the entry's events, from 0."""

    sequence: int
    place: int


@dataclass(frozen=True, slots=True)
class Events:
    """Events of an account; `more` means that there are others after the last one."""

    events: tuple[AccountEvent, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries of a journal, newest first; `next` is where the next page begins (`before`), None at the end."""

    entries: tuple[Numbered, ...]
    next: int | None


def latest_events(reads: AccountReads, snapshot: Snapshot) -> Events:
    """Return the latest events, newest first."""
    newest = (
        event
        for numbered in islice(reads.newest_first(snapshot), MOST_SCANNED)
        for event in reversed(events_of(numbered.entry, numbered.sequence))
    )
    return _bounded(newest, LATEST_EVENTS)


def events_after(reads: AccountReads, snapshot: Snapshot, after: EventId) -> Events:
    """Return the events after the one given, oldest first."""
    oldest = (
        event
        for numbered in reads.after(snapshot, after.sequence - 1)
        for event in events_of(numbered.entry, numbered.sequence)
        if (event.sequence, event.place) > (after.sequence, after.place)
    )
    return _bounded(oldest, MOST_EVENTS)


def history_page(reads: AccountReads, user: str, before: int | None, limit: int, *, only_trades: bool) -> JournalPage:
    """Return a page of a user's journal; with `only_trades`, only the entries in which shares changed hands."""
    wanted: list[Numbered] = []
    for scanned, numbered in enumerate(reads.newest_first(reads.snapshot(user), before)):
        if len(wanted) == limit or scanned == MOST_SCANNED:
            return JournalPage(tuple(wanted), numbered.sequence + 1)
        if not only_trades or is_trade(numbered.entry, numbered.sequence):
            wanted.append(numbered)
    return JournalPage(tuple(wanted), None)


def _bounded(events: Iterable[AccountEvent], most: int) -> Events:
    found = tuple(islice(events, most + 1))
    return Events(found[:most], len(found) > most)
