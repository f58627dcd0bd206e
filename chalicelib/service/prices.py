"""Current prices of several symbols at once: a read, not a command (docs/api.md)."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from chalicelib import concurrency
from chalicelib.clock import Clock
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hits
from chalicelib.service.account_write import Store, write_for_system
from chalicelib.service.late_answers import log_unaudited
from chalicelib.service.trading import Quotes
from chalicelib.service.transaction_numbers import TransactionNumbers

AT_ONCE = 8
"""How many quotes one request waits for at the same time."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Gets prices; thread-safe.

    No quote is begun after `limit_ms`, which also bounds each quote. `write_limit_ms` bounds the audit of hits.
    """

    quotes: Quotes
    store: Store
    clock: Clock
    numbers: TransactionNumbers
    limit_ms: int
    write_limit_ms: int

    def get(self, symbols: Sequence[str], user: str) -> Mapping[str, QuoteAnswer | None]:
        """Return the quotes of symbols, asked for by `user`; None for one that could not be had in time.

        Hits on the source are in the system's journal before this returns. Raises StoreUnavailableError if the database
        did not confirm that, and ClockSkewError.
        """
        executor = concurrency.ThreadPoolExecutor(min(AT_ONCE, len(symbols)), thread_name_prefix="prices")
        try:
            asked = {symbol: executor.submit(self.quotes.get, symbol, user) for symbol in symbols}
            concurrency.wait(asked.values(), self.limit_ms / 1000)
        finally:
            executor.shutdown(cancel_futures=True)  # those in progress end by their own limit, and may be hits
        answers = {symbol: _answer(future) for symbol, future in asked.items()}
        hits = [answer.quote for answer in answers.values() if answer is not None and not answer.cached]
        if hits:
            note = partial(note_hits, hits, self.numbers.next())
            try:
                write_for_system(self.store, self.clock, SYSTEM_JOURNAL, note, self.write_limit_ms)
            except Exception:
                log_unaudited(hits)
                raise
        return answers


def _answer(future: Future[QuoteAnswer]) -> QuoteAnswer | None:
    if future.cancelled():
        return None
    try:
        return future.result()
    except QuoteUnavailableError:
        return None
