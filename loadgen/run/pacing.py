"""How long a run lasts and when its commands leave."""

from dataclasses import dataclass
from typing import Any

from loadgen.run.schedule import GRACE_S, Schedule
from loadgen.run.scheduler import NEVER_NS


@dataclass(frozen=True, slots=True)
class Pacing:
    """When commands leave; times in seconds from the start of the run.

    With a `schedule` the model is open and commands leave when they are due; without one they leave as fast as answers
    come. After `duration_s` nothing is begun. What is due or sent within `warm_up_s` is in no figure. The schedule ends
    at `planned_end_s`.
    """

    schedule: Schedule | None = None
    duration_s: float | None = None
    warm_up_s: float = 0.0
    planned_end_s: float = 0.0

    @property
    def warm_up_ns(self) -> int:
        """Return how long the warm-up lasts."""
        return int(self.warm_up_s * 1e9)

    @property
    def in_time_ns(self) -> int:
        """Return until when after the start what is sent is in time."""
        return int((self.planned_end_s + GRACE_S) * 1e9)

    def ends_ns(self, started_ns: int) -> int:
        """Return when a run that began at a moment is over."""
        return NEVER_NS if self.duration_s is None else started_ns + int(self.duration_s * 1e9)

    def figures(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "model": "closed" if self.schedule is None else "open",
            "pace": None if self.schedule is None else self.schedule.words(),
            "duration_s": self.duration_s,
            "warm_up_s": self.warm_up_s,
        }


AS_FAST_AS_ANSWERS_COME = Pacing()
