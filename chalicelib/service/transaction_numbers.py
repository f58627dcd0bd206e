"""Transaction numbers, unique without a central counter (SPEC.md section 1).

A number has 63 bits: 41 of milliseconds since 2024 (enough until 2093), 16 that tell processes apart, 6 that count
within a millisecond. Two processes that draw the same 16 bits can only collide within the same millisecond: with ten
servers the chance that any two share them is 1 in 1,400.
"""

import os
import secrets

from chalicelib import concurrency
from chalicelib.clock import Clock, now_ms

EPOCH_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""

_NODE_BITS = 16
_COUNT_BITS = 6


class TransactionNumbers:
    """Gives rising numbers, never the same twice; safe to share between threads and after a fork."""

    def __init__(self, clock: Clock = now_ms) -> None:
        self._clock = clock
        self._lock = concurrency.Lock()
        self._pid = 0
        self._node = 0
        self._tick = 0

    def next(self) -> int:
        """Return a new number. Past 64 in one millisecond it runs ahead of the clock rather than repeat one."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._node = os.getpid(), secrets.randbits(_NODE_BITS)
            earliest = (self._clock() - EPOCH_MS) << _COUNT_BITS
            self._tick = max(earliest, self._tick + 1)
            milliseconds, count = divmod(self._tick, 1 << _COUNT_BITS)
            return (milliseconds << (_NODE_BITS + _COUNT_BITS)) | (self._node << _COUNT_BITS) | count
