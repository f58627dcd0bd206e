"""One sweep: release what has expired, fire what is due, within a time limit."""

import logging
import random
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from chalicelib import concurrency
from chalicelib.clock import Clock, monotonic_seconds
from chalicelib.domain.account import Account
from chalicelib.domain.decide import Decision
from chalicelib.domain.errors import PermanentError, StoreUnavailableError, UnavailableError
from chalicelib.domain.journal import OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.domain.system import settle
from chalicelib.service.account_write import Store, Written, write_for_system
from chalicelib.service.late_answers import log_unaudited
from chalicelib.service.trading import Quotes
from chalicelib.store.due import Holder
from chalicelib.store.errors import StoreError
from chalicelib.sweep.report import Report

log = logging.getLogger(__name__)

WRITE_LIMIT_MS = 5_000
"""How long one account is tried: the next sweep finds what is left."""

GATHER_SECONDS = 0.02
"""How long early quotes wait for others, so that an account's triggers fire together."""


class Due(Protocol):
    """Finds the sweep's work; see `chalicelib.store.due.DueAccounts`."""

    def symbols(self) -> list[str]:
        """Return the symbols that have an active trigger, sorted."""

    def holder(self, symbol: str) -> Holder | None:
        """Return a user with an active trigger on a symbol."""

    def due(self, prices: Mapping[str, int], batch: int) -> Iterator[list[str]]:
        """Yield the users with a trigger that fires at these prices."""

    def expired(self, now_ms: int, batch: int) -> Iterator[list[str]]:
        """Yield the users with an expired order."""

    def place(self) -> str | None:
        """Return the symbol after which this sweep begins."""

    def keep_place(self, symbol: str) -> None:
        """Save the symbol after which the next sweep begins."""


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """The bounds of a sweep.

    After `time_ms` nothing new is begun; work in progress ends by its own limits. `quotes_at_once` and `writes_at_once`
    bound concurrency, `batch` how many accounts are held at a time.
    """

    time_ms: int
    quotes_at_once: int
    writes_at_once: int
    batch: int


