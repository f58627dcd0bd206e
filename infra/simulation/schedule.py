"""One schedule: some users' commands on some servers, and what befalls them, all drawn from one seed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import Decision
from chalicelib.domain.journal import Entry
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import settle
from chalicelib.service import deadline as tries
from chalicelib.service.account_write import write_for_system
from chalicelib.service.deadline import Deadline
from chalicelib.service.trading import Answer, Trading
from chalicelib.service.user_queue import UserQueues
from infra.simulation.baton import Actor, CrashedError
from infra.simulation.model import KEPT_KEYS, ModelDatabase, ModelStore, ReadingKind, Sending, Weather

PRICE_CENTS = 250
SYMBOLS = ("A", "B")
PRICES: Mapping[str, int] = dict.fromkeys(SYMBOLS, PRICE_CENTS)
NEVER_OVER_MS = 600_000
LONGEST_HOLD = KEPT_KEYS // 2
"""So many commands its user goes on by, at most, while a request stands still: then its key is surely remembered.

A server does not begin a command whose time is up, which is long before its key is forgotten. No real time passes here,
so commands are counted.
"""

MOST_STEPS = 20_000

Say = Callable[[str], None]
MakeStore = Callable[[ModelDatabase, Weather], ModelStore]


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens in a schedule."""

    users: int = 2
    commands: int = 8
    servers: int = 2


@dataclass(slots=True)
class Sent:
    """A command of a client, and what came back: several answers when it was sent several times."""

    command: Command
    answers: list[Answer] = field(default_factory=list)
    acknowledged: bool = False
    given_up: bool = False


@dataclass(slots=True)
class _Client:
    """A user: gives a command, and the next one when that one is answered."""

    sent: list[Sent]
    place: int = 0
    waiting: int = 0

    @property
    def current(self) -> Sent | None:
        return self.sent[self.place] if self.place < len(self.sent) else None

    def goes_on(self) -> None:
        self.place += 1
        self.waiting = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Server:
    """A process: what it runs, and what it remembers is in its store."""

    name: str
    trading: Trading
    store: ModelStore


class _Quotes:
    """One price for all, never too old."""

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        return QuoteAnswer(Quote(symbol, PRICE_CENTS, user, 10**15, "key"), cached=True)

    def is_current(self, answer: QuoteAnswer) -> bool:  # noqa: ARG002
        return True


class _NoDumps:
    def write(self, _entry: Entry, _user: str, _sequence: int, _most: int | None = None) -> Mapping[str, Any]:
        return {"location": "nowhere"}


class _SteppedQueues(UserQueues):
    """The queues of a server's users, waited in step by step."""

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self._weather = weather
        self._taken: set[str] = set()

    def take(self, user: str, deadline: Deadline) -> bool:  # noqa: ARG002  # real time plays no part
        waited = False
        while user in self._taken:
            self._weather.step("waits for its turn")
            waited = True
        self._taken.add(user)
        return waited

    def pass_on(self, user: str) -> None:
        self._taken.discard(user)


