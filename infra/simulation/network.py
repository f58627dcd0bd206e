"""The network between servers, database and cache: requests take time, get lost or arrive late, and so do answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from infra.simulation.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Passage:
    """The fate of one request: how long it and its answer take; None is for ever."""

    there_ns: int | None
    back_ns: int | None


class Weather(Protocol):
    """Decides the fate of requests."""

    def passage(self) -> Passage:
        """Return the fate of the current actor's next request."""

    def replication_ns(self) -> int:
        """Return how long it takes until a majority has a write."""

    def stale_moment(self, confirmed: int) -> int:
        """Return the optime that a read sees: the last one, or that of a deposed primary."""


class Calm:
    """A network in which everything works."""

    def passage(self) -> Passage:
        """Return a short delay."""
        return Passage(1_000_000, 1_000_000)

    def replication_ns(self) -> int:
        """Return 1 ms."""
        return 1_000_000

    def stale_moment(self, confirmed: int) -> int:
        """Return the last one."""
        return confirmed


class NoAnswerError(Exception):
    """No answer came in time."""


Answer = Callable[[Callable[[], Any]], None]
"""Sends an answer: a function to call where it arrives, which returns a value or raises."""

Serve = Callable[[Answer], None]
"""Executes a request where it arrives."""


def ask(scheduler: Scheduler, weather: Weather, serve: Serve, limit_ns: int) -> Any:
    """Send a request and return its answer; raises NoAnswerError, or what the answer raises."""
    passage = weather.passage()
    token = scheduler.token()

    def answer(outcome: Callable[[], Any]) -> None:
        if passage.back_ns is not None:
            scheduler.at(passage.back_ns, lambda: scheduler.wake(token, outcome))

    if passage.there_ns is not None:
        scheduler.at(passage.there_ns, lambda: serve(answer))
    outcome = scheduler.wait(limit_ns)
    if outcome is None:
        raise NoAnswerError
    return outcome()
