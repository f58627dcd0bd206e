"""Quotes kept in the process: never longer than they hold, never more than the limit."""

from dataclasses import dataclass, field

import pytest

from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.moment import Moment
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.process_cache import ProcessQuoteCache

NOW = 1_700_000_000_000


@dataclass
class Shared:
    """Quotes that others share, with clocks that the test sets: `now_ms` may go back, `steady_ms` may not.

    The source was asked for each `age_ms` before it came here.
    """

    now_ms: int = NOW
    steady_ms: int = 0
    age_ms: int = 0
    asked: list[str] = field(default_factory=list)
    away: bool = False

    def moment(self) -> Moment:
        return Moment(self.now_ms, self.steady_ms)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        self.asked.append(symbol)
        if self.away:
            raise QuoteUnavailableError("away")
        quote = Quote(symbol, len(self.asked), user, 17, "key")
        return QuoteAnswer(quote, cached=False, asked=self.moment().earlier(self.age_ms))

    def is_current(self, answer: QuoteAnswer) -> bool:
        return answer.remaining_ms(self.moment()) > 0


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_a_kept_quote_is_the_same_one_and_counts_as_cached(shared: Shared) -> None:
    quotes = ProcessQuoteCache(shared, shared.moment, 10)
    first, second = quotes.get("ABC", "jane"), quotes.get("ABC", "john")
    assert (first.cached, second.cached) == (False, True)
    assert first.quote is second.quote
    assert shared.asked == ["ABC"]


@pytest.mark.parametrize(
    ("wall_seconds", "steady_seconds", "is_kept"),
    [
        (39.999, 39.999, True),
        (40, 40, False),
        (41, 0, False),  # by the wall clock: the machine was suspended
        (-600, 39.999, True),
        (-600, 40, False),  # the wall clock was set back
        (3_600, 1, False),  # or ahead: too early is no harm
    ],
)
def test_a_quote_is_kept_for_what_is_left_of_its_60_s_by_the_clock_that_says_older(
    shared: Shared, wall_seconds: float, steady_seconds: float, *, is_kept: bool
) -> None:
    quotes = ProcessQuoteCache(shared, shared.moment, 10)
    shared.age_ms = 20_000
    first = quotes.get("ABC", "jane")
    shared.now_ms += round(wall_seconds * 1000)
    shared.steady_ms += round(steady_seconds * 1000)
    assert quotes.is_current(first) is is_kept
    assert (quotes.get("ABC", "jane").quote.price_cents == 1) is is_kept


def test_at_most_the_limit_is_kept_and_the_oldest_goes(shared: Shared) -> None:
    quotes = ProcessQuoteCache(shared, shared.moment, 2)
    for symbol in ("A", "B", "C", "B", "C", "A"):
        quotes.get(symbol, "jane")
    assert shared.asked == ["A", "B", "C", "A"]


def test_a_failure_is_not_kept(shared: Shared) -> None:
    quotes = ProcessQuoteCache(shared, shared.moment, 10)
    shared.away = True
    with pytest.raises(QuoteUnavailableError):
        quotes.get("ABC", "jane")
    shared.away = False
    assert quotes.get("ABC", "jane").quote.price_cents == 2
