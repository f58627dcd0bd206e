"""A moment by two clocks, as a value: what is old must be old whatever somebody does to the time of day."""

from typing import NamedTuple


class Moment(NamedTuple):
    """The wall clock, which may be set, and a clock that only goes forward, both in milliseconds.

    The second one is a process's own: only moments of the same process can be compared.
    """

    wall_ms: int
    steady_ms: int

    def age_ms(self, now: "Moment") -> int:
        """Return how old this is by the clock that says older; what lies ahead counts as now (SPEC.md section 1)."""
        return max(0, now.wall_ms - self.wall_ms, now.steady_ms - self.steady_ms)

    def earlier(self, milliseconds: int) -> "Moment":
        """Return the moment so long before this one."""
        return Moment(self.wall_ms - milliseconds, self.steady_ms - milliseconds)
