"""Questions to the source: several for one symbol may be open at once, and every answer is heard.

A question that was given up in favour of another is still open, and what it brings is used when it comes first. Else it
is a hit on the source all the same, and is handed on to be audited: within its limit no answer is lost.
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
"""Records a quote that was answered, and that no command has used."""


class Questions:
    """Asks a source, each question on a thread of its own, at most `most_open` at a time."""

    def __init__(self, source: QuoteSource, audit_late: Audit, moments: Moments, most_open: int) -> None:
        self._source = source
        self._audit_late = audit_late
        self._moments = moments
        self._most_open = most_open
        self._changed = concurrency.Condition()
        self._open = 0

    def about(self, symbol: str, user: str) -> "Inquiry":
        """Begin an inquiry about a symbol; nothing is asked yet."""
        return Inquiry(self, symbol, user)

    def finish(self, seconds: float) -> bool:
        """Wait until all open questions are answered and audited or given up; return whether they are in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def start(self, inquiry: "Inquiry", number: int, seconds: float) -> None:
        """Ask a question of an inquiry; raises FailedTryError when too many are open."""
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
        """Hand on a quote that came too late to be used."""
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
        """Ask once more, for an answer within so many seconds; return the question's number.

        Raises FailedTryError when too many questions are open.
        """
        self._asked += 1
        self._questions.start(self, self._asked, seconds)
        return self._asked

    def wait(self, seconds: float, question: int | None = None) -> QuoteAnswer | None:
        """Return the first answer to any of the questions, None when there is none within so many seconds.

        Raises what a question failed with as soon as it does, if that is the one.
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
        """Use no answer from now on; those that come are audited."""
        with self._changed:
            unused = None if self._is_over else self._answer
            self._is_over = True
        if unused is not None:  # it came at that very moment, when another process had stored one
            self._questions.audit_late(unused.quote)

    def answered(self, answer: QuoteAnswer) -> bool:
        """Take an answer; return False when it comes too late to be used."""
        with self._changed:
            if self._is_over or self._answer is not None:
                return False
            self._answer = answer
            self._changed.notify_all()
            return True

    def failed(self, number: int, error: BaseException) -> None:
        """Note why a question brought no answer."""
        with self._changed:
            self._failures[number] = error
            self._changed.notify_all()
