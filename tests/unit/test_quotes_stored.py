"""A quote as it stands in the cache, and what else stands there."""

import json

import pytest

from chalicelib.domain.moment import Moment
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.cache import MAX_STORED_BYTES, read_stored_form, stored_form

NOW = 1_700_000_000_000
GOOD = ["ABC", 1000, "jane", 17, "key", NOW]


def read(parts: object, left_ms: int = 60_000, now_ms: int = NOW) -> QuoteAnswer | None:
    return read_stored_form(json.dumps(parts).encode(), "ABC", left_ms, Moment(now_ms, 5_000_000))


def changed(place: int, value: object) -> list[object]:
    return [value if number == place else part for number, part in enumerate(GOOD)]


def test_what_is_stored_is_read_back_and_is_cached() -> None:
    quote = Quote("ABC", 1000, "jane", 17, "key")
    stored = stored_form(QuoteAnswer(quote, cached=False, asked=Moment(NOW, 0)))
    assert json.loads(stored) == GOOD
    answer = read_stored_form(stored, "ABC", 60_000, Moment(NOW, 5_000_000))
    assert answer is not None
    assert (answer.quote, answer.cached, answer.asked) == (quote, True, Moment(NOW, 5_000_000))


@pytest.mark.parametrize(
    "parts",
    [
        changed(1, 1),
        changed(1, 100_000_000_000),
        changed(3, 10**18 - 1),
        changed(3, 1 - 10**18),
        changed(5, 0),
        changed(5, 10**15 - 1),
    ],
)
def test_numbers_up_to_their_limits_are_taken(parts: list[object]) -> None:
    assert read(parts) is not None


@pytest.mark.parametrize(
    "parts",
    [
        changed(0, "XYZ"),
        changed(1, 0),
        changed(1, 100_000_000_001),
        changed(1, True),
        changed(2, "jané"),
        changed(3, 10**18),
        changed(3, -(10**18)),
        changed(3, False),
        changed(4, "a\nb"),
        changed(5, -1),
        changed(5, 10**15),
        changed(5, True),
        changed(1, "1000"),
        GOOD[:-1],
        [*GOOD, 1],
        {"symbol": "ABC"},
    ],
)
def test_anything_else_is_no_quote(parts: object) -> None:
    assert read(parts) is None


@pytest.mark.parametrize("stored", [b"", b"{", b"[" * 1_000, b" " * (MAX_STORED_BYTES + 1)])
def test_what_is_no_json_or_too_long_is_no_quote(stored: bytes) -> None:
    assert read_stored_form(stored, "ABC", 60_000, Moment(NOW, 0)) is None


def test_the_longest_that_is_read_has_1024_bytes() -> None:
    stored = json.dumps(GOOD).encode().ljust(1_024)
    assert read_stored_form(stored, "ABC", 60_000, Moment(NOW, 0)) is not None
    assert read_stored_form(stored + b" ", "ABC", 60_000, Moment(NOW, 0)) is None


@pytest.mark.parametrize(("left_ms", "is_good"), [(60_000, True), (60_001, False), (0, True), (-1, False), (-2, True)])
def test_one_that_redis_would_keep_for_longer_than_a_quote_lives_or_for_ever_is_none(
    left_ms: int, is_good: bool
) -> None:
    """-1 is a key without an end; -2 one that has just gone, whose quote is as old as can be."""
    assert (read(GOOD, left_ms) is not None) is is_good


@pytest.mark.parametrize(
    ("left_ms", "now_ms", "age_ms"),
    [(60_000, NOW, 0), (60_000, NOW + 7_000, 7_000), (45_000, NOW, 15_000), (45_000, NOW + 7_000, 15_000)]
    + [(60_000, NOW - 7_000, 0)],
)
def test_it_is_as_old_as_the_clock_or_redis_says_whichever_is_more(left_ms: int, now_ms: int, age_ms: int) -> None:
    answer = read(GOOD, left_ms, now_ms)
    assert answer is not None
    assert answer.asked == Moment(now_ms, 5_000_000).earlier(age_ms)
