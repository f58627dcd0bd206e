"""A simulated server, and the quote source it asks.

The server runs the code that ships, from the command down to the statements that it sends. Only the clock and waiting,
and what is beyond the network, are simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from chalicelib.circuit_breaker import CircuitBreaker
from chalicelib.clock import moment, now_ms
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.domain.quote import Quote
from chalicelib.quotes.cache import QuoteCache
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.history import Point, PriceHistory
from chalicelib.quotes.process_cache import ProcessQuoteCache
from chalicelib.quotes.questions import Questions
from chalicelib.quotes.retry_policy import QuoteRetryPolicy
from chalicelib.quotes.shared import SharedQuotes
from chalicelib.service.late_answers import LateAnswers
from chalicelib.service.trading import Trading
from chalicelib.service.transaction_numbers import TransactionNumbers
from chalicelib.service.trusted_clock import TrustedClock
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.accounts import Accounts
from chalicelib.store.database_clock import database_ms
from chalicelib.store.due import DueAccounts
from chalicelib.store.grouping import make_reader, make_writer
from chalicelib.store.reads import AccountReads, Numbered
from chalicelib.store.recent import RecentRecords
from chalicelib.store.registry import Registry
from chalicelib.sweep.sweeper import Sweeper, SweepLimits
from infra.simulation.driver import ANSWER_NS
from infra.simulation.scheduler import Process, Scheduler
from infra.simulation.storm import MS, Storm

START_MS = 1_800_000_000_000
LIMIT_MS = 400
"""How long a command may take, from its arrival (COMMAND_TIMEOUT_MS)."""

TOLERANCE_MS = 50
RETRIES = QuoteRetryPolicy(try_ms=30, limit_ms=300, lock_spare_ms=100, longest_pause_ms=50)
NAMESPACE = "simulated"
SYMBOLS = ("A", "B")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that the quote source answered, and the true time."""

    quote: Quote
    at_ns: int


class UnreliableSource:
    """A slow and unreliable quote source that never gives the same price of a symbol twice."""

    def __init__(self, random: Random, scheduler: Scheduler, storm: Storm) -> None:
        self._random, self._scheduler, self._storm = random, scheduler, storm
        self.asked: list[Asked] = []
        self.silent_until_ns = 0
        """The end of an outage."""

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        """Ask once; raises FailedTryError."""
        scheduler, storm, draw = self._scheduler, self._storm, self._random
        asked_ns = scheduler.now_ns
        took_ns = draw.randint(2 * MS, 10 * MS)
        if storm.happens():
            took_ns += draw.choice((40 * MS, 150 * MS, 600 * MS))
        took_ns = max(took_ns, self.silent_until_ns - asked_ns)
        scheduler.sleep(min(took_ns, round(timeout_seconds * 1e9)))
        if took_ns > timeout_seconds * 1e9 or storm.happens(0.5):
            raise FailedTryError("no answer")
        number = len(self.asked)
        # The quote server's own clock is wrong, and must not matter.
        quote = Quote(symbol, 100 + number, user, START_MS + draw.randint(-300_000, 300_000), f"key{number}")
        self.asked.append(Asked(quote, asked_ns))
        return quote


@dataclass(frozen=True, slots=True)
class Look:
    """What a client saw of an account, its journal and a symbol's prices."""

    user: str
    version: int
    newest_first: Sequence[Numbered]
    later_half: Sequence[Numbered]
    points: Sequence[Point]


class _NoDumps:
    def write(self, _entry: Entry, _user: str, _sequence: int, _most: int | None = None) -> Mapping[str, Any]:
        return {"location": "nowhere"}


class SimulatedServer:
    """A process that serves commands and sweeps, wired up like `chalicelib.runtime`."""

    def __init__(self, process: Process, draw: Random, database: Any, redis: Any, source: UnreliableSource) -> None:
        self.process = process
        self.clock = TrustedClock(partial(database_ms, database), TOLERANCE_MS, now_ms)
        registry = Registry(database)
        group = draw.choice((1, 4))
        wait_seconds = ANSWER_NS / 1e9  # both are MONGO_TIMEOUT_MS
        reader = make_reader(database, group, wait_seconds)
        self.accounts = Accounts(
            database,
            process.name,
            RecentRecords(draw.choice((0, 1, 100))),
            make_writer(database, group, wait_seconds),
            reader,
            registry,
        )
        self.reads = AccountReads(database, reader if draw.random() < 0.5 else None)
        self.history = PriceHistory(redis, NAMESPACE)
        self.numbers = TransactionNumbers(registry.number)
        late = LateAnswers(self.accounts, self.clock, self.numbers, LIMIT_MS)
        self.cache = QuoteCache(redis, NAMESPACE, moment, CircuitBreaker(0.05))
        questions = Questions(source, late.record, moment, 4)
        shared = SharedQuotes(self.cache, questions, RETRIES)
        self.quotes = ProcessQuoteCache(shared, moment, 10) if draw.random() < 0.5 else shared
        self.trading = Trading(self.accounts, self.quotes, _NoDumps(), self.clock, UserQueues(), LIMIT_MS)
        self.sweeper = Sweeper(
            Accounts(database, process.name, RecentRecords(0), registry=registry),
            DueAccounts(database),
            self.quotes,
            self.clock,
            SweepLimits(time_ms=2_000, quotes_at_once=2, writes_at_once=2, batch=draw.choice((1, 10))),
        )

    def look(self, user: str) -> Look:
        """Read without a command, as the page does; raises StoreError."""
        self.reads.version(user)
        snapshot = self.reads.snapshot(user)
        newest_first = list(self.reads.newest_first(snapshot))
        later_half = list(self.reads.after(snapshot, snapshot.version // 2))
        try:
            points = self.history.points(SYMBOLS[0], 0, now_ms())
        except QuoteUnavailableError:
            points = []
        return Look(user, snapshot.version, newest_first, later_half, points)
