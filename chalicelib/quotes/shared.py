"""Quotes from the cache, else from the source: asked once, however many requests miss (docs/rules.md section 4)."""

import logging
import secrets
from functools import partial
from typing import Protocol

from chalicelib.circuit_breaker import Monotonic, SeldomLog
from chalicelib.clock import Moments, moment, monotonic_seconds
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.quotes.cache import Claim
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.single_flight import SingleFlight

log = logging.getLogger(__name__)


class Cache(Protocol):
    """Where quotes are shared; see `chalicelib.quotes.cache.QuoteCache`."""

    def read(self, symbol: str) -> QuoteAnswer | None:
        """Return a symbol's quote if it may still be used."""

    def claim(self, symbol: str, token: str, lifetime_ms: int) -> tuple[Claim, QuoteAnswer | None]:
        """Take or renew a symbol's lock, unless another owner has it, and return the quote if there is one."""

    def release(self, symbol: str, token: str, answer: QuoteAnswer | None) -> None:
        """Store a quote, if there is one, and release the lock."""


class OpenInquiry(Protocol):
    """The questions of one fetch; see `chalicelib.quotes.questions.Inquiry`."""

    def ask(self, seconds: float) -> int:
        """Ask once more, with a time-out in seconds; return the question's number."""

    def wait(self, seconds: float, question: int | None = None) -> QuoteAnswer | None:
        """Return the first answer to any question, or raise FailedTryError when `question` fails."""

    def end(self) -> None:
        """Stop using answers."""


class Inquirer(Protocol):
    """How the source is asked; see `chalicelib.quotes.questions.Questions`."""

    def about(self, symbol: str, user: str) -> OpenInquiry:
        """Begin an inquiry about a symbol."""

    def finish(self, seconds: float) -> bool:
        """Wait until all open questions have ended."""


class SharedQuotes:
    """The quotes of this process; thread-safe.

    Threads of one process share a single flight for each symbol; processes share the symbol's lock in Redis. No call
    waits longer than `retries.limit_ms`, plus one Redis time-out if Redis hangs.
    """

    def __init__(
        self,
        cache: Cache,
        questions: Inquirer,
        retries: QuoteRetryPolicy,
        moments: Moments = moment,
        monotonic: Monotonic = monotonic_seconds,
        single_flight: SingleFlight | None = None,
    ) -> None:
        self._cache = cache
        self._questions = questions
        self._retries = retries
        self._moments = moments
        self._monotonic = monotonic
        self._single_flight = single_flight or SingleFlight()
        self._log = SeldomLog(log)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return a symbol's current quote, asked for by `user` if it is not cached; raises QuoteUnavailableError.

        Of all callers that get the same quote, only the one that asked the source gets it as not cached.
        """
        if (answer := self._cache.read(symbol)) is not None:
            return answer
        return self._single_flight.join(symbol, partial(self._fetch, symbol, user), self._retries.limit_ms / 1000)

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""
        return answer.remaining_ms(self._moments()) > 0

    def finish(self) -> bool:
        """Wait for open questions; return whether all ended within the limit of one quote."""
        return self._questions.finish(self._retries.limit_ms / 1000)

    def _fetch(self, symbol: str, user: str) -> QuoteAnswer:
        """Ask the source, or wait for the process that does; take over if that one gives up or dies.

        If a question is not answered in time, another is asked and both stay open: the first answer counts.
        """
        token = secrets.token_hex(8)
        end = self._monotonic() + self._retries.limit_ms / 1000
        answer, mine, failed, last = None, False, 0, "another process was asking"
        inquiry = self._questions.about(symbol, user)
        try:
            while (left := end - self._monotonic()) > 0:
                claim, found = self._cache.claim(symbol, token, self._retries.lock_ms)
                mine = claim is not Claim.THEIRS
                if found is not None:
                    return found
                if mine:
                    try:
                        answer = inquiry.wait(min(left, self._retries.try_ms / 1000), inquiry.ask(left))
                        last = f"no answer within {self._retries.try_ms} ms"
                    except FailedTryError as error:
                        last = str(error)
                    failed += 1
                if answer is None:
                    pause = self._retries.pause_seconds(failed) if mine else self._retries.poll_seconds()
                    answer = inquiry.wait(max(0.0, min(pause, end - self._monotonic())))
                if answer is not None:
                    return answer
        finally:
            inquiry.end()
            if mine:
                self._cache.release(symbol, token, answer)
        self._log.warning("no quote for %s after %d failed tries, the last one: %s", symbol, failed, last)
        raise QuoteUnavailableError(f"no quote for {symbol} is available")