def never() -> bool:
    """Never stop the sweep early."""
    return False


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Sweeps; any number may run at the same time, in any number of processes."""

    store: Store
    due: Due
    quotes: Quotes
    clock: Clock
    limits: SweepLimits

    def sweep(self, stopping: Callable[[], bool] = never) -> Report:
        """Do what is due and return a report; begin nothing new once `stopping` returns True.

        Raises StoreUnavailableError if the database does not list the work, ClockSkewError and IndexConflictError. What
        is done by then stays done; the next sweep continues.
        """
        try:
            self.store.make_indexes()
            self.clock()
        except StoreError as error:
            raise StoreUnavailableError(f"the database does not answer: {error}") from error
        with (
            concurrency.ThreadPoolExecutor(self.limits.quotes_at_once, "quotes") as asking,
            concurrency.ThreadPoolExecutor(self.limits.writes_at_once, "writes") as writing,
        ):
            return _Sweep(self, asking, writing, stopping).run()


@dataclass(frozen=True, slots=True)
class _Asked:
    """The result of asking for a symbol's quote; neither a quote nor a failure if its triggers are gone.

    `noted_at` is the user in whose journal a hit is recorded.
    """

    answer: QuoteAnswer | None = None
    noted_at: Holder | None = None
    failed: bool = False


Hits = dict[str, list[QuoteHit]]
"""Hits on the source to be recorded, by user."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """The result for one account; it was skipped if the time was up before its turn."""

    written: Written | None = None
    outdated: bool = False
    failed: bool = False
    skipped: bool = False


class _Sweep:
    """A sweep in progress. Only the thread that runs it writes the report."""

    def __init__(
        self,
        sweeper: Sweeper,
        asking: concurrency.ThreadPoolExecutor,
        writing: concurrency.ThreadPoolExecutor,
        stopping: Callable[[], bool],
    ) -> None:
        self._sweeper = sweeper
        self._asking = asking
        self._writing = writing
        self._stopping = stopping
        self._started = monotonic_seconds()
        self._report = Report()

    def run(self) -> Report:
        """Release expired orders, then fire due triggers."""
        self._give_back()
        self._fire()
        self._report.seconds = monotonic_seconds() - self._started
        return self._report

    def _is_over(self) -> bool:
        return self._has_taken(self._sweeper.limits.time_ms) or self._stopping()

    def _has_taken(self, time_ms: float) -> bool:
        return (monotonic_seconds() - self._started) * 1000 >= time_ms

    def _give_back(self) -> None:
        """Release expired orders; half of the time is left for the triggers, however many orders there are."""
        sweeper = self._sweeper
        half_time_ms = sweeper.limits.time_ms / 2
        expired = sweeper.due.expired(sweeper.clock(), sweeper.limits.batch)
        if not self._settle(expired, {}, {}, lambda: self._has_taken(half_time_ms) or self._stopping()):
            self._report.complete = False

    def _fire(self) -> None:
        """Fire due triggers, symbol by symbol, starting where the previous sweep had to stop."""
        due, report = self._sweeper.due, self._report
        symbols = begin_after(due.place(), due.symbols())
        all_fired = True
        with closing(self._answers(symbols)) as groups:
            for answers in groups:
                quotes = {asked.answer.quote.symbol: asked.answer for asked in answers if asked.answer is not None}
                report.symbols += len(answers)
                report.quotes += len(quotes)
                report.unpriced += sum(asked.failed for asked in answers)
                prices = {symbol: answer.quote.price_cents for symbol, answer in quotes.items()}
                all_fired &= self._settle(self._due(prices), quotes, _hits_of(answers), self._is_over)
        if report.symbols == len(symbols) and all_fired:
            return
        report.complete = False
        if report.symbols == len(symbols):
            # All symbols were visited starting with this one. Start with another next time, or the same would always be
            # last.
            due.keep_place(symbols[0])
        elif report.symbols:
            due.keep_place(symbols[report.symbols - 1])

    def _due(self, prices: Mapping[str, int]) -> Iterator[list[str]]:
        for users in self._sweeper.due.due(prices, self._sweeper.limits.batch):
            self._report.due += len(users)
            yield users

    def _answers(self, symbols: Sequence[str]) -> Generator[list[_Asked], None, None]:
        """Ask for the quotes in this order, a few at a time; yield them as they come: none waits for a slow one."""
        rest = iter(symbols)
        waiting: set[Future[_Asked]] = set()
        try:
            while True:
                room = 0 if self._is_over() else self._sweeper.limits.quotes_at_once - len(waiting)
                waiting |= {self._asking.submit(self._ask, symbol) for symbol in islice(rest, room)}
                if not waiting:
                    return
                done, waiting = concurrency.wait(waiting, GATHER_SECONDS)
                if not done:
                    done, waiting = concurrency.wait(waiting, return_when=FIRST_COMPLETED)
                yield [future.result() for future in done]
        finally:
            self._note(_hits_of([future.result() for future in concurrency.wait(waiting).done]))

    def _ask(self, symbol: str) -> _Asked:
        """Get the current quote on behalf of a user with a trigger on the symbol, in whose journal a hit is recorded.

        It is not recorded here: one user may have triggers on several symbols, and the writes would race.
        """
        sweeper = self._sweeper
        try:
            holder = sweeper.due.holder(symbol)
            if holder is None:
                return _Asked()
            answer = sweeper.quotes.get(symbol, holder.user)
            return _Asked(answer, None if answer.cached else holder)
        except (PermanentError, UnavailableError) as error:
            log.warning("the triggers on %s wait for the next sweep: %s", symbol, error)
        except Exception:
            log.exception("the triggers on %s wait for the next sweep", symbol)
        return _Asked(failed=True)

    def _settle(
        self, batches: Iterator[list[str]], quotes: Mapping[str, QuoteAnswer], hits: Hits, is_over: Callable[[], bool]
    ) -> bool:
        """Settle accounts until the time is up, each in one write; return whether all had their turn.

        `hits` are recorded in the same writes; for users with nothing to settle they are recorded alone, in any case.
        """
        try:
            for users in batches:
                random.shuffle(users)  # so that concurrent sweeps seldom meet at the same account
                settle_one = partial(self._settle_one, quotes=quotes, is_over=is_over)
                settled = list(self._writing.map(settle_one, users, [hits.pop(user, []) for user in users]))
                for one in settled:
                    self._count(one)
                if any(one.skipped for one in settled):
                    return False
            return True
        finally:
            self._note(hits)

    def _note(self, hits: Hits) -> None:
        """Record hits for which there is nothing else to write."""
        note_one = partial(self._settle_one, quotes={}, is_over=never)
        for one in self._writing.map(note_one, hits.keys(), hits.values()):
            self._count(one)

    def _settle_one(
        self, user: str, hits: Sequence[QuoteHit], quotes: Mapping[str, QuoteAnswer], is_over: Callable[[], bool]
    ) -> _Settled:
        over = is_over()
        if over and not hits:
            return _Settled(skipped=True)
        settling = Settling({} if over else quotes, self._sweeper.quotes.is_current, hits)
        try:
            written = write_for_system(self._sweeper.store, self._sweeper.clock, user, settling, WRITE_LIMIT_MS)
            if settling.outdated:
                symbols = ", ".join(settling.outdated)
                log.warning("the triggers of %s on %s wait for the next sweep: their quotes expired", user, symbols)
            return _Settled(written, outdated=bool(settling.outdated), skipped=over)
        except (PermanentError, UnavailableError) as error:
            log.warning("what is due of %s waits for the next sweep: %s", user, error)
        except Exception:
            log.exception("what is due of %s waits for the next sweep", user)
        log_unaudited(hit.quote for hit in hits)
        return _Settled(failed=True, skipped=over)

    def _count(self, settled: _Settled) -> None:
        report, written = self._report, settled.written
        report.failed += settled.failed
        report.outdated += settled.outdated
        if written is not None:
            events = () if written.entry is None else written.entry.events
            report.fired += sum(isinstance(event, TriggerFired) for event in events)
            report.expired += sum(isinstance(event, OrderExpired) for event in events)
            report.lost_races += written.lost_races


def begin_after(place: str | None, symbols: Sequence[str]) -> list[str]:
    """Return the sorted symbols, rotated to begin after `place`."""
    if place is None:
        return list(symbols)
    start = bisect_right(symbols, place)
    return [*symbols[start:], *symbols[:start]]


def _hits_of(answers: Iterable[_Asked]) -> Hits:
    hits: Hits = {}
    for asked in answers:
        if asked.answer is not None and asked.noted_at is not None:
            hit = QuoteHit(asked.answer.quote, asked.noted_at.transaction)
            hits.setdefault(asked.noted_at.user, []).append(hit)
    return hits


class Settling:
    """Settles an account at those quotes that may still be used; triggers on `outdated` symbols wait.

    `hits` on the source are recorded with it.
    """

    def __init__(
        self,
        quotes: Mapping[str, QuoteAnswer],
        is_current: Callable[[QuoteAnswer], bool],
        hits: Sequence[QuoteHit] = (),
    ) -> None:
        self._quotes = quotes
        self._is_current = is_current
        self._hits = hits
        self.outdated: list[str] = []

    def __call__(self, account: Account, now_ms: int) -> Decision | None:
        """Return the decision for the account now, None if there is nothing to do; called again after a lost race."""
        usable = {symbol: answer for symbol, answer in self._quotes.items() if self._is_current(answer)}
        triggers = account.buy_triggers.keys() | account.sell_triggers.keys()
        self.outdated = sorted(triggers & (self._quotes.keys() - usable.keys()))
        prices = {symbol: answer.quote.price_cents for symbol, answer in usable.items()}
        return settle(account, prices, now_ms, self._hits)
