"""Which prices were valid when, as far as a replay shows it: needed to judge rejected orders.

A rejected BUY does not show its price. The audit log has every quote, and answers show the prices they used; a quote is
valid for 60 s. So the candidates are known, and with one candidate the judgement is exact.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict

LIFETIME_MS = 60_000
"""How long a quote is valid (docs/rules.md section 4)."""

BEFORE_MS = LIFETIME_MS + 15_000
AFTER_MS = 15_000
"""How far from a command its quote may be in the log: its lifetime, and the delay of a slow quote source."""


class _Series:
    """Prices over time; `received` increases."""

    __slots__ = ("_sorted", "prices", "received", "sent")

    def __init__(self) -> None:
        self.sent = array("q")
        self.received = array("q")
        self.prices = array("q")
        self._sorted = True

    def add(self, sent_ms: int, received_ms: int, price: int) -> None:
        if self.received and received_ms < self.received[-1]:
            self._sorted = False
        self.sent.append(sent_ms)
        self.received.append(received_ms)
        self.prices.append(price)

    def sort(self) -> None:
        if self._sorted:
            return
        order = sorted(range(len(self.received)), key=self.received.__getitem__)
        for column in ("sent", "received", "prices"):
            values = getattr(self, column)
            setattr(self, column, array("q", (values[index] for index in order)))
        self._sorted = True

    def between(self, from_ms: int, to_ms: int) -> set[int]:
        self.sort()
        return set(self.prices[bisect_left(self.received, from_ms) : bisect_right(self.received, to_ms)])


class PriceBook:
    """The prices that a run showed, by symbol."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, _Series] = defaultdict(_Series)
        self._quoted: defaultdict[str, _Series] = defaultdict(_Series)
        self._every: set[int] = set()
        self.complete = False
        """Whether the audit log was read, so that all quotes are known."""

    def saw(self, symbol: str, price: int, sent_ms: int, received_ms: int) -> None:
        """Record a price in an answer; times are the client's."""
        self._seen[symbol].add(sent_ms, received_ms, price)
        self._every.add(price)

    def quoted(self, symbol: str, price: int, at_ms: int) -> None:
        """Record a quote of the audit log; the time is the server's."""
        self._quoted[symbol].add(at_ms, at_ms, price)
        self._every.add(price)

    def fired(self, price: int) -> None:
        """Record the price at which a trigger fired."""
        self._every.add(price)

    def only_price(self) -> int | None:
        """Return the price of everything, if there was only one."""
        return next(iter(self._every)) if len(self._every) == 1 else None

    def candidates(self, symbol: str, sent_ms: int, received_ms: int, logged_ms: int | None) -> set[int]:
        """Return the prices that a command may have used; empty if nothing certain is known.

        `sent_ms` and `received_ms` are the client's times, `logged_ms` is its time in the audit log.
        """
        if self.complete and logged_ms is not None:
            quoted = self._quoted[symbol].between(logged_ms - BEFORE_MS, logged_ms + AFTER_MS)
            return quoted | self._seen[symbol].between(sent_ms - BEFORE_MS, received_ms + AFTER_MS)
        only = self.only_price()
        if only is not None and len(self._seen) > 1:
            return {only}
        return self._between_sightings(self._seen[symbol], sent_ms, received_ms)

    def was_quoted(self, symbol: str, price: int, logged_ms: int) -> bool:
        """Return whether the audit log has a quote from which a command at that time had its price."""
        return price in self._quoted[symbol].between(logged_ms - BEFORE_MS, logged_ms + AFTER_MS)

    @staticmethod
    def _between_sightings(series: _Series, sent_ms: int, received_ms: int) -> set[int]:
        """Return the price seen just before and after, if it is the same and both are within a quote's lifetime."""
        series.sort()
        before = bisect_right(series.received, sent_ms) - 1
        if before < 0:
            return set()
        after = bisect_left(series.received, received_ms)
        while after < len(series.sent) and series.sent[after] < received_ms:
            after += 1
        if after == len(series.sent) or series.sent[after] - series.received[before] >= LIFETIME_MS:
            return set()
        prices = {series.prices[before], series.prices[after]}
        return prices if len(prices) == 1 else set()
