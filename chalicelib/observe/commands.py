"""What is seen of a command once it is answered, and who is told."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class QuotedFrom(StrEnum):
    """Where a command's quote came from."""

    CACHE = "cache"
    SOURCE = "source"
    NOWHERE = "nowhere"
    """It could not be had."""


class SeenCommand(NamedTuple):
    """An answered command, or a request for one that was refused.

    `user` is whose account it was for, None while nobody has shown a token for it; `operator` is the operator who acted
    for that user, None where users act for themselves. `outcome` is `ok` or a problem's
    code. The seconds of the stages are parts of `seconds`; the rest is waiting for one's turn, deciding, and the form.
    `quoted` is None for a command that needed no quote. `kept` says whether the account was one that the process kept,
    None when none was looked for. `late_seconds` is how long after its arrival the request was begun, None where nobody
    says when it arrived.
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
"""Is told which operation of MongoDB went out for a group of reads or writes, and how many they were."""


class Observers:
    """Those who are told of each command, and of each group, in order; they must be quick and must not fail."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self._of_groups: tuple[GroupObserver, ...] = ()

    def add_for_groups(self, observer: GroupObserver) -> None:
        """Tell one more of groups."""
        self._of_groups = (*self._of_groups, observer)

    def group_sent(self, operation: str, size: int) -> None:
        """Tell those who are told of groups."""
        for observer in self._of_groups:
            observer(operation, size)

    def add(self, observer: Observer) -> None:
        """Tell one more."""
        self._observers = (*self._observers, observer)

    def __call__(self, seen: SeenCommand) -> None:
        """Tell all."""
        for observer in self._observers:
            observer(seen)
