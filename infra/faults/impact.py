"""What faults did to the commands in progress, from the times that the load generator recorded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Episode:
    """One or more simultaneous faults. Times are milliseconds since 1970.

    It began with the first fault and ended with the last; `whole_ms` is when every part worked again, None if that took
    too long; `trouble` then says what did not work.
    """

    kinds: Sequence[str]
    targets: Sequence[str]
    began_ms: int
    ended_ms: int
    whole_ms: int | None
    trouble: str = ""

    @property
    def name(self) -> str:
        """Return the names of its faults."""
        return " + ".join(self.kinds)


@dataclass(frozen=True, slots=True)
class Effect:
    """What an episode did to the commands in progress, until full recovery.

    `longest_seconds` is the time of the slowest of them, from its first try to its answer; `silent_seconds` the longest
    time without any answer to anybody; `retried` how many needed more than one try; `errors` how many got no answer.
    """

    commands: int
    errors: int
    retried: int
    longest_seconds: float
    silent_seconds: float


def effect(
    episode: Episode, answers: Sequence[Mapping[str, Any]], since_ms: int = 0, until_ms: float = math.inf
) -> Effect:
    """Return the impact of an episode on the commands answered in it.

    Only time from `since_ms`, the recovery from the previous episode, to `until_ms`, the beginning of the next one,
    counts, also of commands in progress at either.
    """
    end_ms = episode.whole_ms or max((answer["received"] for answer in answers), default=episode.ended_ms)
    met = [answer for answer in answers if answer["received"] >= episode.began_ms and answer["sent"] <= end_ms]
    moments = sorted(answer["received"] for answer in met if answer["final"] and answer["received"] <= until_ms)
    gaps = [after - before for before, after in zip([episode.began_ms, *moments], moments, strict=False)]
    waits = [min(answer["received"], until_ms) - max(answer["sent"], since_ms) for answer in met]
    within = [answer for answer in met if since_ms <= answer["sent"] and answer["received"] <= until_ms]
    return Effect(
        commands=len(met),
        errors=sum(not answer["final"] for answer in met),
        retried=sum(answer["tries"] > 1 for answer in within),
        longest_seconds=max(waits, default=0) / 1000,
        silent_seconds=max(gaps, default=0) / 1000,
    )
