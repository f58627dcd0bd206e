"""Quotes shared by all functions through Redis: one key a symbol, gone 60 s after the quote was made (SPEC.md 4)."""

import json
import logging

from redis import Redis
from redis.exceptions import RedisError

from chalicelib.clock import Clock
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.sources import QuoteSource

log = logging.getLogger(__name__)


class CachedQuotes:
    """Quotes from the cache, else from the source. With Redis away, straight from the source, and the log says so."""

    def __init__(self, redis: Redis, source: QuoteSource, clock: Clock) -> None:
        self._redis = redis
        self._source = source
        self._clock = clock

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote of a symbol, asked for by `user`; raises QuoteUnavailableError."""
        if (quote := self._read(symbol)) is not None:
            return QuoteAnswer(quote, cached=True)
        quote = self._source.fetch(symbol, user)
        self._write(quote)
        return QuoteAnswer(quote, cached=False)

    def _read(self, symbol: str) -> Quote | None:
        try:
            stored = self._redis.get(_key(symbol))
        except RedisError as error:
            log.warning("no quote from the cache: %s", error)
            return None
        if stored is None:
            return None
        quote = quote_from_json(stored)
        return quote if quote.remaining_ms(self._clock()) > 0 else None

    def _write(self, quote: Quote) -> None:
        remaining_ms = quote.remaining_ms(self._clock())
        if remaining_ms <= 0:
            return
        try:
            self._redis.set(_key(quote.symbol), quote_to_json(quote), px=remaining_ms)
        except RedisError as error:
            log.warning("the quote could not be cached: %s", error)


def quote_to_json(quote: Quote) -> bytes:
    """Return a quote as it stands in Redis."""
    return json.dumps(
        [quote.symbol, quote.price_cents, quote.user, quote.timestamp_ms, quote.cryptokey], separators=(",", ":")
    ).encode()


def quote_from_json(stored: str | bytes) -> Quote:
    """Return the quote that `quote_to_json` stored."""
    symbol, price_cents, user, timestamp_ms, cryptokey = json.loads(stored)
    return Quote(symbol, price_cents, user, timestamp_ms, cryptokey)


def _key(symbol: str) -> str:
    return f"quote:{symbol}"
