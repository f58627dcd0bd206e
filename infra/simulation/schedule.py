"""One schedule: users, servers, a database and a cache, and what happens to them, in an order drawn from a seed."""

import json
import random as shared_random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from unittest import mock

from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.errors import PermanentError, StoreUnavailableError, UnavailableError
from chalicelib.service.trading import Answer
from chalicelib.store import accounts as store_accounts
from chalicelib.store import key_filter, user_journal
from chalicelib.store.errors import StoreError
from infra.simulation.driver import Link, ModelledDatabase
from infra.simulation.mongod import ReplicaSet
from infra.simulation.redis import ModelledRedis, RedisServer
from infra.simulation.scheduler import Actor, CrashedError, Process, Say, Scheduler
from infra.simulation.server import (
    LIMIT_MS,
    NAMESPACE,
    START_MS,
    SYMBOLS,
    TOLERANCE_MS,
    Look,
    SimulatedServer,
    UnreliableSource,
)
from infra.simulation.storm import MS, Storm
from infra.simulation.waits import in_virtual_time

KNOWN_KEYS = 32
"""More than a user can give within the time limit and the tolerance: each command takes at least 10 ms."""

KNOWN_COMMANDS = 20
"""After how many later commands one is repeated at most: fewer than KNOWN_KEYS, because sweeps write entries too."""

CLIENT_NS = 600 * MS
"""How long a client waits for an answer before it sends its command again."""

MOST_TRIES = 12
MOST_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a schedule; with 0 commands the number is drawn."""

    users: int = 2
    commands: int = 0
    servers: int = 2


@dataclass(slots=True)
class Sent:
    """A client's command and its outcome."""

    command: Command
    given_ns: int = 0
    answers: list[Answer] = field(default_factory=list)
    """All answers of servers, whether the client still waited for them or not."""
    errors: list[BaseException] = field(default_factory=list)
    requests: int = 0
    reached_in_time: bool = False
    """Whether a request with it reached a server in time after it arrived at the balancer."""
    acknowledged: bool = False

    @property
    def surely_not_done(self) -> bool:
        """Return whether each request was answered, and each answer said that nothing was changed."""
        unsaid = any(isinstance(error, StoreUnavailableError | CrashedError) for error in self.errors)
        return self.requests > 0 and len(self.errors) == self.requests and not unsaid


