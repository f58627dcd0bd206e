"""A quote, as a value (SPEC.md section 4)."""

from dataclasses import dataclass

QUOTE_LIFETIME_MS = 60_000
"""A quote may be used for 60 s from when its server made it."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a symbol, the user it was asked for, when its server made it, and the server's crypto key."""

    symbol: str
    price_cents: int
    user: str
    timestamp_ms: int
    cryptokey: str

    def remaining_ms(self, now_ms: int) -> int:
        """Return for how long the quote may still be used; 0 or less when it is too old."""
        return self.timestamp_ms + QUOTE_LIFETIME_MS - now_ms


@dataclass(frozen=True, slots=True)
class QuoteAnswer:
    """A quote and whether it came from the cache; if not, this answer is a hit on the source, to be audited."""

    quote: Quote
    cached: bool
