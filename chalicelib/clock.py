"""The clock, in one place."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the time: integer milliseconds since the Unix epoch, UTC."""


def now_ms() -> int:
    """Return the system's time in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000
