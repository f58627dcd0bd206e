"""Where a run begins and ends in a log: at the entries that were the last of the journal when the account was read."""

import pytest

from loadgen.verify.audit_log import Event
from loadgen.verify.log_scan import Mark, UserLog


def event(kind: str, at: int, number: int) -> Event:
    return Event(kind, at, number, "jane", {})


def of_run(start: Mark | None, *events: Event) -> list[bool]:
    log = UserLog(start, Mark(10**6, 1, is_command=True))
    return [log.is_of_run(one) for one in events]


def test_without_an_entry_before_the_run_all_is_of_it() -> None:
    assert of_run(None, event("userCommand", 5, 1)) == [True]


def test_what_comes_later_than_the_last_entry_is_of_the_run_and_what_came_earlier_is_not() -> None:
    start = Mark(10, 7, is_command=True)
    events = [event("userCommand", at, 7) for at in (9, 10, 11)]
    assert of_run(start, *events) == [False, False, True]


def test_the_same_number_in_the_same_millisecond_again_is_of_the_run() -> None:
    """A file is replayed again at once, by a server whose clock is behind that of the last entry."""
    start = Mark(10, 7, is_command=True)
    events = [event("userCommand", 10, 7), event("accountTransaction", 10, 7), event("userCommand", 10, 7)]
    assert of_run(start, *events) == [False, False, True]


def test_entries_of_that_millisecond_before_the_last_one_are_not_of_the_run() -> None:
    start = Mark(10, 7, is_command=True)
    events = [event("userCommand", 10, 6), event("userCommand", 10, 7), event("userCommand", 10, 8)]
    assert of_run(start, *events) == [False, False, True]


def test_an_entry_of_the_system_has_events_of_several_transactions() -> None:
    start = Mark(10, 7, is_command=False)
    events = [event("systemEvent", 10, 7), event("accountTransaction", 10, 7), event("systemEvent", 10, 8)]
    assert of_run(start, *events, event("userCommand", 10, 7)) == [False, False, False, True]


def test_a_late_quote_may_be_the_last_entry() -> None:
    start = Mark(10, 99, is_command=False)
    assert of_run(start, event("quoteServer", 10, 99), event("userCommand", 10, 7)) == [False, True]


@pytest.mark.parametrize(("at", "is_later"), [(9, False), (10, False), (11, True)])
def test_what_comes_after_the_account_was_read_is_left_out(at: int, *, is_later: bool) -> None:
    log = UserLog(None, Mark(10, 7, is_command=True))
    assert log.is_later(event("userCommand", at, 8)) is is_later


def test_whether_both_entries_were_found_is_known() -> None:
    log = UserLog(Mark(10, 7, is_command=True), Mark(20, 8, is_command=False))
    assert (log.has_start, log.has_end) == (False, False)
    log.is_of_run(event("userCommand", 10, 7))
    assert (log.has_start, log.has_end) == (True, False)
    log.is_of_run(event("systemEvent", 20, 8))
    assert (log.has_start, log.has_end) == (True, True)
