"""Where the time of a command goes: loading the account, getting the quote, saving."""

import time
from contextvars import ContextVar
from dataclasses import dataclass

from chalicelib.domain.account import Account
from chalicelib.domain.journal import Entry
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.observe.commands import QuotedFrom
from chalicelib.service.trading import Quotes, Store
from chalicelib.store.record import Found, Record


class Spent:
    """The seconds that a command has spent in each stage, over all its tries.

    And where its quote came from, the last one when there were several; None when it needed none.
    """

    __slots__ = ("load", "quote", "quoted", "save")

    def __init__(self) -> None:
        self.load = self.quote = self.save = 0.0
        self.quoted: QuotedFrom | None = None


class Stages:
    """What the command that runs here has spent; each thread runs a command of its own."""

    def __init__(self) -> None:
        self._spent: ContextVar[Spent] = ContextVar("spent")

    def begin(self) -> Spent:
        """Begin with the next command, and return what it spends from now on."""
        spent = Spent()
        self._spent.set(spent)
        return spent

    def here(self) -> Spent:
        """Return what the command that runs here has spent so far; what is no command's goes nowhere."""
        return self._spent.get(None) or Spent()


@dataclass(frozen=True, slots=True)
class TimedStore:
    """A store whose use is timed: reading is the stage `load`, writing is `save`."""

    store: Store
    stages: Stages

    def load(self, user: str) -> Record:
        """Load a user's account."""
        began = time.perf_counter()
        try:
            return self.store.load(user)
        finally:
            self.stages.here().load += time.perf_counter() - began

    def reload(self, user: str) -> Record:
        """Load a user's account from the database."""
        began = time.perf_counter()
        try:
            return self.store.reload(user)
        finally:
            self.stages.here().load += time.perf_counter() - began

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Write the change of a record."""
        began = time.perf_counter()
        try:
            return self.store.save(record, account, entry, attempt)
        finally:
            self.stages.here().save += time.perf_counter() - began

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry of an idempotency key."""
        began = time.perf_counter()
        try:
            return self.store.find_key(record, key)
        finally:
            self.stages.here().load += time.perf_counter() - began

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote."""
        return self.store.find_attempt(record, attempt, since)

    def with_history(self, record: Record) -> Record:
        """Return a record with its latest commands."""
        began = time.perf_counter()
        try:
            return self.store.with_history(record)
        finally:
            self.stages.here().load += time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class TimedQuotes:
    """Quotes whose use is timed, as the stage `quote`, and that are told apart by where they came from."""

    quotes: Quotes
    stages: Stages

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote."""
        began = time.perf_counter()
        spent = self.stages.here()
        spent.quoted = QuotedFrom.NOWHERE
        try:
            answer = self.quotes.get(symbol, user)
            spent.quoted = QuotedFrom.CACHE if answer.cached else QuotedFrom.SOURCE
            return answer
        finally:
            spent.quote += time.perf_counter() - began

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""
        return self.quotes.is_current(answer)
