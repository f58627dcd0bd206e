"""A command from start to end on a store in memory: its key, its quote, its turn, its entry, and its failures."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from chalicelib.clock import now_ms
from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName, Refusal
from chalicelib.domain.decide import Decision, decide
from chalicelib.domain.errors import (
    AccountFullError,
    ClockSkewError,
    KeyReusedError,
    QuoteUnavailableError,
    TooLateError,
)
from chalicelib.domain.journal import Entry, QuoteHit
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import SYSTEM_JOURNAL
from chalicelib.observe.commands import QuotedFrom
from chalicelib.observe.timing import CommandTimer
from chalicelib.service.account_write import write_for_system
from chalicelib.service.late_answers import LateAnswers
from chalicelib.service.trading import Answer, Trading
from chalicelib.service.transaction_numbers import TransactionNumbers
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.record import Record
from tests.unit.store_model import ModelDatabase, ModelStore

LIMIT_MS = 60_000


class WatchedStore(ModelStore):
    """Accounts in memory. `happens` is called before each read, `full` has the users whose accounts are full."""

    def __init__(self) -> None:
        self.database = ModelDatabase()
        super().__init__(self.database, recent=0)
        self.reads: list[tuple[str, bool]] = []
        self.full: set[str] = set()
        self.happens: Callable[[], object] = lambda: None

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        self.happens()
        self.reads.append((user, with_latest))
        return super().read(user, key, with_latest=with_latest)

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        if account.user in self.full:
            raise AccountFullError(account.user)
        return super().save(record, account, entry, attempt)

    def entries(self, user: str = "jane") -> list[Entry]:
        """Return a user's journal."""
        return [entry for entry, _ in self.database.journal(user)]

    def hits(self, user: str = "jane") -> list[tuple[int, Quote]]:
        """Return the hits on the source in a user's journal, with the number of the entry that each stands in."""
        return [
            (entry.transaction, event.quote)
            for entry in self.entries(user)
            for event in entry.events
            if isinstance(event, QuoteHit)
        ]


@dataclass
class Source:
    """Prices a test sets; each answer of the source is another quote. `outdated` says how many run out before use."""

    cached: bool = False
    is_down: bool = False
    outdated: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        self.asked.append((symbol, user))
        if self.is_down:
            raise QuoteUnavailableError("the quote source did not answer")
        return QuoteAnswer(Quote(symbol, 1_000, user, 1, f"key {len(self.asked)}"), self.cached)

    def is_current(self, answer: QuoteAnswer) -> bool:
        self.outdated -= 1
        return self.outdated < 0


@dataclass
class Logs:
    """Writes no log, and remembers what was asked for."""

    asked: list[tuple[Entry, str, int, int | None]] = field(default_factory=list)

    def write(self, entry: Entry, user: str, sequence: int, most_bytes: int | None = None) -> Mapping[str, Any]:
        self.asked.append((entry, user, sequence, most_bytes))
        return {"location": "a place"}


class Queues(UserQueues):
    """Says that others have had the turn in between."""

    @contextmanager
    def turn(self, *_: Any) -> Iterator[bool]:  # type: ignore[override]
        yield True


@dataclass
class Desk:
    """A trading with parts of the test's, and its commands in a line each."""

    store: WatchedStore = field(default_factory=WatchedStore)
    source: Source = field(default_factory=Source)
    logs: Logs = field(default_factory=Logs)
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    timer: CommandTimer = field(default_factory=CommandTimer)
    queues: UserQueues = field(default_factory=UserQueues)
    clock: Callable[[], int] = now_ms
    decide: Callable[..., Decision] = decide

    def command(self, name: str, **fields: Any) -> Command:
        return Command(CommandName(name), "jane", next(self.numbers), **fields)

    def does(self, name: str, **fields: Any) -> Answer:
        return self.gives(self.command(name, **fields))

    def gives(self, command: Command, **more: Any) -> Answer:
        trading = Trading(self.store, self.source, self.logs, self.clock, self.queues, LIMIT_MS, decide=self.decide)
        return trading.execute(command, timer=self.timer, **more)


@pytest.fixture
def desk() -> Desk:
    """Return a desk at which jane has 1,000.00."""
    made = Desk()
    made.does("ADD", amount_cents=100_000)
    made.store.reads.clear()
    return made


def test_a_command_is_decided_and_saved_with_the_quote_it_needs(desk: Desk) -> None:
    answer = desk.does("BUY", symbol="ABC", amount_cents=5_000)
    assert answer.entry.outcome == "ok"
    assert (answer.user, answer.replayed, answer.result["shares"]) == ("jane", False, 5)
    assert desk.store.database.record("jane").account.cash_cents == 95_000
    assert desk.source.asked == [("ABC", "jane")]
    assert [number for number, _ in desk.store.hits()] == [2], "the hit stands in the command's own entry"
    assert len(desk.store.entries()) == 2
    assert min(desk.timer.load.seconds, desk.timer.save.seconds) > 0


