"""When the commands of a run are due: at a constant rate, on a ramp, or at their recorded times."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from loadgen.client.dialect import Item

GRACE_S = 0.1
"""A command sent no later than this after the end of the schedule was in time."""


class ScheduleError(ValueError):
    """A string that is not a duration or ramp, or a pace that the workload does not support."""


class Schedule(Protocol):
    """When each command is due."""

    def due_ns(self, position: int, item: Item) -> int:
        """Return when the command at a position (from 0) is due."""

    def end_s(self, items: Sequence[Item]) -> float:
        """Return when the command after the last one would be due, in seconds."""

    def rate_at(self, seconds: float) -> float | None:
        """Return the rate (commands per second) at a time after the start; None if it depends on the lines."""

    def words(self) -> str:
        """Return the schedule in words."""


class ConstantRate:
    """Command n is due n / rate seconds after the start; `rate` is in commands per second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def due_ns(self, position: int, item: Item) -> int:  # noqa: ARG002 (the same for all)
        """Return when the command at a position is due."""
        return int(position * 1e9 / self._rate)

    def end_s(self, items: Sequence[Item]) -> float:
        """Return when the last command is followed by the next one."""
        return len(items) / self._rate

    def rate_at(self, seconds: float) -> float:  # noqa: ARG002 (always the same)
        """Return the rate."""
        return self._rate

    def words(self) -> str:
        """Return the schedule in words."""
        return f"{self._rate:g} commands/s"


class Leg(NamedTuple):
    """A part of a ramp: from one rate to another, in commands per second, linearly within that many seconds."""

    first: float
    last: float
    seconds: float

    def __str__(self) -> str:
        rates = f"{self.first:g}" if self.first == self.last else f"{self.first:g}:{self.last:g}"
        return f"{rates}/{self.seconds:g}s"

    @property
    def commands(self) -> float:
        """Return how many commands are due in it."""
        return (self.first + self.last) / 2 * self.seconds

    def after(self, commands: float) -> float:
        """Return when, in seconds after its start, that many commands were due."""
        growth = (self.last - self.first) / self.seconds
        root = math.sqrt(max(0.0, self.first**2 + 2 * growth * commands))
        # the numerically stable form of (root - first) / growth, which also holds without growth
        return 2 * commands / (self.first + root) if commands else 0.0


class Ramp:
    """Legs one after another. Commands beyond them are due after their end, at the last rate."""

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._starts = [0.0, *accumulate(leg.commands for leg in legs)]
        self._moments = [0.0, *accumulate(leg.seconds for leg in legs)]

    @property
    def seconds(self) -> float:
        """Return how long all legs last."""
        return self._moments[-1]

    def due_ns(self, position: int, item: Item) -> int:  # noqa: ARG002 (the same for all)
        """Return when the command at a position is due."""
        index = bisect_right(self._starts, position) - 1
        if index >= len(self._legs):
            beyond_s = (position - self._starts[-1]) / max(self._legs[-1].last, 1.0)
            return int((self._moments[-1] + beyond_s) * 1e9)
        return int((self._moments[index] + self._legs[index].after(position - self._starts[index])) * 1e9)

    def end_s(self, items: Sequence[Item]) -> float:
        """Return when the last command, or the ramp, is over."""
        return min(self._moments[-1], self.due_ns(len(items), items[-1]) / 1e9)

    def rate_at(self, seconds: float) -> float:
        """Return the rate at a time; after the end, the last rate."""
        index = min(bisect_right(self._moments, seconds) - 1, len(self._legs) - 1)
        leg = self._legs[index]
        part = min(1.0, (seconds - self._moments[index]) / leg.seconds)
        return leg.first + (leg.last - leg.first) * part

    def words(self) -> str:
        """Return the schedule in words."""
        return f"{','.join(map(str, self._legs))} commands/s"


class RecordedSchedule:
    """Each command is due at its recorded time, counted from the first one, `speed` times as fast."""

    def __init__(self, items: Sequence[Item], speed: float) -> None:
        """Raise ScheduleError if the items have no times, or times that decrease."""
        times = [getattr(item, "at_ms", None) for item in items]
        if not times or any(moment is None for moment in times):
            raise ScheduleError("the lines of this workload have no times: --pace recorded needs `at_ms` in each")
        self._speed = speed
        self._first_ms: int = min(moment for moment in times if moment is not None)

    def due_ns(self, position: int, item: Item) -> int:  # noqa: ARG002 (it does not matter where it stands)
        """Return when a command is due."""
        at_ms: int = item.at_ms  # type: ignore[attr-defined]  # checked for all of them at the start
        return int((at_ms - self._first_ms) * 1e6 / self._speed)

    def end_s(self, items: Sequence[Item]) -> float:
        """Return when the last command is due."""
        return max(self.due_ns(0, item) for item in items) / 1e9 + 0.001

    def rate_at(self, seconds: float) -> None:  # noqa: ARG002 (it follows from the lines)
        """Return None."""
        return

    def words(self) -> str:
        """Return the schedule in words."""
        return "at the recorded pace" if self._speed == 1 else f"at {self._speed:g} times the recorded pace"


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h)?", re.ASCII)
_LEG = re.compile(r"([0-9.]{1,12})(?::([0-9.]{1,12}))?/([0-9.]{1,12}(?:ms|s|m|h)?)", re.ASCII)
_LONGEST_S = 7 * 86_400
_FASTEST = 1_000_000


def parse_duration(text: str) -> float:
    """Return the seconds in `30`, `30s`, `500ms`, `2m` or `1h`. Raises ScheduleError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if not 0.001 <= seconds <= _LONGEST_S:
        raise ScheduleError(f"must be a duration from 1ms to 168h, such as 30s, not {text!r}")
    return seconds


def parse_ramp(text: str) -> Ramp:
    """Return the ramp in `0:500/30s,500/60s`: rates in commands a second. Raises ScheduleError."""
    legs = []
    for part in text.split(","):
        match = _LEG.fullmatch(part.strip())
        if match is None:
            raise ScheduleError(f"{part!r} is not a leg of a ramp: needs FROM:TO/DURATION or RATE/DURATION")
        try:
            first = float(match[1])
            last = first if match[2] is None else float(match[2])
        except ValueError as error:
            raise ScheduleError(f"{part!r} has a rate that is not a number") from error
        if max(first, last) > _FASTEST:
            raise ScheduleError(f"{part!r} has a rate above {_FASTEST:,} commands/s")
        legs.append(Leg(first, last, parse_duration(match[3])))
    ramp = Ramp(legs)
    if sum(leg.commands for leg in legs) < 1:
        raise ScheduleError(f"{text!r} has no command")
    return ramp
