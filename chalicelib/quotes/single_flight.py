"""One fetch for all threads of a process: the first thread fetches, the others share the result."""

from collections.abc import Callable
from dataclasses import replace

from chalicelib import concurrency
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import QuoteAnswer


class _Flight:
    """One fetch under way."""

    def __init__(self) -> None:
        self.landed = concurrency.Event()
        self.answer: QuoteAnswer | None = None


class SingleFlight:
    """The fetches in progress in this process, at most one per symbol."""

    def __init__(self) -> None:
        self._lock = concurrency.Lock()
        self._flights: dict[str, _Flight] = {}

    def join(self, symbol: str, fetch: Callable[[], QuoteAnswer], limit_seconds: float) -> QuoteAnswer:
        """Return the result of `fetch`, or of the fetch of the same symbol that is already in progress.

        A shared result counts as cached: it is the other thread's hit on the source. A failed fetch fails for all who
        wait for it, with QuoteUnavailableError, as does waiting longer than `limit_seconds`.
        """
        with self._lock:
            flight = self._flights.get(symbol)
            first = flight is None
            if flight is None:
                flight = self._flights[symbol] = _Flight()
        if first:
            return self._lead(symbol, flight, fetch)
        if not flight.landed.wait(limit_seconds) or flight.answer is None:
            raise QuoteUnavailableError(f"no quote for {symbol} is available")
        return replace(flight.answer, cached=True)

    def _lead(self, symbol: str, flight: _Flight, fetch: Callable[[], QuoteAnswer]) -> QuoteAnswer:
        try:
            flight.answer = fetch()
            return flight.answer
        finally:  # whatever happens, nobody waits for a flight that never lands
            with self._lock:
                del self._flights[symbol]
            flight.landed.set()
