"""Whose time counts: a server uses its own clock while that agrees with the database's (docs/rules.md section 1).

A check asks the database for its time; half of the round trip is the error. Between checks the monotonic clock tells
whether the system's clock was set. So

- an old or failed check delays nobody: the last one is used for as long as both clocks of this machine agree;
- a clock that was set, or a machine that slept, is noticed at the next command, which checks again before it decides;
- without a check, or if the last one found the clock off, nothing is decided.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from chalicelib import concurrency
from chalicelib.clock import Clock, monotonic_seconds
from chalicelib.domain.errors import ClockSkewError
from chalicelib.store.errors import StoreError, UnknownOutcomeError

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""An older check is followed by another at the next command."""

PAUSE_SECONDS = 1.0
"""The pause after a check that failed or found the clock off."""

MOST_ERROR_MS = 1_000.0
"""A check with a larger error says too little: the answer was late, or this process was suspended."""

WAIT_SECONDS = 5.0
"""How long a caller that needs a check waits for another caller's."""


class _Look(NamedTuple):
    """The result of a check: by how much our clock is ahead of the database's, and when, by both clocks."""

    ahead_ms: float
    error_ms: float
    at_ms: int
    at_seconds: float


class TrustedClock:
    """A Clock that raises ClockSkewError while it is off by more than the tolerance; thread-safe.

    `database_ms` asks the database's primary for its time, and raises StoreError if there is no answer.
    """

    def __init__(
        self,
        database_ms: Clock,
        tolerance_ms: int,
        clock: Clock,
        monotonic: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._database_ms = database_ms
        self._tolerance_ms = tolerance_ms
        self._clock = clock
        self._monotonic = monotonic
        self._looking = concurrency.Lock()
        self._look: _Look | None = None
        self._next_seconds = 0.0  # when the next check may be, after one that was of no use

    def __call__(self) -> int:
        """Return the time in milliseconds, by which commands are decided.

        Raises ClockSkewError, and UnknownOutcomeError if the database has never answered.
        """
        look, now_ms, now_seconds = self._look, self._clock(), self._monotonic()
        if look is None or self._off_ms(look, now_ms, now_seconds):
            look = self._look_now(look)
        elif self._is_old(look, now_ms, now_seconds):
            self._look_meanwhile()
        else:
            return now_ms
        now_ms = self._clock()
        if off_ms := self._off_ms(look, now_ms, self._monotonic()):
            raise ClockSkewError(round(off_ms), self._tolerance_ms)
        return now_ms

    def _off_ms(self, look: _Look, now_ms: int, now_seconds: float) -> float:
        """Return by how much the clock is ahead; 0 within the tolerance.

        If the system's clock moved since the check and the monotonic clock did not, it was set.
        """
        was_set_ms = (now_ms - look.at_ms) - (now_seconds - look.at_seconds) * 1000
        ahead_ms = look.ahead_ms + was_set_ms
        return ahead_ms if abs(ahead_ms) - look.error_ms > self._tolerance_ms else 0.0

    def _is_old(self, look: _Look, now_ms: int, now_seconds: float) -> bool:
        age_seconds = max(now_seconds - look.at_seconds, (now_ms - look.at_ms) / 1000)
        return age_seconds >= LOOK_SECONDS and now_seconds >= self._next_seconds

    def _look_meanwhile(self) -> None:
        """Check, unless another thread does: what is known is good enough meanwhile."""
        if self._looking.acquire(blocking=False):
            try:
                self._look_again()
            except StoreError as error:
                log.warning("the database does not report its time; the local clock is trusted meanwhile: %s", error)
            finally:
                self._looking.release()

    def _look_now(self, known: _Look | None) -> _Look:
        """Return a check newer than `known`, or `known` if it is from a moment ago."""
        if not self._looking.acquire(timeout=WAIT_SECONDS):
            raise UnknownOutcomeError("the database does not report its time")
        try:
            look = self._look
            if look is None:
                return self._look_again()
            if look is known and self._monotonic() >= self._next_seconds:
                with suppress(StoreError):
                    return self._look_again()
            return look
        finally:
            self._looking.release()

    def _look_again(self) -> _Look:
        self._next_seconds = self._monotonic() + PAUSE_SECONDS
        began = self._monotonic()
        database_ms = self._database_ms()
        ended, now_ms = self._monotonic(), self._clock()
        error_ms = (ended - began) * 500
        if error_ms > MOST_ERROR_MS:
            raise UnknownOutcomeError(f"the database's time came after {ended - began:.1f} s")
        look = _Look(now_ms - error_ms - database_ms, error_ms, now_ms, ended)
        if off_ms := self._off_ms(look, now_ms, ended):
            log.error("%s", ClockSkewError(round(off_ms), self._tolerance_ms))
        self._look = look
        return look
