"""Actors in virtual time: one runs until it waits, and time advances only when none can continue.

An actor is a greenlet, so unmodified code is suspended wherever it waits. Two runs with one seed are the same, step by
step.
"""

import heapq
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

Say = Callable[[str], None]

NS = 1_000_000_000


class CrashedError(BaseException):
    """The process that ran this has crashed; nothing in it may catch this."""


class StuckError(Exception):
    """An actor waits for something that will never happen."""


class Process:
    """A process: crashes and stalls as one, and has its own clock, `offset_ns` ahead of the true time."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.offset_ns = 0
        self.is_dead = False
        self.stands_until_ns = 0
        self.actors: dict[int, Actor] = {}
        """By number, so that every run iterates over them in the same order."""


class Actor:
    """A thread of execution in a process."""

    def __init__(self, name: str, number: int, process: Process, work: Callable[[], Any], hub: greenlet) -> None:
        self.name = name
        self.number = number
        self.process = process
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_done = False
        self.turn = 0
        """Counts its waits: a wake-up for an earlier one comes too late."""
        self._work = work
        self.greenlet = greenlet(self._carry_out, parent=hub)

    def _carry_out(self) -> None:
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 (whatever it is, the judge wants to see it)
            self.error = error
        self.is_done = True


class Scheduler:
    """Runs actors; `now_ns` is the true time, which processes see only through their own clocks."""

    def __init__(self, start_ms: int) -> None:
        self.now_ns = start_ms * 1_000_000
        self.steps = 0
        self.ended: Callable[[Actor], None] = lambda _: None
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._hub = getcurrent()  # whoever runs the schedule
        self._by_greenlet: dict[greenlet, Actor] = {}

    @property
    def current(self) -> Actor | None:
        """Return the running actor, None outside of all actors."""
        return self._by_greenlet.get(getcurrent())

    def at(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Call a function after a delay; those due at the same time are called in the order of their scheduling."""
        self._count += 1
        heapq.heappush(self._agenda, (self.now_ns + delay_ns, self._count, action))

    def begin(self, name: str, process: Process, work: Callable[[], Any]) -> Actor:
        """Start an actor; it takes its first step in its turn."""
        self._count += 1
        actor = Actor(name, self._count, process, work, self._hub)
        process.actors[actor.number] = actor
        self._by_greenlet[actor.greenlet] = actor
        self._wake_at(actor, actor.turn, 0, None)
        return actor

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Let time advance until `is_over`; raises StuckError if nothing is left to do before that."""
        while not is_over():
            if not self._agenda:
                raise StuckError("nobody has anything left to do")
            self.run_one()

    def run_one(self) -> None:
        """Take the next step."""
        due_ns, _, action = heapq.heappop(self._agenda)
        self.now_ns = max(self.now_ns, due_ns)
        action()

    @property
    def is_busy(self) -> bool:
        """Return whether anything is left to do."""
        return bool(self._agenda)

    def wait(self, limit_ns: int | None = None) -> Any:
        """Wait to be woken, at most that long; return what the waker gave, or None at the time-out."""
        actor = self.current
        if actor is None:
            raise StuckError("only an actor may wait")
        if actor.process.is_dead:
            raise CrashedError
        if limit_ns is not None:
            self._wake_at(actor, actor.turn, limit_ns, None)
        given = self._hub.switch()
        if actor.process.is_dead:
            raise CrashedError
        return given

    def sleep(self, delay_ns: int) -> None:
        """Wait that long."""
        actor = self.current
        assert actor is not None
        self.wait(delay_ns)

    def token(self) -> tuple[Actor, int]:
        """Return a token that wakes the current actor from its next wait, and from no later one."""
        actor = self.current
        assert actor is not None
        return actor, actor.turn

    def wake(self, token: tuple[Actor, int], given: Any) -> None:
        """Wake an actor that waits, unless it was woken already."""
        self._wake_at(*token, 0, given)

    def crash(self, process: Process) -> None:
        """Crash a process where it is: nothing further in it is executed."""
        process.is_dead = True
        for actor in list(process.actors.values()):
            if actor is not self.current:
                self._resume(actor, None)

    def _wake_at(self, actor: Actor, turn: int, delay_ns: int, given: Any) -> None:
        def go_on() -> None:
            if actor.is_done or actor.turn != turn:
                return
            stands_ns = actor.process.stands_until_ns - self.now_ns
            if stands_ns > 0:
                self._wake_at(actor, turn, stands_ns, given)
            else:
                self._resume(actor, given)

        self.at(delay_ns, go_on)

    def _resume(self, actor: Actor, given: Any) -> None:
        actor.turn += 1
        self.steps += 1
        if actor.greenlet:
            actor.greenlet.switch(given)
        elif actor.process.is_dead:  # it never began
            actor.error, actor.is_done = CrashedError(), True
        else:
            actor.greenlet.switch()
        if actor.is_done:
            del actor.process.actors[actor.number]
            del self._by_greenlet[actor.greenlet]
            self.ended(actor)
