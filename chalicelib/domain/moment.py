"""A moment by two clocks: a quote must expire even if somebody sets the wall clock back."""

from typing import NamedTuple


class Moment(NamedTuple):
    """The wall clock, which can be set, and a monotonic clock, both in milliseconds.

    The monotonic clock belongs to the process: only moments of the same process can be compared.
    """

    wall_ms: int
    steady_ms: int

    def age_ms(self, now: "Moment") -> int:
        """Return the age by the clock that says older. A future moment counts as now (docs/rules.md section 1)."""
        return max(0, now.wall_ms - self.wall_ms, now.steady_ms - self.steady_ms)

    def earlier(self, milliseconds: int) -> "Moment":
        """Return the moment that many milliseconds before this one."""
        return Moment(self.wall_ms - milliseconds, self.steady_ms - milliseconds)
