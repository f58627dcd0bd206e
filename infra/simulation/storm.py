"""What goes wrong in one schedule, drawn from its seed: in a few schedules hardly anything, in others very much."""

from random import Random

from infra.simulation.network import Passage

MS = 1_000_000


class Storm:
    """The faults of a schedule. `trouble` is the share of requests that are affected."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.trouble = random.choice((0.0, 0.02, 0.08, 0.25))
        self.is_calm = False
        self.oldest_moment = 0
        """The last optime that an unknowingly deposed member has of a majority."""
        self.is_partitioned = False

    def calm_down(self) -> None:
        """Let everything work from now on."""
        self.is_calm = True
        self.is_partitioned = False

    def happens(self, share: float = 1.0) -> bool:
        """Return whether something goes wrong now; `share` scales the probability."""
        return not self.is_calm and self._random.random() < self.trouble * share

    def passage(self) -> Passage:
        """Return the fate of a request."""
        there, back = self._random.randint(4 * MS, 9 * MS), self._random.randint(2 * MS, 6 * MS)
        if not self.happens():
            return Passage(there, back)
        match self._random.randrange(4):
            case 0:
                return Passage(None, back)
            case 1:
                return Passage(there, None)
            case 2:  # it arrives when nobody waits for it any more
                return Passage(there + self._long_ns(), back)
            case _:
                return Passage(there, back + self._random.randint(0, 150 * MS))

    def replication_ns(self) -> int:
        """Return how long it takes until a majority has a write."""
        if self.happens(0.5):
            return self._random.randint(20 * MS, 400 * MS)
        return self._random.randint(MS, 3 * MS)

    def stale_moment(self, confirmed: int) -> int:
        """Return the optime that a read sees."""
        if self.is_partitioned and self._random.random() < 0.5:
            return min(confirmed, self.oldest_moment)
        return confirmed

    def _long_ns(self) -> int:
        return round(self._random.choice((50, 120, 500, 5_000, 70_000)) * self._random.uniform(0.5, 1.5)) * MS
