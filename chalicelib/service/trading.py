"""A command from start to end: load the account, get the quote, decide, save; again when another was first."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from chalicelib.clock import Clock
from chalicelib.domain.account import Account
from chalicelib.domain.commands import PRICED, Command, CommandName
from chalicelib.domain.decide import decide
from chalicelib.domain.errors import ClockSkewError, KeyReusedError, QuoteUnavailableError, UnknownDataVersionError
from chalicelib.domain.journal import Entry, Event, QuoteHit
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import note_hit
from chalicelib.service.deadline import Deadline, Turns
from chalicelib.service.system_writes import unknown_since, write
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.record import Found, Record


class Store(Protocol):
    """What a command needs of the store; see `chalicelib.store.accounts.Accounts`."""

    def load(self, user: str) -> Record:
        """Return what is known of a user's account, which may be out of date."""

    def reload(self, user: str) -> Record:
        """Return a user's account as the database has it now."""

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Write the change of a record, or raise LostRaceError or UnknownOutcomeError."""

    def find_key(self, record: Record, key: str) -> Found | None:
        """Return the entry of an idempotency key."""

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        """Return the entry that an attempt wrote after the version `since`."""

    def with_history(self, record: Record) -> Record:
        """Return the record with its latest commands."""


class Quotes(Protocol):
    """Where prices come from; see `chalicelib.quotes`."""

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the current quote, or raise QuoteUnavailableError."""

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""


class Dumps(Protocol):
    """Writes audit logs; see `chalicelib.audit.dumps.Dumps`."""

    def write(self, entry: Entry, user: str, sequence: int) -> Mapping[str, Any]:
        """Write the log that a DUMPLOG entry asks for, once, and return what the answer adds."""


class Answer(NamedTuple):
    """The outcome of a command: its entry, what the answer adds, and whether it is the first outcome repeated."""

    user: str
    entry: Entry
    result: Mapping[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Trading:
    """Executes commands; safe to share between threads. `limit_ms` bounds the time one command may take to be saved.

    Commands of one user wait for each other in `turns`, so that threads of one process do not race for the account;
    between processes the store's guard decides.
    """

    store: Store
    quotes: Quotes
    dumps: Dumps
    clock: Clock
    turns: Turns
    limit_ms: int

    def execute(self, command: Command) -> Answer:
        """Execute a command exactly once and return its outcome, which may be a rejection.

        Raises KeyReusedError, QuoteUnavailableError, ClockSkewError, or StoreUnavailableError when the database did not
        confirm the change in time; after the last three the same command with the same key may be sent again.
        """
        deadline = Deadline(self.limit_ms)
        found, looked_at = (None, None) if command.key is None else self._first_outcome(command, deadline)
        replayed = found is not None
        if found is None:
            hits: list[Quote] = []
            if command.name in PRICED:
                self._check_clock(deadline)  # no price is asked for in vain
            quote = self._quote(command, hits)
            with self.turns.of(command.user, deadline):
                try:
                    found, replayed = self._save(command, quote, hits, looked_at, deadline)
                except (KeyReusedError, QuoteUnavailableError):
                    self._note_unrecorded(command, hits, ())
                    raise
                self._note_unrecorded(command, hits, found.entry.events)
        result = found.entry.result
        if command.name is CommandName.DUMPLOG:
            result = self.dumps.write(found.entry, command.user, found.sequence)
        return Answer(command.user, found.entry, result, replayed)

    def _quote(self, command: Command, hits: list[Quote]) -> QuoteAnswer | None:
        """Return the current quote if the command needs one; a hit on the source is added to `hits`."""
        if command.name not in PRICED:
            return None
        assert command.symbol is not None
        answer = self.quotes.get(command.symbol, command.user)
        if not answer.cached:
            hits.append(answer.quote)
        return answer

    def _check_clock(self, deadline: Deadline) -> None:
        for _ in deadline.tries():
            try:
                self.clock()
            except UnknownOutcomeError as error:
                deadline.note(error)
            else:
                return
        raise deadline.store_unavailable()

    def _note_unrecorded(self, command: Command, hits: Sequence[Quote], events: Sequence[Event]) -> None:
        """Record hits on the source that are not among the events of the command's entry.

        Its quote ran out before it was saved, another request with its key was faster, or there is no entry.
        """
        recorded = [event.quote for event in events if isinstance(event, QuoteHit)]
        for quote in hits:
            if quote not in recorded:
                note = partial(note_hit, quote, command.transaction)
                write(self.store, self.clock, command.user, note, self.limit_ms)

    def _first_outcome(self, command: Command, deadline: Deadline) -> tuple[Found | None, Record]:
        """Look for the key before asking for a quote: a repeated command needs none, nor need it wait for its turn.

        Return what was found, and the record in which it was looked for.
        """
        for _ in deadline.tries():
            try:
                record = self.store.load(command.user)
                return self._find_key(record, command), record
            except UnknownOutcomeError as error:
                deadline.note(error)
        raise deadline.store_unavailable()

    def _save(
        self,
        command: Command,
        quote: QuoteAnswer | None,
        hits: list[Quote],
        looked_at: Record | None,
        deadline: Deadline,
    ) -> tuple[Found, bool]:
        """Decide and save until the write is confirmed; return the entry and whether an earlier request made it.

        One attempt id covers all tries: the guard lets at most one of them through, also when a write whose outcome
        was unknown arrives late. What an attempt wrote is looked for from the version on that its first try of unknown
        outcome was for: other servers may have written any number of entries since. The record `looked_at` does not
        have the command's key.

        A command whose time is up is not begun, however it came to be so late: its key is surely remembered for longer
        than its time, not for ever. The look at the time comes after the record was loaded: whatever happens from then
        on, the guard tells whether that is still the latest.
        """
        attempt = secrets.token_bytes(8)
        since: int | None = None
        for _ in deadline.tries():
            tried: int | None = None
            try:
                record = self.store.load(command.user)
                if since is not None and (found := self.store.find_attempt(record, attempt, since)):
                    return found, False
                if record is not looked_at and (found := self._find_key(record, command)):
                    return found, found.attempt != attempt
                if not deadline.remaining_seconds():
                    break
                now = self.clock()
                if quote is not None and not self.quotes.is_current(quote):
                    quote = self._quote(command, hits)
                if command.name is CommandName.DISPLAY_SUMMARY:
                    record = self.store.with_history(record)
                decision = decide(record.account, command, quote, now, record.version + 1, record.latest or ())
                entry = decision.entry.no_earlier_than(record.last_ms)
                tried = record.version
                after = self.store.save(record, decision.account, entry, attempt)
                return Found(entry, after.version, attempt), False
            except LostRaceError:
                continue
            except (UnknownOutcomeError, ClockSkewError, UnknownDataVersionError) as error:
                since = unknown_since(since, tried, error)
                deadline.note(error)
        raise deadline.store_unavailable()

    def _find_key(self, record: Record, command: Command) -> Found | None:
        if command.key is None:
            return None
        found = self.store.find_key(record, command.key)
        if found is not None and not _is_same(found.entry, command):
            raise KeyReusedError(f"the key was used for another command, transaction {found.entry.transaction}")
        return found


def _is_same(entry: Entry, command: Command) -> bool:
    """Tell whether an entry records this command; its transaction number may differ in a repeated request."""
    return (entry.command, entry.symbol, entry.amount_cents, entry.filename, entry.of_all, entry.order) == (
        command.name,
        command.symbol,
        command.amount_cents,
        command.filename,
        command.of_all,
        command.order,
    )
