"""The clocks, in one place.

Nothing else in this package reads a clock for a decision (a test checks this). Callers look up `wall_ns` and
`steady_ns` each time, so a simulation can replace them.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from chalicelib.domain.moment import Moment

Clock = Callable[[], int]
"""Returns the time: integer milliseconds since the Unix epoch, UTC."""

Moments = Callable[[], Moment]
"""Returns the current moment, by the wall clock and by a monotonic one."""

OFFSET_FILE = "CLOCK_OFFSET_FILE"
"""For tests of wrong clocks: names the environment variable for a file with milliseconds to add to the clock.

The file is read on every call, so a test can step the clock of a running server. A file that is missing or empty adds
nothing.
"""

wall_ns = time.time_ns
"""The system's time in nanoseconds since the Unix epoch."""

steady_ns = time.monotonic_ns
"""Nanoseconds of a monotonic clock."""

_offset_file = os.environ.get(OFFSET_FILE)


def now_ms() -> int:
    """Return the system's time in milliseconds since the Unix epoch."""
    now = wall_ns() // 1_000_000
    return now if _offset_file is None else now + _offset_ms(Path(_offset_file))


def monotonic_seconds() -> float:
    """Return the seconds of a monotonic clock; only differences are meaningful."""
    return steady_ns() / 1_000_000_000


def moment() -> Moment:
    """Return the current moment."""
    return Moment(now_ms(), steady_ns() // 1_000_000)


def is_shifted() -> bool:
    """Return whether a test sets this process's clock."""
    return _offset_file is not None


def set_offset(file: Path, offset_ms: int) -> None:
    """Step the clock of all processes with this OFFSET_FILE, atomically."""
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
    except OSError:  # there is no free descriptor to open it with
        pass
    return _seen.get(file, 0)
