"""Kept records are used where that has been paying (docs/rules.md section 8)."""

import random

from chalicelib.domain.account import Account
from chalicelib.store.key_filter import KeyFilter
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record


def record(version: int, user: str = "jane", block: str | None = None) -> Record:
    return Record(Account(user), version=version, keys=KeyFilter(block=block))


def lose(recent: RecentRecords, times: int, first: int = 1) -> int:
    """Let others write between all of our commands; return the next version."""
    for version in range(first, first + times):
        recent.note_read(record(version))
        if recent.is_worth_it:
            assert recent.get("jane") is recent.get("jane")  # by the command that read it, and by a later one
            recent.note_lost("jane")
    return first + times


def test_records_are_kept_and_used_at_first() -> None:
    recent = RecentRecords(10)
    recent.put(record(3))
    assert recent.is_worth_it
    assert recent.get("jane") == record(3)


def test_a_process_that_keeps_none_has_nothing_to_use() -> None:
    recent = RecentRecords(0)
    recent.put(record(3))
    assert not recent.is_worth_it
    assert recent.get("jane") is None


def test_a_process_whose_records_are_stale_stops_using_them() -> None:
    recent = RecentRecords(10)
    lose(recent, 20)
    assert not recent.is_worth_it


def test_records_of_which_half_are_stale_are_not_used_by_chance() -> None:
    """As on two servers that get the requests of each user in turn, or at random."""
    recent, draw, version = RecentRecords(10), random.Random(1), 1
    used = 0
    for _ in range(5_000):
        version += draw.random() < 0.5
        recent.note_read(record(version))
        used += recent.is_worth_it
    assert used <= 10  # until enough was known


def test_a_lost_race_on_a_record_that_was_just_read_says_nothing_about_keeping() -> None:
    recent = RecentRecords(10)
    for version in range(1, 50):
        recent.note_read(record(version, user=f"user{version}"))
        recent.note_lost(f"user{version}")
    assert recent.is_worth_it


def test_a_command_that_asks_again_for_the_record_it_has_read_says_nothing_about_keeping() -> None:
    """One that waited for a price does: users seen for the first time are no proof that records stay current."""
    recent = RecentRecords(100)
    for number in range(50):
        recent.note_read(record(1, user=f"user{number}"))
        assert recent.get(f"user{number}") is not None
        recent.put(record(2, user=f"user{number}"))
    recent.get("user0")
    recent.note_lost("user0")
    assert not recent.is_worth_it


def test_some_lost_races_among_many_uses_change_nothing() -> None:
    recent = RecentRecords(10)
    for version in range(1, 100):
        recent.put(record(version))
        recent.get("jane")
        if version % 10 == 0:
            recent.note_lost("jane")
    assert recent.is_worth_it


def test_reads_in_spite_of_a_kept_record_tell_when_it_pays_again() -> None:
    recent = RecentRecords(10)
    version = lose(recent, 30)
    while not recent.is_worth_it:
        recent.put(record(version))
        recent.note_read(record(version))  # nobody else has written since
        version += 1
        assert version < 100
    assert recent.get("jane") == record(version - 1)


def test_of_two_records_of_one_version_the_one_that_knows_more_is_used() -> None:
    recent = RecentRecords(10)
    whole = record(3)
    recent.put(whole)
    assert recent.note_read(record(3, block="7")) is whole
    newer = record(4, block="7")
    assert recent.note_read(newer) is newer


def test_an_older_record_never_replaces_a_newer_one() -> None:
    recent = RecentRecords(10)
    recent.put(record(5))
    recent.put(record(4))
    assert recent.get("jane") == record(5)


def test_the_least_recently_used_is_dropped_first() -> None:
    recent = RecentRecords(2)
    for user in ("jane", "john"):
        recent.put(record(1, user))
    recent.get("jane")
    recent.put(record(1, "mary"))
    assert [user for user in ("jane", "john", "mary") if recent.get(user)] == ["jane", "mary"]
