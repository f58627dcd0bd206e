"""The quote sources (docs/rules.md section 4): one fixed price, simulated prices, or the legacy quote server."""

import base64
from hashlib import blake2b
from typing import Protocol

from chalicelib.clock import Clock
from chalicelib.config.settings import SettingError
from chalicelib.domain.errors import InvalidAmountError
from chalicelib.domain.money import parse_cents
from chalicelib.domain.quote import Quote
from chalicelib.quotes.legacy import Address, LegacySource

MINUTE_MS = 60_000


class QuoteSource(Protocol):
    """Makes quotes."""

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        """Ask once for a new quote; raises FailedTryError if there is none in time."""


class FixedSource:
    """One price for all symbols."""

    def __init__(self, price_cents: int, clock: Clock) -> None:
        self._price_cents = price_cents
        self._clock = clock

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:  # noqa: ARG002  # it never waits
        """Return a quote at the fixed price, made now."""
        now = self._clock()
        return Quote(symbol, self._price_cents, user, now, _cryptokey("fixed", symbol, now))


class SimulatedSource:
    """Plausible prices, a pure function of seed, symbol and minute: all instances agree without communicating.

    A symbol's price is a base of 5.00 to 500.00 times the sum of five waves of noise. Each wave draws a level at
    regular intervals, 5 minutes to 2 days apart, and interpolates linearly; slower waves are higher. It uses integers
    only, so no two machines round differently.
    """

    _PERIODS_MINUTES = (5, 20, 90, 480, 2880)
    _HEIGHTS_PPM = (4_000, 10_000, 25_000, 60_000, 150_000)

    def __init__(self, seed: str, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:  # noqa: ARG002  # it never waits
        """Return the quote of the current minute, made now."""
        now = self._clock()
        return Quote(symbol, self.price_cents(symbol, now), user, now, _cryptokey(self._seed, symbol, now))

    def price_cents(self, symbol: str, now_ms: int) -> int:
        """Return the price in the minute of `now_ms`, always greater than 0."""
        minute = now_ms // MINUTE_MS
        base = 500 + self._draw(symbol, "base", 0) % 49_501
        swing = sum(
            self._wave(symbol, minute, period, height)
            for period, height in zip(self._PERIODS_MINUTES, self._HEIGHTS_PPM, strict=True)
        )
        return base * (1_000_000 + swing) // 1_000_000

    def _wave(self, symbol: str, minute: int, period: int, height: int) -> int:
        """Return one wave's contribution in millionths, between -height and height."""
        step, into = divmod(minute, period)
        start, end = (self._draw(symbol, str(period), step + ahead) % (2 * height + 1) - height for ahead in (0, 1))
        return (start * (period - into) + end * into) // period

    def _draw(self, symbol: str, name: str, step: int) -> int:
        text = f"{self._seed}/{symbol}/{name}/{step}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def _cryptokey(seed: str, symbol: str, now_ms: int) -> str:
    return base64.b64encode(blake2b(f"{seed}/{symbol}/{now_ms}".encode(), digest_size=33).digest()).decode()


def make_source(setting: str, clock: Clock) -> QuoteSource:
    """Return the source named by the setting QUOTE_SOURCE; raises SettingError for one that cannot be used."""
    kind, _, rest = setting.partition(":")
    if kind == "fixed":
        try:
            return FixedSource(parse_cents(rest, "price"), clock)
        except InvalidAmountError as error:
            raise SettingError("QUOTE_SOURCE", setting, f"fixed:PRICE ({error})") from error
    if kind == "simulated" and rest:
        return SimulatedSource(rest, clock)
    if kind == "tcp":
        try:
            return LegacySource(Address.parse(setting))
        except ValueError as error:
            raise SettingError("QUOTE_SOURCE", setting, f"tcp://HOST:PORT ({error})") from error
    raise SettingError("QUOTE_SOURCE", setting, "fixed:PRICE, simulated:SEED or tcp://HOST:PORT")
