"""Shared by the sections: the sizes, a folder, and the round's replays, each run once however many sections use it."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.bench.figures import Measured
from infra.bench.replays import Replayed, Setting, replay
from infra.bench.sizes import Sizes


@dataclass(slots=True)
class Bench:
    """A run. `folder` is emptied at its end; `say` reports what is being done."""

    sizes: Sizes
    folder: Path
    say: Callable[[str], None]
    round: int = 0
    _replays: dict[Setting, Replayed] = field(default_factory=dict)

    def next_round(self) -> None:
        """Begin a round: replays of earlier rounds are forgotten."""
        self.round += 1
        self._replays.clear()

    def setting(self) -> Setting:
        """Return the replay that everything is compared with, that of `make replay`."""
        return Setting(self.sizes.users, self.sizes.commands)

    def replay(self, setting: Setting) -> Replayed:
        """Return this round's replay with a setting; raises BenchFailedError if it does not verify."""
        if setting not in self._replays:
            self.say(setting.words())
            self._replays[setting] = replay(self.folder, self.sizes, setting)
        return self._replays[setting]

    def top_rate(self) -> float:
        """Return the best rate of this round's replays so far, in commands per second."""
        plain = [found.rate for setting, found in self._replays.items() if setting.is_plain]
        return max(plain, default=0.0) or self.replay(self.setting()).rate


class Section(Protocol):
    """A part of the benchmark. It may keep files for later rounds in the run's folder."""

    @property
    def name(self) -> str:
        """Return its name, in records and for --only."""

    @property
    def measures(self) -> str:
        """Return in one line what it measures."""

    @property
    def seconds(self) -> float:
        """Return roughly how long a round of it takes, for the time left before one was measured."""

    @property
    def once(self) -> bool:
        """Return whether it is measured in the first round only."""

    def set_up(self, bench: Bench) -> None:
        """Prepare what all rounds need; most need nothing."""

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Measure once; raises BenchFailedError."""


def due(sections: Sequence[Section], round_number: int) -> list[Section]:
    """Return the sections of a round, counted from 1."""
    return [section for section in sections if round_number == 1 or not section.once]


class Progress:
    """Reports what is being done and how much time is left, from the times of the sections so far."""

    def __init__(self, sections: Sequence[Section], rounds: int) -> None:
        self._took = {section.name: section.seconds for section in sections}
        self._left = [one.name for number in range(1, rounds + 1) for one in due(sections, number)]
        self._rounds = rounds
        self._where = ""
        self._began = time.monotonic()

    def begin(self, section: str, round_number: int) -> None:
        """Begin a section of a round."""
        self._where = f"round {round_number} of {self._rounds}, {section}"
        self._began = time.monotonic()

    def end(self, section: str) -> None:
        """Record the time of a section."""
        self._took[section] = time.monotonic() - self._began
        self._left.remove(section)

    def say(self, what: str) -> None:
        """Report what is being done."""
        left = max(0.0, sum(self._took[name] for name in self._left) - (time.monotonic() - self._began))
        minutes, seconds = divmod(round(left), 60)
        time_left = f"about {minutes}:{seconds:02d} left" if self._where else "before the first round"
        print(f"{self._where or 'set-up'}: {what} ({time_left})", file=sys.stderr, flush=True)