class SimulatedSchedule:
    """Runs a schedule. Afterwards `members`, `sent`, `source` and `looks` are there to be judged."""

    def __init__(self, seed: int, size: Size | None = None, *, say: Say | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 (repeatable, no secret)
        self._seed = seed
        self._size = size or Size()
        self._say = say
        self.storm = Storm(self.random)
        self.scheduler = Scheduler(START_MS)
        self.members = ReplicaSet()
        self.redis = RedisServer(self.scheduler)
        self.source = UnreliableSource(self.random, self.scheduler, self.storm)
        self.looks: list[Look] = []
        self.failures: list[str] = []
        self.part_entries = self.random.choice((3, 5, 8))
        self._servers: list[SimulatedServer] = []
        self._started = 0
        self._at_work = 0
        self._watched: dict[Actor, Callable[[Actor], None]] = {}
        commands = self._size.commands or self.random.choice((6, 12, 12, 60))
        self._clients = [
            [Sent(command) for command in self._commands(f"user{number}", number, commands)]
            for number in range(self._size.users)
        ]

    @property
    def steps(self) -> int:
        """Return how many steps were taken."""
        return self.scheduler.steps

    @property
    def sent(self) -> list[Sent]:
        """Return every command that was given, each user's in order."""
        return [sent for client in self._clients for sent in client if sent.requests]

    def run(self) -> None:
        """Run until every command is answered or given up, and nothing is in flight."""
        shared_random.seed(self._seed)  # for the jitter between tries
        with ExitStack() as stack:
            stack.enter_context(in_virtual_time(self.scheduler))
            for module, name, value in (
                (store_accounts, "PART_ENTRIES", self.part_entries),
                (user_journal, "PART_ENTRIES", self.part_entries),
                (key_filter, "GENERATION_KEYS", KNOWN_KEYS),
            ):
                stack.enter_context(mock.patch.object(module, name, value))
            self._carry_out()

    def _carry_out(self) -> None:
        self.scheduler.ended = self._has_ended
        outside = Process("outside", 0)
        for _ in range(self._size.servers):
            self._servers.append(self._start())
        for number, client in enumerate(self._clients):
            self._at_work += 1
            self._begin(f"client {number}", outside, partial(self._be_client, client), self._client_ends)
        self.scheduler.run_until(lambda: not self._at_work or self.steps > MOST_STEPS)
        if self.steps > MOST_STEPS:
            raise RuntimeError("the schedule does not come to an end")
        self.storm.calm_down()
        for server in self._servers:
            server.process.offset_ns = 0
        self.scheduler.at(600_000 * MS, lambda: None)  # whatever is in flight arrives
        while self.scheduler.is_busy:
            self.scheduler.run_one()

    # Clients

    def _be_client(self, sents: list[Sent]) -> None:
        draw, scheduler = self.random, self.scheduler
        for place, sent in enumerate(sents):
            if draw.random() < 0.05:
                away_ns = draw.choice((1_000, 20_000, 70_000)) * MS  # orders and quotes expire
                scheduler.at(draw.randint(0, away_ns), self._sweep)
                scheduler.sleep(away_ns)
            sent.given_ns = scheduler.now_ns
            for _ in range(MOST_TRIES):
                answer = self._ask(sent)
                if isinstance(answer, Answer):
                    sent.acknowledged = True
                    break
                unknown = answer is None or isinstance(answer, StoreUnavailableError | CrashedError)
                if (unknown and sent.command.key is None) or isinstance(answer, PermanentError):
                    break
                scheduler.sleep(draw.randint(5 * MS, 40 * MS))
            if draw.random() < 0.1:
                self._look(sent.command.user)
            # A client that has forgotten an answer repeats the command, after later ones.
            earlier = draw.choice(sents[max(0, place - KNOWN_COMMANDS) : place + 1])
            if draw.random() < 0.05 and earlier.acknowledged and earlier.command.key is not None:
                self._ask(earlier)

    def _ask(self, sent: Sent) -> Any:
        """Send a command to a server and return its answer, or None."""
        draw, scheduler, storm = self.random, self.scheduler, self.storm
        token = scheduler.token()
        if draw.random() < 0.05:
            scheduler.at(draw.randint(0, 40 * MS), self._sweep)
        if storm.happens(3.0):
            scheduler.at(draw.randint(0, 60 * MS), self._trouble)
        copies = 2 if sent.command.key is not None and storm.happens() else 1
        for copy in range(copies):
            server = draw.choice(self._servers)
            passage = storm.passage()
            lies_ns = draw.choice((0, draw.randint(0, LIMIT_MS), 60_000)) * MS if copy else 0
            # The balancer stamps the arrival, by a clock that is slightly off; then it may be delayed in a socket.
            arrived_ms = scheduler.now_ns // MS + draw.randint(-20, 20)
            sent.requests += 1
            answer = partial(self._answered, sent, token, passage.back_ns)
            if passage.there_ns is not None:
                scheduler.at(passage.there_ns + lies_ns, partial(self._serve, server, sent, arrived_ms, answer))
        return scheduler.wait(CLIENT_NS)

    def _serve(self, server: SimulatedServer, sent: Sent, arrived_ms: int, answer: Callable[[Actor], None]) -> None:
        if server.process.is_dead:
            return
        sent.reached_in_time |= self.scheduler.now_ns // MS <= arrived_ms + LIMIT_MS + 2 * TOLERANCE_MS
        command = sent.command
        name = f"{command.user} {command.name} [{command.transaction}] on {server.process.name}"
        self._begin(name, server.process, partial(server.trading.execute, command, arrived_ms), answer)

    def _answered(self, sent: Sent, token: Any, back_ns: int | None, actor: Actor) -> None:
        outcome: Any = actor.result
        if actor.error is None:
            sent.answers.append(outcome)
        else:
            outcome = actor.error
            sent.errors.append(actor.error)
            if not isinstance(actor.error, UnavailableError | PermanentError | CrashedError):
                self.failures.append(f"{actor.name}: {actor.error!r}")
        if back_ns is not None and not isinstance(actor.error, CrashedError):
            self.scheduler.at(back_ns, lambda: self.scheduler.wake(token, outcome))

    def _client_ends(self, actor: Actor) -> None:
        self._at_work -= 1
        if actor.error is not None:
            self.failures.append(f"{actor.name}: {actor.error!r}")

    def _begin(self, name: str, process: Process, work: Callable[[], Any], ended: Callable[[Actor], None]) -> None:
        self._note(f"{name} begins")
        self._watched[self.scheduler.begin(name, process, work)] = ended

    def _has_ended(self, actor: Actor) -> None:
        if self._say is not None:
            self._note(f"{actor.name} ends: {actor.error or getattr(actor.result, 'entry', actor.result)!r}")
        if (ended := self._watched.pop(actor, None)) is not None:
            ended(actor)

    def _note(self, what: str) -> None:
        if self._say is not None:
            self._say(f"{self.scheduler.now_ns / 1e6 - START_MS:12.3f} ms  {what}")

    # Trouble

    def _trouble(self) -> None:
        """Inject a fault into the servers, the database or the cache."""
        draw = self.random
        if self.storm.is_calm or not self._servers:
            return
        place = draw.randrange(len(self._servers))
        server = self._servers[place]
        match draw.randrange(9):
            case 0:
                self._note(f"{server.process.name} crashes")
                self._servers[place] = self._start()
                self.scheduler.crash(server.process)
            case 1 | 2:
                seconds = draw.choice((0.1, 0.5, 2, 60, 200)) * draw.uniform(0.5, 1.5)
                self._note(f"{server.process.name} stands still for {seconds:.3f} s")
                server.process.stands_until_ns = self.scheduler.now_ns + round(seconds * 1e9)
                if draw.random() < 0.5:  # it is replaced, and continues beside its successor later
                    self._servers[place] = self._start()
            case 3:
                offset_ms = draw.choice((0, 20, -20, 5_000, -5_000, 90_000, -90_000))
                self._note(f"the clock of {server.process.name} is set {offset_ms} ms off")
                server.process.offset_ns = offset_ms * MS
            case 4:
                self._note("another member becomes primary")
                self.members.fail_over()
            case 5:
                self._note("a primary is deposed and does not know")
                self.storm.oldest_moment, self.storm.is_partitioned = self.members.confirmed, True
                self.scheduler.at(draw.randint(50 * MS, 5_000 * MS), self._heal)
            case 6:
                self._note("the quote source falls silent")
                self.source.silent_until_ns = self.scheduler.now_ns + draw.randint(100, 1_000) * MS
            case 7:
                self._note("the cache loses everything")
                self.redis.forget_all()
            case _:
                self._spoil_the_cache()

    def _heal(self) -> None:
        self.storm.is_partitioned = False

    def _spoil_the_cache(self) -> None:
        """Write a foreign value to the cache."""
        key = f"{NAMESPACE}:quote:{self.random.choice(SYMBOLS)}{self.random.choice(('', ':lock'))}"
        self._note(f"somebody writes to {key}")
        left_ms = self.redis.do("PTTL", key)
        match self.random.randrange(4):
            case 0:
                self.redis.do("SET", key, b"[1, 2")
            case 1:
                self.redis.do("DEL", key)
                self.redis.do("ZADD", key, 1, "x")
            case 2:
                if left_ms > 0:
                    self.redis.do("PEXPIRE", key, 3_600_000)
            case _:
                if left_ms > 0 and not key.endswith(":lock"):
                    *parts, asked_ms = json.loads(self.redis.do("GET", key))
                    self.redis.do("SET", key, json.dumps([*parts, asked_ms + 1_000_000_000]), "PX", left_ms)

    def _sweep(self) -> None:
        server = self.random.choice(self._servers)
        self._begin(f"sweep on {server.process.name}", server.process, server.sweeper.sweep, self._swept)

    def _look(self, user: str) -> None:
        server = self.random.choice(self._servers)
        name = f"look at {user} on {server.process.name}"
        self._begin(name, server.process, partial(server.look, user), self._looked)

    def _looked(self, actor: Actor) -> None:
        if actor.error is None:
            self.looks.append(actor.result)
        elif not isinstance(actor.error, StoreError | CrashedError):
            self.failures.append(f"{actor.name}: {actor.error!r}")

    def _swept(self, actor: Actor) -> None:
        if actor.error is not None and not isinstance(actor.error, UnavailableError | CrashedError):
            self.failures.append(f"{actor.name}: {actor.error!r}")

    def _start(self) -> SimulatedServer:
        """Return a newly started server."""
        self._started += 1
        process = Process(f"server {self._started}", self._started)
        if self.storm.happens(3.0):
            process.offset_ns = self.random.randint(-30, 30) * MS
        database = ModelledDatabase(Link(self.scheduler, self.storm, self.members))
        redis = ModelledRedis(self.scheduler, self.storm, self.redis)
        return SimulatedServer(process, self.random, database, redis, self.source)

    def _commands(self, user: str, number: int, count: int) -> Iterator[Command]:
        draw = self.random
        for place in range(count):
            name = CommandName.ADD if place == 0 else draw.choice(_NAMES)
            transaction = number * 1_000 + place + 1
            amount = draw.randint(1, 1500) if name in _WITH_AMOUNT else None
            if name is CommandName.ADD:
                amount = draw.randint(500, 5_000)
            if name in {CommandName.SET_BUY_TRIGGER, CommandName.SET_SELL_TRIGGER}:
                amount = draw.randint(80, 200)
            # Most clients send keys; a command without one is retried only if it certainly changed nothing.
            key = f"key-{transaction}" if draw.random() < 0.85 else None
            symbol = draw.choice(SYMBOLS) if name in _WITH_SYMBOL else None
            yield Command(name, user, transaction, symbol=symbol, amount_cents=amount, key=key)


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
_NAMES = [
    *sorted(set(CommandName) - {CommandName.DUMPLOG}),
    CommandName.ADD,
    CommandName.BUY,
    CommandName.BUY,
    CommandName.COMMIT_BUY,
    CommandName.COMMIT_BUY,
    CommandName.SELL,
]
