"""Quotes shared by all processes through Redis, and the lock by which one asks the source (docs/rules.md section 4).

Each symbol has two keys in the deployment's namespace: `day_trading:quote:ABC` is the quote and expires 60 s after the
source was asked; `day_trading:quote:ABC:lock` is the lock owner's token and expires if the owner dies. No Redis failure
raises here: a cache that is down, slow or full has no quotes and grants no locks. A foreign value (another type, no
expiry or a longer one than ours) counts as missing and is replaced.

A quote's age is the larger of what its time and its expiry say, so neither a server with a wrong clock nor a time in
the future makes it last longer. Nor does a delayed write: a quote is stored only while its lock lasts.
"""

import json
import logging
from enum import Enum
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chalicelib.circuit_breaker import CircuitBreaker, SeldomLog
from chalicelib.clock import Moments
from chalicelib.config import logins
from chalicelib.domain.moment import Moment
from chalicelib.domain.money import MAX_CENTS
from chalicelib.domain.quote import QUOTE_LIFETIME_MS, Quote, QuoteAnswer
from chalicelib.quotes.history import Point, PriceHistory

log = logging.getLogger(__name__)

MAX_STORED_BYTES = 1024
"""A longer value is not one of our quotes and is not parsed."""

_NO_TIME_MS = 10**15
"""In the year 33658; our own times in the cache are below it."""

_NO_SERVER_TIME = 10**18
"""The quote server's times must fit a 64-bit integer."""

_NO_EXPIRY = -1
"""Redis's answer for a key without expiry."""

_LONGEST_LOCK_MS = 60_000
"""More than the longest lifetime that the settings allow."""

# A lock of another type, without expiry or with one that is too long is not ours: it counts as free.
_CLAIM = f"""
local owner = redis.pcall('GET', KEYS[1])
if type(owner) == 'string' and owner ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left <= {_LONGEST_LOCK_MS} then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Only the lock's owner stores a quote: if the lock has expired when Redis gets it, the write was delayed for too long.
_RELEASE = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local stored = true
if tonumber(ARGV[3]) > 0 then
  stored = redis.pcall('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
redis.call('DEL', KEYS[1])
return stored
"""


class Claim(Enum):
    """Who may ask the source for a symbol."""

    OURS = "ours"
    THEIRS = "theirs"
    NOBODY_KNOWS = "nobody knows"
    """Redis does not answer; a price is needed all the same."""


