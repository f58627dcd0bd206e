"""Quotes from the cache, else from the source, which is asked once however many requests miss (SPEC.md section 4)."""

import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from chalicelib import waiting
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.cache import Claim
from chalicelib.quotes.circuit_breaker import Monotonic, SeldomLog
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.retry_policy import Patience
from chalicelib.quotes.single_flight import Flights
from chalicelib.quotes.sources import QuoteSource

log = logging.getLogger(__name__)


class Cache(Protocol):
    """Where quotes are shared; see `chalicelib.quotes.cache.QuoteCache`."""

    def read(self, symbol: str) -> Quote | None:
        """Return the quote of a symbol while it may be used."""

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, Quote | None]:
        """Take or renew the lock of a symbol, unless another has it; return also a quote that is there."""

    def release(self, symbol: str, token: str, quote: Quote | None) -> None:
        """Store a quote, if there is one, and give the lock back."""


class SharedQuotes:
    """The quotes of this process; safe to share between threads.

    Threads of a process share a flight, flights of several processes meet at the lock of the symbol. All waiting ends
    within `patience.limit_ms` and a little: a time-out of Redis, when that hangs.
    """

    def __init__(
        self,
        cache: Cache,
        source: QuoteSource,
        patience: Patience,
        monotonic: Monotonic = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cache = cache
        self._source = source
        self._patience = patience
        self._monotonic = monotonic
        self._sleep = sleep
        self._flights = Flights()
        self._log = SeldomLog(log)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote of a symbol, asked for by `user` when nobody has; raises QuoteUnavailableError.

        Of all who get the same quote exactly one gets it as not cached: the one that asked the source.
        """
        return waiting.aside(partial(self._get, symbol, user))

    def _get(self, symbol: str, user: str) -> QuoteAnswer:
        if (quote := self._cache.read(symbol)) is not None:
            return QuoteAnswer(quote, cached=True)
        return self._flights.join(symbol, partial(self._fetch, symbol, user), self._patience.limit_ms / 1000)

    def _fetch(self, symbol: str, user: str) -> QuoteAnswer:
        """Ask the source, or wait for the process that does; take over when that one gives up or dies."""
        token = secrets.token_hex(8)
        end = self._monotonic() + self._patience.limit_ms / 1000
        quote, mine, failed, last = None, False, 0, "another process was asking"
        try:
            while (left := end - self._monotonic()) > 0:
                claim, found = self._cache.claim(symbol, token, self._patience.lock_ms)
                mine = claim is not Claim.THEIRS
                if found is not None:
                    return QuoteAnswer(found, cached=True)
                if mine:
                    try:
                        quote = self._source.ask(symbol, user, min(left, self._patience.try_ms / 1000))
                        return QuoteAnswer(quote, cached=False)
                    except FailedTryError as error:
                        failed, last = failed + 1, str(error)
                pause = self._patience.pause_seconds(failed) if mine else self._patience.poll_seconds()
                self._sleep(max(0.0, min(pause, end - self._monotonic())))
        finally:
            if mine:
                self._cache.release(symbol, token, quote)
        self._log.warning("no quote of %s after %d failed tries, the last one: %s", symbol, failed, last)
        raise QuoteUnavailableError(f"no quote of {symbol} could be had; send the command again")
