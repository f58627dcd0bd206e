"""Quotes cached in the process until they expire: no round trip for a price that cannot have changed."""

from collections import OrderedDict
from dataclasses import replace
from typing import Protocol

from chalicelib import concurrency
from chalicelib.clock import Moments
from chalicelib.domain.quote import QuoteAnswer


class UpstreamQuotes(Protocol):
    """Where quotes come from; see `chalicelib.quotes.shared.SharedQuotes`."""

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote, or raise QuoteUnavailableError."""

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""


class ProcessQuoteCache:
    """Caches the quotes of at most `limit` symbols, evicting the oldest; thread-safe.

    A quote is the same wherever it is read, and carries its own expiry. If Redis loses a quote, other processes get a
    new one from the source while this process keeps the old one for the rest of its 60 s (docs/rules.md section 4).
    """

    def __init__(self, quotes: UpstreamQuotes, moments: Moments, limit: int) -> None:
        self._quotes = quotes
        self._moments = moments
        self._limit = limit
        self._lock = concurrency.Lock()
        self._kept: OrderedDict[str, QuoteAnswer] = OrderedDict()

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return a symbol's current quote, asked for by `user` if it is not cached; raises QuoteUnavailableError."""
        kept = self._kept.get(symbol)
        if kept is not None and kept.remaining_ms(self._moments()) > 0:
            return kept
        answer = self._quotes.get(symbol, user)
        with self._lock:
            self._kept[symbol] = replace(answer, cached=True)
            self._kept.move_to_end(symbol)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return answer

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""
        return self._quotes.is_current(answer)
