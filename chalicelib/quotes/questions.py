"""Questions to the source: several for one symbol may be open at once, and every answer counts.

A question that is followed by another stays open, and its answer is used if it comes first. Otherwise it is still a hit
on the source and is passed on to be audited. No answer within the time limit is lost.
"""

import logging
from collections.abc import Callable

from chalicelib import concurrency
from chalicelib.clock import Moments, monotonic_seconds
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.sources import QuoteSource

log = logging.getLogger(__name__)

Audit = Callable[[Quote], None]
"""Records a quote that was answered but used by no command."""


class Questions:
    """Asks a source, each question on its own thread, at most `most_open` at a time."""

    def __init__(self, source: QuoteSource, audit_late: Audit, moments: Moments, most_open: int) -> None:
        self._source = source
        self._audit_late = audit_late
        self._moments = moments
        self._most_open = most_open
        self._changed = concurrency.Condition()
        self._open = 0

    def about(self, symbol: str, user: str) -> "Inquiry":
        """Begin an inquiry about a symbol; nothing is sent yet."""
        return Inquiry(self, symbol, user)

    def finish(self, seconds: float) -> bool:
        """Wait until every open question is audited or given up; return whether that was so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def start(self, inquiry: "Inquiry", number: int, seconds: float) -> None:
        """Ask one question of an inquiry; raises FailedTryError if too many are open."""
        with self._changed:
            if self._open >= self._most_open:
                raise FailedTryError(f"{self._open} questions are open already")
            self._open += 1
        try:
            concurrency.Thread(target=self._ask, args=(inquiry, number, seconds), name="question", daemon=True).start()
        except BaseException:
            self._closed_one()
            raise

    def _ask(self, inquiry: "Inquiry", number: int, seconds: float) -> None:
        try:
            asked = self._moments()
            try:
                quote = self._source.ask(inquiry.symbol, inquiry.user, seconds)
            except BaseException as error:  # noqa: BLE001  # who asked raises it
                inquiry.failed(number, error)
                return
            if not inquiry.answered(QuoteAnswer(quote, cached=False, asked=asked)):
                self.audit_late(quote)
        finally:
            self._closed_one()

    def audit_late(self, quote: Quote) -> None:
        """Pass on a quote that came too late to be used."""
        try:
            self._audit_late(quote)
        except Exception:
            log.exception("a late quote of %s, crypto key %s, is not in the audit log", quote.symbol, quote.cryptokey)

    def _closed_one(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()


class Inquiry:
    """The questions of one fetch. The first answer to any of them is the quote."""

    def __init__(self, questions: Questions, symbol: str, user: str) -> None:
        self.symbol = symbol
        self.user = user
        self._questions = questions
        self._changed = concurrency.Condition(concurrency.Lock())
        self._asked = 0
        self._failures: dict[int, BaseException] = {}
        self._answer: QuoteAnswer | None = None
        self._is_over = False

    def ask(self, seconds: float) -> int:
        """Ask once more, with a time-out in seconds; return the question's number.

        Raises FailedTryError if too many questions are open.
        """
        self._asked += 1
        self._questions.start(self, self._asked, seconds)
        return self._asked

    def wait(self, seconds: float, question: int | None = None) -> QuoteAnswer | None:
        """Return the first answer to any of the questions, or None if there is none in time.

        If `question` fails, raises its error at once.
        """
        end = monotonic_seconds() + seconds
        with self._changed:
            while self._answer is None:
                if question in self._failures:
                    raise self._failures[question]
                if (left := end - monotonic_seconds()) <= 0:
                    return None
                self._changed.wait(left)
            self._is_over = True
            return self._answer

    def end(self) -> None:
        """Stop using answers; those that still come are audited."""
        with self._changed:
            unused = None if self._is_over else self._answer
            self._is_over = True
        if unused is not None:  # it came just as another process had stored one
            self._questions.audit_late(unused.quote)

    def answered(self, answer: QuoteAnswer) -> bool:
        """Take an answer; return False if it comes too late to be used."""
        with self._changed:
            if self._is_over or self._answer is not None:
                return False
            self._answer = answer
            self._changed.notify_all()
            return True

    def failed(self, number: int, error: BaseException) -> None:
        """Record why a question failed."""
        with self._changed:
            self._failures[number] = error
            self._changed.notify_all()
