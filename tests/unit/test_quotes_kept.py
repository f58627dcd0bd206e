"""Quotes kept in the process: never longer than they hold, never more than the limit."""

from dataclasses import dataclass, field

import pytest

from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.process_cache import KeptQuotes

NOW = 1_700_000_000_000


@dataclass
class Shared:
    """Quotes that others share, with a clock that the test sets."""

    now_ms: int = NOW
    made_ms: int = NOW
    asked: list[str] = field(default_factory=list)
    away: bool = False

    def clock(self) -> int:
        return self.now_ms

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        self.asked.append(symbol)
        if self.away:
            raise QuoteUnavailableError("away")
        return QuoteAnswer(Quote(symbol, len(self.asked), user, self.made_ms, "key"), cached=False)


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_a_kept_quote_is_the_same_one_and_counts_as_cached(shared: Shared) -> None:
    quotes = KeptQuotes(shared, shared.clock, 10)
    first, second = quotes.get("ABC", "jane"), quotes.get("ABC", "john")
    assert (first.cached, second.cached) == (False, True)
    assert first.quote is second.quote
    assert shared.asked == ["ABC"]


@pytest.mark.parametrize(("age_seconds", "is_kept"), [(59, True), (59.999, True), (60, False), (61, False)])
def test_a_quote_is_kept_until_60_s_after_it_was_made(shared: Shared, age_seconds: float, *, is_kept: bool) -> None:
    quotes = KeptQuotes(shared, shared.clock, 10)
    shared.now_ms += 20_000  # it was made 20 s before it came here
    quotes.get("ABC", "jane")
    shared.now_ms = NOW + round(age_seconds * 1000)
    assert (quotes.get("ABC", "jane").quote.price_cents == 1) is is_kept


def test_at_most_the_limit_is_kept_and_the_oldest_goes(shared: Shared) -> None:
    quotes = KeptQuotes(shared, shared.clock, 2)
    for symbol in ("A", "B", "C", "B", "C", "A"):
        quotes.get(symbol, "jane")
    assert shared.asked == ["A", "B", "C", "A"]


def test_a_failure_is_not_kept(shared: Shared) -> None:
    quotes = KeptQuotes(shared, shared.clock, 10)
    shared.away = True
    with pytest.raises(QuoteUnavailableError):
        quotes.get("ABC", "jane")
    shared.away = False
    assert quotes.get("ABC", "jane").quote.price_cents == 2
