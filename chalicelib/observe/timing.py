"""Where the time of a command goes: loading the account, getting the quote, saving."""

import time

from chalicelib.observe.commands import QuotedFrom


class Stopwatch:
    """Adds up the seconds that are spent inside of it, also when they end with an error: `with timer.load: ...`."""

    __slots__ = ("_began", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began


class CommandTimer:
    """What one command has spent in each stage, over all its tries; it is one thread's alone.

    And where its quote came from, the last one when there were several; None when it needed none. And whether the
    account that was looked at first was one that the process kept, and how many races for it were lost.
    """

    __slots__ = ("kept", "load", "lost_races", "quote", "quoted", "save")

    def __init__(self) -> None:
        self.load, self.quote, self.save = Stopwatch(), Stopwatch(), Stopwatch()
        self.quoted: QuotedFrom | None = None
        self.kept: bool | None = None
        self.lost_races = 0
