"""Several questions about one symbol: the first answer is the quote, and every other one is audited."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

import pytest

from chalicelib.domain.moment import Moment
from chalicelib.domain.quote import Quote
from chalicelib.quotes.errors import FailedTryError
from chalicelib.quotes.questions import Questions

SECONDS = 30.0


@dataclass
class HeldSource:
    """Answers each question, in the order in which they were asked, when the test says what with."""

    outcomes: "list[SimpleQueue[Quote | Exception]]" = field(default_factory=list)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def ask(self, symbol: str, user: str, timeout_seconds: float) -> Quote:
        mine: SimpleQueue[Quote | Exception] = SimpleQueue()
        self.outcomes.append(mine)
        self.asked.release()
        outcome = mine.get(timeout=SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@dataclass
class Setup:
    """A source that the test holds, and what was audited."""

    most_open: int = 10
    now_ms: int = 1_000
    source: HeldSource = field(default_factory=HeldSource)
    audited: list[Quote] = field(default_factory=list)
    audit: Callable[[Quote], None] | None = None

    def __post_init__(self) -> None:
        self.questions = Questions(
            self.source, self.audit or self.audited.append, lambda: Moment(self.now_ms, self.now_ms), self.most_open
        )
        self.inquiry = self.questions.about("ABC", "jane")

    def ask(self) -> int:
        """Ask a question, and wait until it has reached the source."""
        number = self.inquiry.ask(SECONDS)
        assert self.source.asked.acquire(timeout=SECONDS)
        return number

    def answers(self, question: int, outcome: Quote | Exception) -> None:
        self.source.outcomes[question - 1].put(outcome)


def quote(price_cents: int) -> Quote:
    return Quote("ABC", price_cents, "jane", 17, f"key{price_cents}")


def test_the_answer_carries_when_its_question_was_sent() -> None:
    setup = Setup()
    question = setup.ask()
    setup.now_ms += 700
    setup.answers(question, quote(1))
    answer = setup.inquiry.wait(SECONDS, question)
    assert answer is not None
    assert (answer.quote, answer.cached, answer.asked) == (quote(1), False, Moment(1_000, 1_000))


def test_an_answer_to_an_earlier_question_is_used_while_the_last_one_is_waited_for() -> None:
    setup = Setup()
    first, second = setup.ask(), setup.ask()
    setup.answers(first, quote(1))
    answer = setup.inquiry.wait(SECONDS, second)
    assert answer is not None
    assert answer.quote == quote(1)
    setup.inquiry.end()
    setup.answers(second, quote(2))
    assert setup.questions.finish(SECONDS)
    assert setup.audited == [quote(2)]


def test_an_answer_after_the_end_is_audited_and_the_one_that_was_used_is_not() -> None:
    setup = Setup()
    numbers = [setup.ask() for _ in range(4)]
    setup.answers(numbers[0], quote(1))
    assert setup.inquiry.wait(SECONDS) is not None
    setup.inquiry.end()
    outcomes: list[Quote | Exception] = [quote(2), FailedTryError("reset"), quote(4)]
    for number, outcome in zip(numbers[1:], outcomes, strict=True):
        setup.answers(number, outcome)
    assert setup.questions.finish(SECONDS)
    assert sorted(late.price_cents for late in setup.audited) == [2, 4]


def test_an_answer_that_came_and_was_never_taken_is_audited_at_the_end() -> None:
    setup = Setup()
    question = setup.ask()
    setup.answers(question, quote(1))
    assert setup.questions.finish(SECONDS)
    assert setup.audited == []
    setup.inquiry.end()
    assert setup.audited == [quote(1)]


def test_a_question_that_fails_ends_its_own_wait_and_no_other() -> None:
    setup = Setup()
    first, second = setup.ask(), setup.ask()
    setup.answers(first, FailedTryError("reset"))
    with pytest.raises(FailedTryError, match="reset"):
        setup.inquiry.wait(SECONDS, first)
    assert setup.inquiry.wait(0.01, second) is None
    setup.answers(second, quote(2))
    assert setup.inquiry.wait(SECONDS) is not None


def test_no_more_questions_are_open_than_may_be() -> None:
    setup = Setup(most_open=2)
    first, second = setup.ask(), setup.ask()
    with pytest.raises(FailedTryError, match="2 questions are open already"):
        setup.ask()
    assert not setup.questions.finish(0.01)
    setup.answers(first, quote(1))
    setup.answers(second, FailedTryError("reset"))
    assert setup.questions.finish(SECONDS)
    setup.ask()
    setup.source.outcomes[-1].put(quote(3))
    assert setup.questions.finish(SECONDS)


def test_a_late_answer_that_cannot_be_audited_is_logged_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Quote) -> None:
        raise OSError("the database is away")

    setup = Setup(audit=fail)
    question = setup.ask()
    setup.inquiry.end()
    setup.answers(question, quote(5))
    assert setup.questions.finish(SECONDS)
    assert "a late quote of ABC, crypto key key5, is not in the audit log" in caplog.text
