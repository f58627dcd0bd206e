"""A quote, as a value (SPEC.md section 4)."""

from dataclasses import dataclass, field

QUOTE_LIFETIME_MS = 60_000
"""A quote may be used for 60 s from when its server made it."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a symbol, the user it was asked for, when its server made it, and the server's crypto key.

    `timestamp_ms` is the server's own time, as it is audited. `ahead_ms` is by how much that lay in the future when
    the quote arrived: it takes no part in the 60 s, which then count from the arrival.
    """

    symbol: str
    price_cents: int
    user: str
    timestamp_ms: int
    cryptokey: str
    ahead_ms: int = field(default=0, compare=False)

    def remaining_ms(self, now_ms: int) -> int:
        """Return for how long the quote may still be used; 0 or less when it is too old."""
        return self.timestamp_ms - self.ahead_ms + QUOTE_LIFETIME_MS - now_ms


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """A quote and whether it came from the cache; if not, this answer is a hit on the source, to be audited."""

    quote: Quote
    cached: bool
