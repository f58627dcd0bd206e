"""A sweep over a model of the store: what it looks at, in which order, by which clock, and what it reports."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import QuoteUnavailableError, StoreUnavailableError
from chalicelib.domain.journal import OK, Entry, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.store.due import Holder
from chalicelib.store.errors import StoreError, UnknownOutcomeError
from chalicelib.store.record import Record
from chalicelib.sweep.report import Report
from chalicelib.sweep.sweeper import Sweeper, SweepLimits
from tests.unit.store_model import ModelDatabase, ModelStore, ModelWrite

NOW = 1_000_000_000_000
SECONDS = 20.0


def entry_of(transaction: int, at_ms: int, account: Account) -> Entry:
    return Entry(
        transaction, at_ms, CommandName.ADD, None, 1, None, False, None, OK, None, account.cash_cents, (), {}
    )  # fmt: skip


@dataclass
class Book:
    """The accounts, what is due of them, and the place where the last sweep stopped."""

    database: ModelDatabase = field(default_factory=ModelDatabase)
    kept_place: str | None = None
    asked_expired_at: list[int] = field(default_factory=list)

    def put(self, account: Account, at_ms: int = NOW) -> None:
        """Have an account whose last command was at a time."""
        version = self.database.record(account.user).version
        self.database.apply(ModelWrite(version, account, entry_of(version + 1, at_ms, account), b"setup %2d" % version))

    def accounts(self) -> list[Account]:
        """Return all accounts."""
        return [self.database.record(user).account for user in self.database.users()]

    def symbols(self) -> list[str]:
        """Return the symbols with a trigger."""
        return sorted({symbol for account in self.accounts() for symbol in account.buy_triggers})

    def holder(self, symbol: str) -> Holder | None:
        """Return who has the first trigger on a symbol."""
        for account in self.accounts():
            if symbol in account.buy_triggers:
                return Holder(account.user, account.buy_triggers[symbol].transaction or 0)
        return None

    def due(self, prices: Mapping[str, int], batch: int) -> Iterator[list[str]]:
        """Yield the users with a trigger at one of the prices."""
        yield from self._batches(
            [account for account in self.accounts() if account.buy_triggers.keys() & prices], batch
        )

    def expired(self, now_ms: int, batch: int) -> Iterator[list[str]]:
        """Yield the users with an order that ended before a time."""
        self.asked_expired_at.append(now_ms)
        ended = [account for account in self.accounts() if (account.next_expiry_ms() or now_ms) < now_ms]
        yield from self._batches(ended, batch)

    def _batches(self, accounts: list[Account], batch: int) -> Iterator[list[str]]:
        users = [account.user for account in accounts]
        for start in range(0, len(users), batch):
            yield users[start : start + batch]

    def place(self) -> str | None:
        """Return where the last sweep stopped."""
        return self.kept_place

    def keep_place(self, symbol: str) -> None:
        """Remember where this one stopped."""
        self.kept_place = symbol


@dataclass
class Prices:
    """Quotes at 10.00, cached or not, some of which cannot be had or have run out."""

    cached: bool = True
    missing: frozenset[str] = frozenset()
    outdated: frozenset[str] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the quote, if it can be had."""
        self.asked.append((symbol, user))
        if symbol in self.missing:
            raise QuoteUnavailableError(f"no quote for {symbol}")
        return QuoteAnswer(Quote(symbol, 1000, user, NOW, "key"), self.cached)

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Tell whether a quote may still be used."""
        return answer.quote.symbol not in self.outdated


@pytest.fixture
def book() -> Book:
    return Book()


def sweeper(book: Book, prices: Prices, now_ms: int = NOW, store: ModelStore | None = None, **limits: int) -> Sweeper:
    bounds = {"time_ms": 60_000, "quotes_at_once": 1, "writes_at_once": 1, "batch": 2, **limits}
    return Sweeper(store or ModelStore(book.database), book, prices, lambda: now_ms, SweepLimits(**bounds))


def counts(report: Report) -> dict[str, int]:
    """Return what is not nothing in a report."""
    numbers = {name: int(getattr(report, name)) for name in Report.__dataclass_fields__ if name != "seconds"}
    return {name: value for name, value in numbers.items() if value}


def trader(user: str, *symbols: str) -> Account:
    """Return an account with a trigger on each symbol that fires at 10.00 and buys two shares."""
    return Account(user, buy_triggers={symbol: BuyTrigger(2000, 1000, 77) for symbol in symbols})


def with_order(user: str, expires_at_ms: int) -> Account:
    order = PendingOrder(5, "ABC", 2, 1000, 2000, expires_at_ms, number=1)
    return Account(user, pending_buys=(order,))


def last_entry(book: Book, user: str) -> Entry:
    return book.database.journal(user)[-1][0]


def test_what_is_due_fires_and_every_count_is_right(book: Book) -> None:
    book.put(trader("jane", "ABC", "XYZ"))
    book.put(trader("john", "ABC"))
    book.put(with_order("away", NOW - 1))
    report = sweeper(book, Prices()).sweep()
    assert counts(report) == {"symbols": 2, "quotes": 2, "due": 3, "fired": 3, "expired": 1, "complete": 1}
    assert 0 < report.seconds < SECONDS
    assert book.database.record("jane").account.holdings == {"ABC": 2, "XYZ": 2}
    assert book.database.record("away").account.cash_cents == 2000
    assert counts(sweeper(book, Prices()).sweep()) == {"complete": 1}


def test_two_symbols_that_are_due_at_once_fire_in_their_order_in_one_entry(book: Book) -> None:
    book.put(replace(trader("jane", "XYZ", "ABC", "MNO")))
    report = sweeper(book, Prices(), quotes_at_once=3).sweep()
    fired = [
        event.symbol
        for entry, _ in book.database.journal("jane")
        for event in entry.events
        if isinstance(event, TriggerFired)
    ]
    assert (report.fired, fired) == (3, ["ABC", "MNO", "XYZ"])
    assert len(book.database.journal("jane")) == 2, "quotes that come together are used together"


def test_a_sweep_whose_clock_is_behind_writes_no_entry_before_the_last_one(book: Book) -> None:
    book.put(trader("jane", "ABC"), at_ms=NOW)
    assert sweeper(book, Prices(), now_ms=NOW - 5_000).sweep().fired == 1
    assert last_entry(book, "jane").timestamp_ms == NOW


@pytest.mark.parametrize(("behind_ms", "expired"), [(-1, 1), (0, 0), (1, 0), (5_000, 0)])
def test_a_sweep_whose_clock_is_behind_gives_back_what_has_run_out_by_its_own_time_alone(
    book: Book, behind_ms: int, expired: int
) -> None:
    """The order ends at NOW: too early would take it from a trader who may still commit it."""
    book.put(with_order("away", NOW), at_ms=NOW - 60_000)
    report = sweeper(book, Prices(), now_ms=NOW - behind_ms).sweep()
    assert (report.expired, book.asked_expired_at) == (expired, [NOW - behind_ms])
    assert len(book.database.record("away").account.pending_buys) == 1 - expired
    assert [type(event) for event in last_entry(book, "away").events] == [OrderExpired] * expired


def test_a_hit_on_the_source_is_noted_where_the_trigger_is(book: Book) -> None:
    book.put(trader("jane", "ABC"))
    prices = Prices(cached=False)
    assert sweeper(book, prices).sweep().fired == 1
    noted = book.database.journal("jane")[1][0]
    assert (prices.asked, noted.transaction) == ([("ABC", "jane")], 77)
    assert [type(event) for event in noted.events] == [QuoteHit, TriggerFired], "in one write"
    hit = noted.events[0]
    assert isinstance(hit, QuoteHit)
    assert hit.transaction == 77


def hits_of(book: Book, user: str) -> list[tuple[str, int | None]]:
    return sorted(
        (event.quote.symbol, event.transaction)
        for entry, _ in book.database.journal(user)
        for event in entry.events
        if isinstance(event, QuoteHit)
    )


def test_all_that_is_due_of_one_user_at_once_is_written_by_one_at_a_time(book: Book) -> None:
    """Hits on the source included, which came from as many threads as there were questions: they raced each other."""
    symbols = [f"{first}{second}" for first in "ABCD" for second in "ABCDEFGHIJKLMNOP"]
    book.put(Account("jane", buy_triggers={symbol: BuyTrigger(2000, 1000, 77 + n) for n, symbol in enumerate(symbols)}))
    report = sweeper(book, Prices(cached=False), quotes_at_once=16, writes_at_once=8, batch=100).sweep()
    assert (report.fired, report.lost_races, report.complete) == (64, 0, True)
    assert hits_of(book, "jane") == [(symbol, 77 + n) for n, symbol in enumerate(symbols)]
    assert len(book.database.journal("jane")) - 1 < 64, "several in a write"


def test_hits_whose_triggers_do_not_fire_are_noted_all_the_same(book: Book) -> None:
    book.put(trader("jane", "ABC", "XYZ"))
    sweeper(book, Prices(cached=False, outdated=frozenset({"ABC", "XYZ"})), quotes_at_once=2).sweep()
    assert hits_of(book, "jane") == [("ABC", 77), ("XYZ", 77)]
    assert book.database.record("jane").account.buy_triggers.keys() == {"ABC", "XYZ"}


def test_hits_of_a_sweep_that_is_over_or_fails_are_noted(book: Book) -> None:
    """The stop comes after the quotes, and so does a database that does not say who is due."""

    class Silent(Book):
        def due(self, prices: Mapping[str, int], batch: int) -> Iterator[list[str]]:
            raise StoreUnavailableError("no primary")

    book.put(trader("jane", "ABC"))
    prices = Prices(cached=False)
    report = sweeper(book, prices).sweep(lambda: bool(prices.asked))
    assert (report.fired, report.complete, hits_of(book, "jane")) == (0, False, [("ABC", 77)])
    silent = Silent(book.database)
    with pytest.raises(StoreUnavailableError):
        sweeper(silent, Prices(cached=False)).sweep()
    assert hits_of(book, "jane") == [("ABC", 77)] * 2


def test_a_hit_that_cannot_be_noted_is_told(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ModelStore):
        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            raise ValueError("a fault of ours")

    book.put(trader("jane", "ABC"))
    report = sweeper(book, Prices(cached=False), store=Broken(book.database)).sweep()
    assert (report.failed, report.fired) == (1, 0)
    assert "a quote of ABC, crypto key key, may not be in the audit log" in caplog.messages


def test_a_quote_that_cannot_be_had_or_has_run_out_is_counted_and_holds_up_no_other(book: Book) -> None:
    book.put(trader("jane", "ABC", "MNO", "XYZ"))
    prices = Prices(missing=frozenset({"ABC"}), outdated=frozenset({"MNO"}))
    report = sweeper(book, prices, quotes_at_once=3).sweep()
    assert counts(report) == {
        "symbols": 3, "quotes": 2, "unpriced": 1, "due": 1, "fired": 1, "outdated": 1, "complete": 1,
    }  # fmt: skip
    assert book.database.record("jane").account.buy_triggers.keys() == {"ABC", "MNO"}


def test_a_sweep_that_is_stopped_begins_nothing_new_and_says_where_it_stopped(book: Book) -> None:
    for user in ("jane", "john", "june"):
        book.put(trader(user, "ABC", "MNO", "XYZ"))
    asked: list[int] = []

    def stopping() -> bool:
        asked.append(1)
        return len(book.database.journal("jane") + book.database.journal("john") + book.database.journal("june")) > 3

    report = sweeper(book, Prices(), batch=10).sweep(stopping)
    assert (report.complete, report.symbols, report.fired, report.due) == (False, 1, 1, 3)
    assert book.kept_place == "ABC"
    again = sweeper(book, Prices()).sweep()
    assert (again.complete, again.fired) == (True, 8)


def test_one_of_a_batch_that_had_no_turn_makes_the_sweep_incomplete(book: Book) -> None:
    for user in ("jane", "john"):
        book.put(with_order(user, NOW - 1))
    done = threading.Event()

    class Slow(ModelStore):
        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            done.set()
            return super().save(record, account, entry, attempt)

    report = sweeper(book, Prices(), store=Slow(book.database)).sweep(done.is_set)
    assert counts(report) == {"expired": 1}


def test_no_time_is_no_sweep_and_half_of_it_is_for_the_triggers(book: Book) -> None:
    book.put(with_order("away", NOW - 1))
    book.put(trader("jane", "ABC"))
    report = sweeper(book, Prices(), time_ms=0).sweep()
    assert counts(report) == {}
    assert book.database.record("away").account.pending_buys


def test_an_account_that_cannot_be_written_is_left_and_counted(book: Book) -> None:
    for user in ("jane", "john"):
        book.put(trader(user, "ABC"))

    class Broken(ModelStore):
        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            if account.user == "jane":
                raise ValueError("a fault of ours")
            return super().save(record, account, entry, attempt)

    report = sweeper(book, Prices(), store=Broken(book.database)).sweep()
    assert counts(report) == {"symbols": 1, "quotes": 1, "due": 2, "fired": 1, "failed": 1, "complete": 1}


def test_a_race_that_was_lost_is_counted_and_decided_again(book: Book) -> None:
    book.put(trader("jane", "ABC"))
    raced: list[int] = []

    class Raced(ModelStore):
        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            if not raced:
                raced.append(1)
                book.put(replace(record.account, cash_cents=5))
            return super().save(record, account, entry, attempt)

    report = sweeper(book, Prices(), store=Raced(book.database)).sweep()
    assert (report.fired, report.lost_races) == (1, 1)
    assert book.database.record("jane").account.cash_cents == 5


def test_triggers_that_went_meanwhile_are_neither_priced_nor_a_failure(book: Book) -> None:
    class Forgetful(Book):
        def symbols(self) -> list[str]:
            return ["ABC"]

    prices = Prices()
    report = sweeper(Forgetful(), prices).sweep()
    assert (counts(report), prices.asked) == ({"symbols": 1, "complete": 1}, [])


def test_a_database_that_does_not_answer_is_no_sweep(book: Book) -> None:
    class Away(ModelStore):
        def make_indexes(self) -> None:
            raise UnknownOutcomeError("no primary")

    with pytest.raises(Exception, match="the database does not answer: no primary") as raised:
        sweeper(book, Prices(), store=Away(book.database)).sweep()
    assert not isinstance(raised.value, StoreError)


def test_a_sweep_that_asked_for_all_and_was_stopped_before_all_had_fired_begins_elsewhere(book: Book) -> None:
    book.put(trader("jane", "ABC"))
    book.put(trader("john", "ABC"))
    journals = ("jane", "john")

    def stopping() -> bool:
        return sum(len(book.database.journal(user)) for user in journals) > len(journals)

    report = sweeper(book, Prices()).sweep(stopping)
    assert (report.symbols, report.fired, report.complete, book.kept_place) == (1, 1, False, "ABC")


def test_what_is_outdated_is_warned_of_once_and_nothing_else_is(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    book.put(trader("jane", "ABC"))
    sweeper(book, Prices()).sweep()
    assert caplog.messages == []
    book.put(trader("john", "MNO"))
    sweeper(book, Prices(outdated=frozenset({"MNO"}))).sweep()
    assert caplog.messages == ["the triggers of john on MNO wait for the next sweep: their quotes expired"]
