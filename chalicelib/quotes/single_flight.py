"""One fetch for all threads of a process: the first one fetches, the others share what it gets."""

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
    """The fetches under way in this process, at most one a symbol."""

    def __init__(self) -> None:
        self._lock = concurrency.Lock()
        self._flights: dict[str, _Flight] = {}

    def join(self, symbol: str, fetch: Callable[[], QuoteAnswer], limit_seconds: float) -> QuoteAnswer:
        """Return what `fetch` returns, or, when another thread is fetching the symbol already, the quote it gets.

        That one counts as cached: it is the other thread's hit on the source. A fetch that fails has failed for all
        who wait for it: QuoteUnavailableError, as after `limit_seconds` of waiting.
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
        finally:  # whatever happened: nobody waits for a flight that does not land
            with self._lock:
                del self._flights[symbol]
            flight.landed.set()
