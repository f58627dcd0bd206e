"""What is observed of a command once it is answered, and by whom."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class QuotedFrom(StrEnum):
    """Where a command's quote came from."""

    CACHE = "cache"
    SOURCE = "source"
    NOWHERE = "nowhere"
    """There was none."""


class SeenCommand(NamedTuple):
    """An answered command, or a refused request for one.

    `user` is whose account it was for, None before a token for it was shown; `operator` is the operator who acted for
    that user, None if users act for themselves. `outcome` is `ok` or a problem's code. The seconds of the stages are
    parts of `seconds`; the rest is waiting for the user's turn, deciding, and formatting. `quoted` is None for a
    command that needed no quote. `kept` says whether the process had kept the account, None if it was not looked for.
    `late_seconds` is the time from the request's arrival to its start, None if the arrival is not known.
    """

    request_id: str
    user: str | None
    command: str
    transaction: int | None
    outcome: str
    replayed: bool
    seconds: float
    load_seconds: float
    quote_seconds: float
    save_seconds: float
    quoted: QuotedFrom | None = None
    operator: str | None = None
    lost_races: int = 0
    kept: bool | None = None
    late_seconds: float | None = None


Observer = Callable[[SeenCommand], None]


GroupObserver = Callable[[str, int], None]
"""Called for each group of reads or writes with the MongoDB operation and the number of items."""


class Observers:
    """Called for each command and each group, in order; they must be fast and must not fail."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self._of_groups: tuple[GroupObserver, ...] = ()

    def add_for_groups(self, observer: GroupObserver) -> None:
        """Add an observer of groups."""
        self._of_groups = (*self._of_groups, observer)

    def group_sent(self, operation: str, size: int) -> None:
        """Call the observers of groups."""
        for observer in self._of_groups:
            observer(operation, size)

    def add(self, observer: Observer) -> None:
        """Add an observer of commands."""
        self._observers = (*self._observers, observer)

    def __call__(self, seen: SeenCommand) -> None:
        """Call the observers of commands."""
        for observer in self._observers:
            observer(seen)
