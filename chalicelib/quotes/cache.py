"""Quotes shared by all functions through Redis, and the lock that lets one of them ask the source (SPEC.md section 4).

Two keys a symbol: `quote:ABC`, the quote, gone 60 s after it was made; `quote:ABC:lock`, the token of the one who asks,
gone by itself when that one is. Nothing here raises for what Redis does: a cache that is down, slow or full holds no
quotes and grants no locks.
"""

import json
import logging
from enum import Enum
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chalicelib.clock import Clock
from chalicelib.domain.money import MAX_CENTS
from chalicelib.domain.quote import Quote
from chalicelib.quotes.circuit_breaker import Breaker, SeldomLog

log = logging.getLogger(__name__)

MAX_STORED_BYTES = 1024
"""More is not one of our quotes, and is not parsed."""

_NO_TIME_MS = 10**15
"""In the year 33658; what stands in the cache for a time must fit where times are stored."""

# A lock without an expiry is none of ours and would never end: it counts as free.
_CLAIM = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] and redis.call('PTTL', KEYS[1]) >= 0 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


class Claim(Enum):
    """Who may ask the source for a symbol."""

    OURS = "ours"
    THEIRS = "theirs"
    NOBODY_KNOWS = "nobody knows"
    """Redis does not say; a price must be had all the same."""


class QuoteCache:
    """The quotes and locks in Redis."""

    def __init__(self, redis: Redis, clock: Clock, breaker: Breaker) -> None:
        self._redis = redis
        self._clock = clock
        self._breaker = breaker
        self._outage_log = SeldomLog(log)
        self._value_log = SeldomLog(log)

    def read(self, symbol: str) -> Quote | None:
        """Return the quote of a symbol while it may be used."""
        if (began := self._breaker.begin()) is None:
            return None
        try:
            stored = self._redis.get(_key(symbol))
        except RedisError as error:
            self._note(error, began)
            return None
        self._note_success()
        return self._usable(symbol, stored)

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, Quote | None]:
        """Take or renew the lock of a symbol for so long, unless another has it; return also a quote that is there.

        Both in this order in one round trip: a quote that was stored before the lock came free is not missed.
        """
        if (began := self._breaker.begin()) is None:
            return Claim.NOBODY_KNOWS, None
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.eval(_CLAIM, 1, _lock_key(symbol), token, lifetime_ms)
                pipeline.get(_key(symbol))
                claimed, stored = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._note(error, began)
            return Claim.NOBODY_KNOWS, None
        quote = self._usable(symbol, self._result(stored, began))
        match self._result(claimed, began):
            case None:
                return Claim.NOBODY_KNOWS, quote
            case 0:
                return Claim.THEIRS, quote
            case _:
                return Claim.OURS, quote

    def release(self, symbol: str, token: str, quote: Quote | None) -> None:
        """Store a quote, if there is one and it may still be used, and give the lock back if it is still ours."""
        if (began := self._breaker.begin()) is None:
            return
        remaining_ms = 0 if quote is None else quote.remaining_ms(self._clock())
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                if quote is not None and remaining_ms > 0:
                    pipeline.set(_key(symbol), quote_to_json(quote), px=remaining_ms)
                pipeline.eval(_RELEASE, 1, _lock_key(symbol), token)
                results = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._note(error, began)
            return
        for result in results:
            self._result(result, began)

    def _usable(self, symbol: str, stored: Any) -> Quote | None:
        if stored is None:
            return None
        quote = quote_from_json(stored, symbol)
        if quote is None:
            self._value_log.warning("what stands in the cache as the quote of %s is none", symbol)
            return None
        return quote if quote.remaining_ms(self._clock()) > 0 else None

    def _result(self, result: Any, began: float) -> Any:
        """Return the result of one of several commands, None when it failed."""
        if isinstance(result, Exception):
            self._note(result, began)
            return None
        self._note_success()
        return result

    def _note(self, error: Exception, began: float) -> None:
        # An answer, even "out of memory", comes at once and costs nothing; only silence is worth keeping away from.
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            self._breaker.failed(began)
        self._outage_log.warning("the quote cache fails, prices come straight from the source: %s", error)

    def _note_success(self) -> None:
        if self._breaker.succeeded():
            log.warning("the quote cache is in use again")


def quote_to_json(quote: Quote) -> bytes:
    """Return a quote as it stands in Redis."""
    parts = [quote.symbol, quote.price_cents, quote.user, quote.timestamp_ms, quote.cryptokey, quote.ahead_ms]
    return json.dumps(parts, separators=(",", ":")).encode()


def quote_from_json(stored: bytes, symbol: str) -> Quote | None:
    """Return the quote of a symbol that `quote_to_json` stored, None for anything else."""
    if len(stored) > MAX_STORED_BYTES:
        return None
    try:
        parts = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    match parts:
        case [str(its_symbol), int(price), str(user), int(timestamp), str(cryptokey), int(ahead)]:
            good = (
                its_symbol == symbol
                and not any(isinstance(number, bool) for number in (price, timestamp, ahead))
                and 0 < price <= MAX_CENTS
                and 0 <= ahead <= timestamp < _NO_TIME_MS
                and all(text.isascii() and text.isprintable() for text in (user, cryptokey))
            )
            return Quote(its_symbol, price, user, timestamp, cryptokey, ahead) if good else None
        case _:
            return None


def _key(symbol: str) -> str:
    return f"quote:{symbol}"


def _lock_key(symbol: str) -> str:
    return f"quote:{symbol}:lock"
