"""How long a run lasts and when its commands are sent."""

from dataclasses import dataclass
from typing import Any

from loadgen.run.schedule import GRACE_S, Schedule
from loadgen.run.scheduler import NEVER_NS


@dataclass(frozen=True, slots=True)
class Pacing:
    """When commands are sent; times in seconds from the start of the run.

    With a `schedule` the model is open and commands are sent when they are due; without one they are sent as fast as
    answers come. After `duration_s` no command is begun. Commands due or sent within `warm_up_s` are in no figure. The
    schedule ends at `planned_end_s`.
    """

    schedule: Schedule | None = None
    duration_s: float | None = None
    warm_up_s: float = 0.0
    planned_end_s: float = 0.0

    @property
    def warm_up_ns(self) -> int:
        """Return the length of the warm-up."""
        return int(self.warm_up_s * 1e9)

    @property
    def in_time_ns(self) -> int:
        """Return until when, from the start, a command counts as sent in time."""
        return int((self.planned_end_s + GRACE_S) * 1e9)

    def ends_ns(self, started_ns: int) -> int:
        """Return when a run that began at `started_ns` is over."""
        return NEVER_NS if self.duration_s is None else started_ns + int(self.duration_s * 1e9)

    def figures(self) -> dict[str, Any]:
        """Return the pacing as a JSON object."""
        return {
            "model": "closed" if self.schedule is None else "open",
            "pace": None if self.schedule is None else self.schedule.words(),
            "duration_s": self.duration_s,
            "warm_up_s": self.warm_up_s,
        }


AS_FAST_AS_ANSWERS_COME = Pacing()
