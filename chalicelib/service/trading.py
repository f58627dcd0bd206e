"""A command from start to end: look up its key, get the quote, wait for its turn, decide and save."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from chalicelib.clock import Clock
from chalicelib.domain.commands import PRICED, Command, CommandName
from chalicelib.domain.decide import DEFAULT_LIMITS, Decision, decide
from chalicelib.domain.errors import (
    FIELD_CODES,
    AccountFullError,
    KeyReusedError,
    PermanentError,
    QuoteUnavailableError,
    TooLateError,
)
from chalicelib.domain.journal import Entry, QuoteHit
from chalicelib.domain.limits import AccountLimits
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hit
from chalicelib.observe.commands import QuotedFrom
from chalicelib.observe.timing import CommandTimer
from chalicelib.service.account_write import AccountWrite, Store, write_for_system
from chalicelib.service.deadline import Deadline
from chalicelib.service.late_answers import log_unaudited
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.record import Record
from chalicelib.store.user_journal import Found


class Quotes(Protocol):
    """Where prices come from; see `chalicelib.quotes`."""

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote, or raise QuoteUnavailableError."""

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""


class DumpWriter(Protocol):
    """Writes audit logs; see `chalicelib.audit.dumps.Dumps`."""

    def write(self, entry: Entry, user: str, sequence: int, most_bytes: int | None = None) -> Mapping[str, Any]:
        """Write the log that a DUMPLOG entry asks for, once, and return what the answer adds.

        The user's logs, including this one, may take `most_bytes`.
        """


class Answer(NamedTuple):
    """The outcome of a command: its entry, what the answer adds, and whether it repeats an earlier outcome."""

    user: str
    entry: Entry
    result: Mapping[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Trading:
    """Executes commands; thread-safe. `limit_ms` bounds the time until a command is saved.

    Commands of one user wait for each other in `queues`, so threads of one process do not race for an account; between
    processes the store's guard decides.
    """

    store: Store
    quotes: Quotes
    dumps: DumpWriter
    clock: Clock
    queues: UserQueues
    limit_ms: int
    limits: AccountLimits = DEFAULT_LIMITS
    decide: Callable[..., Decision] = decide

    def execute(
        self,
        command: Command,
        arrived_ms: int | None = None,
        timer: CommandTimer | None = None,
        most_log_bytes: int | None = None,
    ) -> Answer:
        """Execute a command exactly once and return its outcome, which may be a rejection.

        `arrived_ms` is when its request arrived, by default now: its time limit counts from then. The user's logs,
        including one this command writes, may take `most_log_bytes`. Raises KeyReusedError, QuoteUnavailableError,
        ClockSkewError, TooLateError and PermanentError, after which nothing was changed, and StoreUnavailableError if
        the database did not confirm the change in time: the command may then be sent again only with the same key.
        """
        timer = timer or CommandTimer()
        deadline = Deadline(self.limit_ms, arrived_ms)
        if not deadline.remaining_seconds():
            raise deadline.too_late()
        found, replayed = self._outcome(command, deadline, timer)
        if replayed and not _is_same(found.entry, command):
            raise KeyReusedError(f"the key was used for another command, transaction {found.entry.transaction}")
        result = found.entry.result
        if command.name is CommandName.DUMPLOG and command.refusal is None:
            result = self.dumps.write(found.entry, command.user, found.sequence, most_log_bytes)
        return Answer(command.user, found.entry, result, replayed)

    def _outcome(self, command: Command, deadline: Deadline, timer: CommandTimer) -> tuple[Found, bool]:
        """Return the entry of a command, and whether an earlier request with its key made it."""
        write = AccountWrite(
            self.store,
            self.clock,
            command.user,
            deadline,
            key=command.key,
            wants_latest=command.name is CommandName.DISPLAY_SUMMARY,
            timer=timer,
        )
        # Before a quote is asked for: a repeated command needs none, and need not wait for its turn.
        if command.key is not None and (found := write.earlier_outcome()):
            return found, True
        quote = _CommandQuote(self.quotes, command, timer)
        if command.name in PRICED and command.refusal is None:
            write.check_clock()  # do not ask for a price in vain
            quote.ask()
        try:
            with self.queues.turn(command.user, deadline) as waited:
                if waited:
                    write.forget()
                written = write.carry_out(partial(self._decide, command, quote))
        except (QuoteUnavailableError, TooLateError, PermanentError):
            self._note_hits(command, quote.hits)
            raise
        except Exception:
            log_unaudited(quote.hits)
            raise
        assert written.found is not None, "a command always has an entry"
        events = written.found.entry.events
        recorded = [event.quote for event in events if isinstance(event, QuoteHit)]
        # A quote expired before it was saved, or another request with the key was faster.
        self._note_hits(command, [hit for hit in quote.hits if hit not in recorded])
        return written.found, written.replayed

    def _decide(self, command: Command, quote: "_CommandQuote", record: Record, now_ms: int) -> Decision:
        answer = quote.current()
        if command.name is CommandName.DISPLAY_SUMMARY:
            record = self.store.with_history(record)
        history = record.latest or ()
        return self.decide(record.account, command, answer, now_ms, record.version + 1, history, self.limits)

    def _note_hits(self, command: Command, hits: Sequence[Quote]) -> None:
        """Record hits on the source that the command's entry does not have, or if it has no entry.

        If the account is full, they go to the system's journal.
        """
        for place, hit in enumerate(hits):
            note = partial(note_hit, hit, command.transaction)
            try:
                try:
                    write_for_system(self.store, self.clock, command.user, note, self.limit_ms)
                except AccountFullError:
                    write_for_system(self.store, self.clock, SYSTEM_JOURNAL, note, self.limit_ms)
            except Exception:
                log_unaudited(hits[place:])
                raise


class _CommandQuote:
    """The quote of a command, if it needs one; `hits` are the source's answers."""

    def __init__(self, quotes: Quotes, command: Command, timer: CommandTimer) -> None:
        self._quotes = quotes
        self._symbol = command.symbol
        self._user = command.user
        self._timer = timer
        self._answer: QuoteAnswer | None = None
        self.hits: list[Quote] = []

    def ask(self) -> None:
        """Get the current quote; raises QuoteUnavailableError."""
        assert self._symbol is not None
        self._timer.quoted = QuotedFrom.NOWHERE
        with self._timer.quote:
            answer = self._quotes.get(self._symbol, self._user)
        self._timer.quoted = QuotedFrom.CACHE if answer.cached else QuotedFrom.SOURCE
        if not answer.cached:
            self.hits.append(answer.quote)
        self._answer = answer

    def current(self) -> QuoteAnswer | None:
        """Return a quote that may be used now, or None if none is needed; raises QuoteUnavailableError."""
        if self._answer is not None and not self._quotes.is_current(self._answer):
            self.ask()
        return self._answer


def _is_same(entry: Entry, command: Command) -> bool:
    """Return whether an entry records this command; a repeated request may have another transaction number."""
    refusal = (entry.outcome, entry.message, entry.funds) if entry.outcome in FIELD_CODES else None
    return (entry.command, entry.symbol, entry.amount_cents, entry.filename, entry.of_all, entry.order, refusal) == (
        command.name,
        command.symbol,
        command.amount_cents,
        command.filename,
        command.of_all,
        command.order,
        None if command.refusal is None else (command.refusal.code, command.refusal.message, command.refusal.funds),
    )