def test_an_answer_is_a_first_one_unless_it_says_otherwise(desk: Desk) -> None:
    entry = desk.does("ADD", amount_cents=1).entry
    assert Answer("jane", entry, {}).replayed is False


def test_a_command_without_a_price_asks_for_none(desk: Desk) -> None:
    desk.does("ADD", amount_cents=100)
    desk.does("CANCEL_BUY")
    assert desk.source.asked == []
    assert desk.timer.quoted is None


def test_a_refused_command_is_recorded_and_asks_for_nothing(desk: Desk) -> None:
    refusal = Refusal("invalid_amount", "amount: -1 is no amount")
    assert desk.does("BUY", symbol="ABC", refusal=refusal).entry.outcome == "invalid_amount"
    assert desk.does("DUMPLOG", filename="a.xml", refusal=Refusal("invalid_filename", "no")).entry.outcome != "ok"
    assert (desk.source.asked, desk.logs.asked) == ([], [])


def test_a_repeated_command_gets_its_first_outcome_and_asks_for_nothing(desk: Desk) -> None:
    first = desk.does("BUY", symbol="ABC", amount_cents=5_000, key="once")
    desk.queues = Queues()
    again = desk.does("BUY", symbol="ABC", amount_cents=5_000, key="once")
    assert (again.entry, again.replayed, again.result) == (first.entry, True, first.result)
    assert len(desk.source.asked) == 1
    assert len(desk.store.entries()) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"symbol": "XYZ", "amount_cents": 5_000},
        {"symbol": "ABC", "amount_cents": 5_001},
        {"symbol": "ABC", "amount_cents": 5_000, "order": 7},
        {"symbol": "ABC", "amount_cents": 5_000, "filename": "a.xml"},
        {"symbol": "ABC", "amount_cents": 5_000, "of_all": True},
        {"symbol": "ABC", "amount_cents": 5_000, "refusal": Refusal("invalid_amount", "no")},
        {"name": "SELL", "symbol": "ABC", "amount_cents": 5_000},
    ],
)
def test_a_key_is_good_for_one_command(desk: Desk, other: dict[str, Any]) -> None:
    first = desk.does("BUY", symbol="ABC", amount_cents=5_000, key="once").entry
    given = {"name": "BUY", "key": "once", **other}
    with pytest.raises(KeyReusedError, match=f"used for another command, transaction {first.transaction}"):
        desk.does(**given)
    assert len(desk.store.entries()) == 2


def test_a_key_of_a_refused_command_is_good_for_the_same_refusal(desk: Desk) -> None:
    refusal = Refusal("invalid_amount", "amount: -1 is no amount")
    desk.does("BUY", symbol="ABC", refusal=refusal, key="once")
    assert desk.does("BUY", symbol="ABC", refusal=refusal, key="once").replayed
    for other in (replace(refusal, code="invalid_symbol"), replace(refusal, message="another")):
        with pytest.raises(KeyReusedError):
            desk.does("BUY", symbol="ABC", refusal=other, key="once")


def test_a_summary_asks_for_the_latest_commands_with_the_account_and_no_other_command_does(desk: Desk) -> None:
    answer = desk.does("DISPLAY_SUMMARY")
    assert [one["command"] for one in answer.result["history"]] == ["ADD"]
    desk.does("ADD", amount_cents=1)
    assert desk.store.reads == [("jane", True), ("jane", False)]


def test_a_command_is_told_of_its_own_version_and_of_the_accounts_limits(desk: Desk) -> None:
    told: list[Any] = []

    def noting(*arguments: Any) -> Decision:
        told.append(arguments)
        return decide(*arguments)

    desk.decide = noting
    desk.does("ADD", amount_cents=1)
    ((account, command, quote, _, sequence, history, limits),) = told
    assert (account.user, command.transaction, quote, sequence, history) == ("jane", 2, None, 2, ())
    assert limits.orders > 0


@pytest.mark.parametrize(("waits", "reads"), [(False, 1), (True, 2)])
def test_who_had_to_wait_for_the_turn_decides_on_what_others_have_left(desk: Desk, waits: bool, reads: int) -> None:
    if waits:
        desk.queues = Queues()
    desk.does("ADD", amount_cents=1, key="once")
    assert len(desk.store.reads) == reads


def test_a_command_that_comes_too_late_is_not_begun(desk: Desk) -> None:
    with pytest.raises(TooLateError, match="not begun within 60 s"):
        desk.gives(desk.command("BUY", symbol="ABC", amount_cents=1), arrived_ms=now_ms() - LIMIT_MS)
    assert (desk.store.reads, desk.source.asked) == ([], [])


