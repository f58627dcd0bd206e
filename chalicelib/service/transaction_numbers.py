"""Transaction numbers: increasing and unique (docs/rules.md section 1, decision 52).

A number has 63 bits: 41 of milliseconds since 2024 (enough until 2093), 18 of the process number leased from the
database, and a 4-bit counter within a millisecond.
"""

from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import Clock, now_ms
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.store.errors import StoreError

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""

PROCESS_BITS = 18
"""A process number is reused after 262,143 others."""

_COUNT_BITS = 4


class TransactionNumbers:
    """Gives increasing, unique numbers; thread-safe and fork-safe.

    `process` returns this process's number, whose lowest PROCESS_BITS no other live process has; it raises StoreError
    if the database does not answer.
    """

    def __init__(self, process: Callable[[], int], clock: Clock = now_ms) -> None:
        self._process = process
        self._clock = clock
        self._lock = concurrency.Lock()
        self._tick = 0

    def next(self) -> int:
        """Return a new number. After 16 in one millisecond it runs ahead of the clock rather than repeat one.

        Raises StoreUnavailableError if this process has no number yet and cannot get one.
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
