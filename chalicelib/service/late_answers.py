"""Quotes that came too late to be used: they are hits on the source all the same, and are audited."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from chalicelib.clock import Clock
from chalicelib.domain.quote import Quote
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hits
from chalicelib.service.account_write import Store, write_for_system
from chalicelib.service.transaction_numbers import TransactionNumbers

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LateAnswers:
    """Records late quotes in the system's journal, each under its own number.

    The caller has its answer by then, and may have been a read, which leaves nothing in its user's journal.
    """

    store: Store
    clock: Clock
    numbers: TransactionNumbers
    limit_ms: int

    def record(self, quote: Quote) -> None:
        """Record a quote; raises UnavailableError if the database did not confirm it in time."""
        note = partial(note_hits, [quote], self.numbers.next())
        write_for_system(self.store, self.clock, SYSTEM_JOURNAL, note, self.limit_ms)


def log_unaudited(quotes: Iterable[Quote]) -> None:
    """Log hits on the source that the database did not confirm: they must stand somewhere."""
    for quote in quotes:
        log.error("a quote of %s, crypto key %s, may not be in the audit log", quote.symbol, quote.cryptokey)