def test_while_the_clock_is_off_no_price_is_asked_for_in_vain(desk: Desk) -> None:
    def off() -> int:
        raise ClockSkewError(5_000, 2_000)

    desk.clock = off
    with pytest.raises(ClockSkewError):
        desk.does("BUY", symbol="ABC", amount_cents=1)
    assert desk.source.asked == []


@pytest.mark.parametrize(("cached", "quoted"), [(True, QuotedFrom.CACHE), (False, QuotedFrom.SOURCE)])
def test_where_the_quote_came_from_is_seen_and_only_the_source_is_a_hit(
    desk: Desk, cached: bool, quoted: QuotedFrom
) -> None:
    desk.source.cached = cached
    desk.does("QUOTE", symbol="ABC")
    assert desk.timer.quoted is quoted
    assert desk.timer.quote.seconds > 0
    assert len(desk.store.hits()) == (not cached)


def test_a_quote_that_is_not_to_be_had_leaves_nothing(desk: Desk) -> None:
    desk.source.is_down = True
    with pytest.raises(QuoteUnavailableError):
        desk.does("QUOTE", symbol="ABC")
    assert desk.timer.quoted is QuotedFrom.NOWHERE
    assert len(desk.store.entries()) == 1


def test_a_quote_that_ran_out_is_asked_for_again_and_both_are_hits_of_the_command(desk: Desk) -> None:
    desk.source.outdated = 1
    command = desk.command("QUOTE", symbol="ABC")
    desk.gives(command)
    hits = desk.store.hits()
    assert [(number, quote.cryptokey) for number, quote in hits] == [
        (command.transaction, "key 2"),
        (command.transaction, "key 1"),
    ]
    assert len(desk.store.entries()) == 3, "the one that was used stands in the command's entry"


def test_the_hit_of_a_command_that_failed_is_noted_all_the_same(desk: Desk) -> None:
    def fails(*_: Any) -> Decision:
        raise AccountFullError("jane")

    desk.decide = fails
    command = desk.command("QUOTE", symbol="ABC")
    with pytest.raises(AccountFullError):
        desk.gives(command)
    assert [number for number, _ in desk.store.hits()] == [command.transaction]


def test_the_hit_of_an_account_that_is_full_stands_in_the_journal_of_the_system(desk: Desk) -> None:
    desk.store.full.add("jane")
    command = desk.command("QUOTE", symbol="ABC")
    with pytest.raises(AccountFullError):
        desk.gives(command)
    assert desk.store.hits() == []
    assert [number for number, _ in desk.store.hits(SYSTEM_JOURNAL)] == [command.transaction]


def test_the_hit_of_a_request_that_another_with_its_key_overtook_is_noted(desk: Desk) -> None:
    """It has asked for a quote by then, which no entry would tell of."""
    command = desk.command("QUOTE", symbol="ABC", key="once")

    def overtake() -> None:
        if desk.source.asked:
            desk.store.happens = lambda: None
            other = Desk(desk.store, Source(cached=True), numbers=count(50))
            other.does("QUOTE", symbol="ABC", key="once")

    desk.queues = Queues()
    desk.store.happens = overtake
    answer = desk.gives(command)
    assert (answer.replayed, answer.entry.transaction) == (True, 50)
    assert [number for number, _ in desk.store.hits()] == [command.transaction]


def test_a_log_is_written_for_its_entry_and_its_place_is_the_answer(desk: Desk) -> None:
    answer = desk.gives(desk.command("DUMPLOG", filename="a.xml"), most_log_bytes=77)
    assert answer.result == {"location": "a place"}
    assert desk.logs.asked == [(answer.entry, "jane", 2, 77)]
    desk.does("ADD", amount_cents=1)
    assert len(desk.logs.asked) == 1


def test_what_the_system_does_is_decided_on_what_the_database_has(desk: Desk) -> None:
    shown: list[tuple[int, int]] = []

    def nothing(account: Account, at_ms: int) -> None:
        shown.append((account.cash_cents, at_ms))

    assert write_for_system(desk.store, lambda: 77, "jane", nothing, LIMIT_MS).found is None
    assert shown == [(100_000, 77)]


def test_an_answer_of_the_source_that_came_too_late_is_audited_under_a_number_of_its_own(desk: Desk) -> None:
    late = LateAnswers(desk.store, now_ms, TransactionNumbers(lambda: 3), LIMIT_MS)
    quotes = [Quote("ABC", 1_000, "jane", 1, f"key {number}") for number in range(2)]
    for quote in quotes:
        late.record(quote)
    hits = desk.store.hits(SYSTEM_JOURNAL)
    assert [quote for _, quote in hits] == quotes
    assert len({number for number, _ in hits}) == 2
    assert min(number for number, _ in hits) > 1 << 40