class QuoteCache:
    """The quotes and locks in Redis, under keys that begin with `namespace`."""

    def __init__(self, redis: Redis, namespace: str, moments: Moments, breaker: CircuitBreaker) -> None:
        self._redis = redis
        self._history = PriceHistory(redis, namespace)
        self._namespace = namespace
        self._moments = moments
        self._breaker = breaker
        self._outage_log = SeldomLog(log)
        self._value_log = SeldomLog(log)

    def read(self, symbol: str) -> QuoteAnswer | None:
        """Return a symbol's quote if it may still be used."""
        if (began := self._breaker.begin()) is None:
            return None
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                self._look(pipeline, symbol)
                left, stored = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._note(error, began)
            return None
        return self._usable(symbol, left, stored, began)

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, QuoteAnswer | None]:
        """Take or renew a symbol's lock, unless another owner has it, and return the quote if there is one.

        One round trip, in this order, so a quote that was stored just before the lock came free is not missed.
        """
        if (began := self._breaker.begin()) is None:
            return Claim.NOBODY_KNOWS, None
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.eval(_CLAIM, 1, self._lock_key(symbol), token, lifetime_ms)
                self._look(pipeline, symbol)
                claimed, left, stored = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._note(error, began)
            return Claim.NOBODY_KNOWS, None
        answer = self._usable(symbol, left, stored, began)
        match self._result(claimed, began):
            case None:
                return Claim.NOBODY_KNOWS, answer
            case 0:
                return Claim.THEIRS, answer
            case _:
                return Claim.OURS, answer

    def release(self, symbol: str, token: str, answer: QuoteAnswer | None) -> None:
        """Store a quote, if there is a usable one, and release the lock: both only if the lock is still ours."""
        if (began := self._breaker.begin()) is None:
            return
        remaining_ms = 0 if answer is None else answer.remaining_ms(self._moments())
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                if answer is not None and remaining_ms > 0:
                    self._history.add(pipeline, symbol, Point(answer.asked.wall_ms, answer.quote.price_cents))
                stored = b"" if answer is None else stored_form(answer)
                keys = (self._lock_key(symbol), self._key(symbol))
                pipeline.eval(_RELEASE, len(keys), *keys, token, stored, remaining_ms)
                results = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            self._note(error, began)
            return
        for result in results:
            self._result(result, began)

    def _look(self, pipeline: Pipeline, symbol: str) -> None:
        """Queue reads of a quote's remaining time, then of its value: one replaced in between counts as older."""
        pipeline.pttl(self._key(symbol))
        pipeline.get(self._key(symbol))

    def _usable(self, symbol: str, left: Any, stored: Any, began: float) -> QuoteAnswer | None:
        left_ms = self._result(left, began)
        if isinstance(stored, ResponseError) and "WRONGTYPE" in str(stored):
            stored = b""
        elif (stored := self._result(stored, began)) is None or left_ms is None:
            return None
        now = self._moments()
        answer = read_stored_form(stored, symbol, left_ms, now)
        if answer is None:
            self._value_log.warning("the cache has a foreign value in the place of the quote of %s", symbol)
            return None
        return answer if answer.remaining_ms(now) > 0 else None

    def _result(self, result: Any, began: float) -> Any:
        """Return the result of one of several commands, or None if it failed."""
        if isinstance(result, Exception):
            self._note(result, began)
            return None
        self._note_success()
        return result

    def _note(self, error: Exception, began: float) -> None:
        # Only silence opens the breaker: an error such as "out of memory" comes at once and costs nothing.
        if isinstance(error, AuthenticationError):
            logins.refused.set()
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            self._breaker.failed(began)
        self._outage_log.warning("the quote cache is failing; prices come straight from the source: %s", error)

    def _note_success(self) -> None:
        if self._breaker.succeeded():
            log.warning("the quote cache is in use again")

    def _key(self, symbol: str) -> str:
        return f"{self._namespace}:quote:{symbol}"

    def _lock_key(self, symbol: str) -> str:
        return f"{self._namespace}:quote:{symbol}:lock"


def stored_form(answer: QuoteAnswer) -> bytes:
    """Return a quote as it is stored in Redis."""
    quote = answer.quote
    parts = [quote.symbol, quote.price_cents, quote.user, quote.timestamp_ms, quote.cryptokey, answer.asked.wall_ms]
    return json.dumps(parts, separators=(",", ":")).encode()


def read_stored_form(stored: bytes, symbol: str, left_ms: int, now: Moment) -> QuoteAnswer | None:
    """Return the quote that `stored_form` made and that expires in `left_ms`, or None for anything else."""
    if len(stored) > MAX_STORED_BYTES or not left_ms <= QUOTE_LIFETIME_MS or left_ms == _NO_EXPIRY:
        return None
    try:
        parts = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    match parts:
        case [str(its_symbol), int(price), str(user), int(its_time), str(cryptokey), int(asked_ms)]:
            good = (
                its_symbol == symbol
                and not any(isinstance(number, bool) for number in (price, its_time, asked_ms))
                and 0 < price <= MAX_CENTS
                and -_NO_SERVER_TIME < its_time < _NO_SERVER_TIME
                and 0 <= asked_ms < _NO_TIME_MS
                and all(text.isascii() and text.isprintable() for text in (user, cryptokey))
            )
            if not good:
                return None
            age_ms = max(0, now.wall_ms - asked_ms, QUOTE_LIFETIME_MS - left_ms)
            return QuoteAnswer(
                Quote(its_symbol, price, user, its_time, cryptokey), cached=True, asked=now.earlier(age_ms)
            )
        case _:
            return None