class SimulatedSchedule(Weather):
    """Carries a schedule out. Afterwards `database` and `sent` are what there is to judge."""

    def __init__(
        self,
        seed: int,
        size: Size | None = None,
        *,
        guarded: bool = True,
        make_store: MakeStore = ModelStore,
        say: Say = lambda _: None,
    ) -> None:
        self._random = Random(seed)  # noqa: S311  # repeatable, no secret
        self._size = size or Size()
        self._make_store = make_store
        self._say = say
        self._now_ms = 1_000_000_000_000
        # Some schedules are nearly calm, so that rare things meet well-known ones; others are storms.
        self._trouble = self._random.choice((0.02, 0.1, 0.3))
        self._actors: list[Actor] = []
        self._held: list[Actor] = []
        self._watched: dict[Actor, tuple[_Client, Sent] | None] = {}
        self._current: Actor | None = None
        self.steps = 0
        self.failures: list[str] = []
        self.database = ModelDatabase(guarded=guarded)
        self._started = 0
        self._servers = [self._start() for _ in range(self._size.servers)]
        self._clients = [_Client(list(self._commands(f"user{number}"))) for number in range(self._size.users)]

    @property
    def sent(self) -> list[Sent]:
        """Return every command that a client gave, a user's in their order."""
        return [sent for client in self._clients for sent in client.sent if sent.acknowledged or sent.given_up]

    def run(self) -> None:
        """Carry it out until every command is answered or given up, and nothing is under way any more."""
        while any(client.current is not None for client in self._clients):
            self._do_something()
        self._calm_down()
        for actor in list(self._held):  # most requests of a suspended server go on after all the newer ones
            self._resume(actor)
        while self._actors:
            self.steps += 1
            self._let_run(self._random.choice(self._actors))
            self._deliver_late_writes()
        self._deliver_late_writes()

    # What may happen

    def _do_something(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise RuntimeError("the schedule does not come to an end")
        if self.steps == MOST_STEPS // 2:
            self._calm_down()
        for actor in [one for one in self._held if self._went_on_by(one) >= LONGEST_HOLD]:
            self._resume(actor)
        draw = self._random.random()
        if draw < self._trouble * 0.1:
            self._crash(self._random.randrange(len(self._servers)))
        elif draw < self._trouble * 0.2:
            self._now_ms += self._random.choice((1, 20_000, 70_000))
        elif draw < self._trouble * 0.5 and self.database.late:
            self._deliver(self._random.randrange(len(self.database.late)))
        elif draw < self._trouble * 0.6 + 0.01:
            self._sweep()
        elif draw < self._trouble * 0.7 + 0.01:
            self._suspend(self._random.randrange(len(self._servers)))
        else:
            self._go_on()

    def _go_on(self) -> None:
        idle = [client for client in self._clients if client.current is not None and not client.waiting]
        if idle and (not self._actors or self._random.random() < 0.3):
            client = self._random.choice(idle)
            assert client.current is not None
            self._send(client, client.current)
            if client.current.command.key is not None and self._random.random() < self._trouble:
                self._send(client, client.current)  # the same request a second time
        elif self._actors:
            self._let_run(self._random.choice(self._actors))

    def _send(self, client: _Client, sent: Sent) -> None:
        server = self._random.choice(self._servers)
        name = f"{sent.command.user} {sent.command.name} [{sent.command.transaction}] on {server.name}"
        client.waiting += 1
        self._begin(Actor(name, server, partial(server.trading.execute, sent.command)), (client, sent))

    def _sweep(self) -> None:
        server = self._random.choice(self._servers)
        user = f"user{self._random.randrange(self._size.users)}"

        def decide(account: Account, now_ms: int) -> Decision | None:
            return settle(account, PRICES, now_ms)

        work = partial(write_for_system, server.store, self._clock, user, decide, NEVER_OVER_MS)
        self._begin(Actor(f"sweep of {user} on {server.name}", server, work), None)

    def _begin(self, actor: Actor, watched: tuple[_Client, Sent] | None) -> None:
        self._say(f"{actor.name} begins")
        self._actors.append(actor)
        self._watched[actor] = watched

    def _suspend(self, place: int) -> None:
        """Let all in a server stand still, mostly until the end; their clients try elsewhere, it gets nothing new."""
        server = self._servers[place]
        self._say(f"{server.name} stands still")
        for actor in self._of(server):
            self._actors.remove(actor)
            self._held.append(actor)
            self._give_up_on(actor)
        self._servers[place] = self._start()

    def _resume(self, actor: Actor) -> None:
        self._say(f"{actor.name} goes on")
        self._held.remove(actor)
        self._actors.append(actor)

    def _went_on_by(self, actor: Actor) -> int:
        """Return by how many commands a request's client is past it; 0 of a sweep, which has no client."""
        watched = self._watched[actor]
        return 0 if watched is None else watched[0].place - watched[0].sent.index(watched[1])

    def _crash(self, place: int) -> None:
        server = self._servers[place]
        self._say(f"{server.name} crashes")
        for actor in self._of(server):
            self._current = actor
            actor.crash()
            self._has_ended(actor)
        self._servers[place] = self._start()

    def _of(self, server: _Server) -> list[Actor]:
        return [actor for actor in self._actors if actor.server is server]

    def _give_up_on(self, actor: Actor) -> None:
        """Let a client wait no longer for one of the requests it sent: it sends it again, or forgets it."""
        watched = self._watched[actor]
        if watched is None or watched[1] is not watched[0].current:
            return
        client, sent = watched
        client.waiting -= 1
        if sent.command.key is None:
            sent.given_up = True
            client.goes_on()

    def _deliver(self, place: int) -> None:
        write = self.database.late.pop(place)
        applied = self.database.apply(write)
        self._say(f"a late write of {write.account.user} for version {write.version} arrives: {applied}")

    def _deliver_late_writes(self) -> None:
        while self.database.late:
            self._deliver(0)

    def _calm_down(self) -> None:
        self._trouble = 0.0

    def _let_run(self, actor: Actor) -> None:
        self._current = actor
        actor.run()
        if actor.is_done:
            self._has_ended(actor)

    def _has_ended(self, actor: Actor) -> None:
        self._actors.remove(actor)
        self._say(f"{actor.name} ends: {actor.error or getattr(actor.result, 'entry', actor.result)!r}")
        if actor.error is not None and not isinstance(actor.error, CrashedError):
            self.failures.append(f"{actor.name}: {actor.error!r}")
        if actor.error is not None:
            self._give_up_on(actor)
        elif (watched := self._watched[actor]) is not None:
            client, sent = watched
            sent.answers.append(actor.result)
            if sent is client.current:
                sent.acknowledged = True
                client.goes_on()

    def _start(self) -> _Server:
        """Return a server that has just been started: it remembers nothing."""
        self._started += 1
        store = self._make_store(self.database, self)
        trading = Trading(store, _Quotes(), _NoDumps(), self._clock, _SteppedQueues(self), NEVER_OVER_MS)
        return _Server(f"server {self._started}", trading, store)

    def _clock(self) -> int:
        self._now_ms += 1
        return self._now_ms

    def _commands(self, user: str) -> Iterator[Sent]:
        number = int(user.removeprefix("user")) * 1_000
        for place in range(self._size.commands):
            name = CommandName.ADD if place == 0 else self._random.choice(_NAMES)
            priced = name in _WITH_SYMBOL
            amount = self._random.randint(1, 1500) if name in _WITH_AMOUNT else None
            transaction = number + place + 1
            # Most clients send keys; a command without one is never sent again.
            key = f"key-{transaction}" if self._random.random() < 0.85 else None
            symbol = self._random.choice(SYMBOLS) if priced else None
            yield Sent(Command(name, user, transaction, symbol=symbol, amount_cents=amount, key=key))

    # The weather of the model

    def step(self, what: str) -> None:
        """Hand over to somebody else."""
        assert self._current is not None
        self._say(f"{self._current.name} {what}")
        self._current.step()

    def reading(self) -> ReadingKind:
        """Draw what comes of a read."""
        if self._random.random() >= self._trouble:
            return ReadingKind.RIGHT
        return self._random.choice((ReadingKind.OLD, ReadingKind.LOST))

    def sending(self) -> Sending:
        """Draw what comes of a write."""
        if self._random.random() >= self._trouble:
            return Sending.ARRIVES
        return self._random.choice((Sending.TWICE, Sending.LATE, Sending.NEVER))

    def answer_arrives(self) -> bool:
        """Draw whether an answer arrives."""
        return self._random.random() >= self._trouble


_WITH_SYMBOL = frozenset(
    {
        CommandName.QUOTE,
        CommandName.BUY,
        CommandName.SELL,
        CommandName.SET_BUY_AMOUNT,
        CommandName.SET_BUY_TRIGGER,
        CommandName.CANCEL_SET_BUY,
        CommandName.SET_SELL_AMOUNT,
        CommandName.SET_SELL_TRIGGER,
        CommandName.CANCEL_SET_SELL,
    }
)
_WITH_AMOUNT = _WITH_SYMBOL - {CommandName.QUOTE, CommandName.CANCEL_SET_BUY, CommandName.CANCEL_SET_SELL} | {
    CommandName.ADD
}
_NAMES = [*sorted(set(CommandName) - {CommandName.DUMPLOG}), CommandName.ADD, CommandName.BUY, CommandName.COMMIT_BUY]


@contextmanager
def no_pauses() -> Iterator[None]:
    """Let tries follow each other without the pauses that real time needs: here, order is all there is."""
    before = tries.FIRST_PAUSE_SECONDS
    tries.FIRST_PAUSE_SECONDS = 0.0
    try:
        yield
    finally:
        tries.FIRST_PAUSE_SECONDS = before
