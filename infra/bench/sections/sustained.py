"""Whether a rate is sustained: one long replay, by parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import MORE, Measured
from infra.bench.replays import Setting
from infra.bench.sections.base import Plain


@dataclass(frozen=True)
class Sustained(Plain):
    """A replay long enough for growth to show; once per run, since it takes as long as all the others."""

    name: str = "sustained"
    measures: str = "the rate of a long replay, verified, by its tenths; once a run"
    seconds: float = 330.0
    once: bool = True

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Replay, and measure the rate of each tenth."""
        replayed = bench.replay(Setting(*bench.sizes.sustained))
        step = bench.sizes.sustained[1] // 10
        found = [Measured("rate", "all: rate", replayed.rate, "/s", MORE)]
        for number, rate in enumerate(rates_by(replayed.ended, step), 1):
            upto = f"{number * step:,}"
            found.append(Measured(f"rate.{number * step}", f"the {step:,} up to {upto}: rate", rate, "/s", MORE))
        return found


def rates_by(ended: Sequence[int], step: int) -> Iterator[float]:
    """Yield the rate of each `step` commands from how many ended in each second; the remainder is omitted."""
    moment = began = 0.0
    wanted = step
    for count in ended:
        left = count
        while left >= wanted:
            moment += wanted / count
            left -= wanted
            yield step / (moment - began)
            began, wanted = moment, step
        moment += left / count if count else 1.0
        wanted -= left
