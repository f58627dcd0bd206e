"""A quote, as a value (docs/rules.md section 4)."""

from dataclasses import dataclass, field

from chalicelib.domain.moment import Moment

QUOTE_LIFETIME_MS = 60_000
"""A quote may be used for 60 s from when the source was asked."""

LONG_AGO = Moment(0, 0)


@dataclass(frozen=True, slots=True)
class Quote:
    """The quote server's answer: a symbol's price, the user it was asked for, its time and its crypto key.

    `timestamp_ms` is the server's own time, passed on unchanged to the audit log and the answer. Nothing depends on it.
    """

    symbol: str
    price_cents: int
    user: str
    timestamp_ms: int
    cryptokey: str


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """A quote, whether it came from the cache, and when the source was asked for it.

    An answer that did not come from the cache is a hit on the source and must be audited.
    """

    quote: Quote
    cached: bool
    asked: Moment = field(default=LONG_AGO, compare=False)

    def remaining_ms(self, now: Moment) -> int:
        """Return how long the quote may still be used; 0 or less if it is too old."""
        return QUOTE_LIFETIME_MS - self.asked.age_ms(now)
