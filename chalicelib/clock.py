"""The clocks, in one place.

Nothing else in this package asks the system for a time that something hangs on (a test looks). Who asks for the time
looks `wall_ns` and `steady_ns` up each time, so that a simulation may put clocks of its own there.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from chalicelib.domain.moment import Moment

Clock = Callable[[], int]
"""Returns the time: integer milliseconds since the Unix epoch, UTC."""

Moments = Callable[[], Moment]
"""Returns this moment, by the wall clock and by one that only goes forward."""

OFFSET_FILE = "CLOCK_OFFSET_FILE"
"""For tests of wrong clocks: the environment variable that names a file with the milliseconds to add to the clock.

It is looked at whenever the time is asked for, so that a test can let the clock of a running server step; a file that
is not there, or empty, adds nothing.
"""

wall_ns = time.time_ns
"""The system's time in nanoseconds since the Unix epoch."""

steady_ns = time.monotonic_ns
"""Nanoseconds of a clock that only goes forward."""

_offset_file = os.environ.get(OFFSET_FILE)


def now_ms() -> int:
    """Return the system's time in milliseconds since the Unix epoch."""
    now = wall_ns() // 1_000_000
    return now if _offset_file is None else now + _offset_ms(Path(_offset_file))


def monotonic_seconds() -> float:
    """Return seconds of a clock that only goes forward; only differences mean anything."""
    return steady_ns() / 1_000_000_000


def moment() -> Moment:
    """Return this moment."""
    return Moment(now_ms(), steady_ns() // 1_000_000)


def is_shifted() -> bool:
    """Return whether this process was told to take its time from a test."""
    return _offset_file is not None


def set_offset(file: Path, offset_ms: int) -> None:
    """Have the clock of the processes that were given this OFFSET_FILE step, in one moment for all of them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(str(offset_ms))
    fresh.replace(file)


_seen: dict[Path, int] = {}


def _offset_ms(file: Path) -> int:
    try:
        _seen[file] = int(file.read_text() or 0)
    except FileNotFoundError:
        _seen[file] = 0
    except OSError:  # there is no descriptor left to open it with
        pass
    return _seen.get(file, 0)
