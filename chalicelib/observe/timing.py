"""Where a command's time goes: loading the account, getting the quote, saving."""

import time

from chalicelib.observe.commands import QuotedFrom


class Stopwatch:
    """Adds up the seconds spent inside it, also if they end with an error: `with timer.load: ...`."""

    __slots__ = ("_began", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


class CommandTimer:
    """The time one command spent in each stage, over all tries; used by one thread only.

    `quoted` is where its last quote came from, None if it needed none. `kept` says whether the account first looked at
    was kept in the process. `lost_races` counts lost races.
    """

    __slots__ = ("kept", "load", "lost_races", "quote", "quoted", "save")

    def __init__(self) -> None:
        self.load, self.quote, self.save = Stopwatch(), Stopwatch(), Stopwatch()
        self.quoted: QuotedFrom | None = None
        self.kept: bool | None = None
        self.lost_races = 0
