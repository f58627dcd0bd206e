"""Transaction numbers: rising, and no two the same (SPEC.md section 1, decision 52).

A number has 63 bits: 41 of milliseconds since 2024 (enough until 2093), 18 of the number that the process has leased
from the database, 4 that count within a millisecond.
"""

from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import Clock, now_ms
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.store.errors import StoreError

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""

PROCESS_BITS = 18
"""A number is used again after 262,143 others."""

_COUNT_BITS = 4


class TransactionNumbers:
    """Gives rising numbers, never the same twice; safe to share between threads and after a fork.

    `process` returns the number of this process, of which no other that is alive has the lowest PROCESS_BITS; it raises
    StoreError while the database does not say.
    """

    def __init__(self, process: Callable[[], int], clock: Clock = now_ms) -> None:
        self._process = process
        self._clock = clock
        self._lock = concurrency.Lock()
        self._tick = 0

    def next(self) -> int:
        """Return a new number. Past 16 in one millisecond it runs ahead of the clock rather than repeat one.

        Raises StoreUnavailableError when this process has no number of its own yet and cannot have one.
        """
        try:
            process = self._process() % (1 << PROCESS_BITS)
        except StoreError as error:
            raise StoreUnavailableError(f"the database gave no transaction number: {error}") from error
        with self._lock:
            earliest = (self._clock() - EPOCH_MS) << _COUNT_BITS
            self._tick = max(earliest, self._tick + 1)
            milliseconds, count = divmod(self._tick, 1 << _COUNT_BITS)
            return (milliseconds << (PROCESS_BITS + _COUNT_BITS)) | (process << _COUNT_BITS) | count
