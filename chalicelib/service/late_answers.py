"""Answers of the quote source that came too late for the command that asked: hits all the same, and audited."""

from functools import partial

from chalicelib.clock import Clock
from chalicelib.domain.quote import Quote
from chalicelib.domain.system import note_hit
from chalicelib.service.account_write import Store, write_for_system
from chalicelib.service.deadline import Deadline
from chalicelib.service.transaction_numbers import TransactionNumbers
from chalicelib.service.user_queue import UserQueues


class LateAnswers:
    """Records each in the journal of the user it was asked for, under a number of its own.

    The command that asked may be answered by then, and what it did stands in its entry.
    """

    def __init__(
        self, store: Store, clock: Clock, queues: UserQueues, numbers: TransactionNumbers, limit_ms: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._queues = queues
        self._numbers = numbers
        self._limit_ms = limit_ms

    def record(self, quote: Quote) -> None:
        """Record a quote; raises UnavailableError when the database did not confirm it in time."""
        with self._queues.turn(quote.user, Deadline(self._limit_ms)):
            note = partial(note_hit, quote, self._numbers.next())
            write_for_system(self._store, self._clock, quote.user, note, self._limit_ms)
