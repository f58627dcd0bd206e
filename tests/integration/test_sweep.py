"""The sweep on a real mongod: what is due is done once, audited, no more (docs/rules.md sections 3, 5 and 6)."""

from collections.abc import Callable, Iterator, Sized
from dataclasses import replace
from functools import partial
from threading import Barrier, Lock

import pytest

from chalicelib.domain.account import Account
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.domain.journal import Entry
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import STATE
from chalicelib.store.due import DueAccounts
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import PART_ENTRIES, Found
from chalicelib.sweep import sweeper as sweeper_module
from tests.integration.shop import Shop, settings_for
from tests.integration.sweeping import LIMITS, PricedQuotes, audit, sweeper_of


def sets_buy(shop: Shop, user: str = "jane", symbol: str = "ABC", amount: str = "50.00", price: str = "10.00") -> int:
    """Let a user set a buy trigger with fresh cash; return the number of the transaction that set it."""
    shop.does("ADD", amount=amount, user=user)
    shop.does("SET_BUY_AMOUNT", symbol, amount, user=user)
    return shop.does("SET_BUY_TRIGGER", symbol, price, user=user).entry.transaction


def sets_sell(shop: Shop, user: str = "jane", symbol: str = "ABC", amount: str = "50.00", price: str = "12.00") -> int:
    """Let a user set a sell trigger on fresh shares; return the number of the transaction that set it."""
    shop.does("ADD", amount=amount, user=user)
    shop.does("BUY", symbol, amount, user=user)
    shop.does("COMMIT_BUY", user=user)
    shop.does("SET_SELL_AMOUNT", symbol, amount, user=user)
    return shop.does("SET_SELL_TRIGGER", symbol, price, user=user).entry.transaction


def account_of(shop: Shop, user: str = "jane") -> Account:
    """Return an account as the database has it."""
    return shop.accounts.read(user).account


def firings(shop: Shop) -> list[dict[str, str]]:
    """Return the firings in the audit log."""
    return [
        fields
        for kind, fields in audit(shop.settings)
        if kind == "systemEvent" and fields["command"] in {"SET_BUY_TRIGGER", "SET_SELL_TRIGGER"}
    ]


def test_a_due_buy_fires_once_and_stands_in_the_audit_log(shop: Shop) -> None:
    number = sets_buy(shop)
    sweeper = sweeper_of(shop, PricedQuotes({"ABC": 980}))
    report = sweeper.sweep()
    assert (report.symbols, report.quotes, report.due, report.fired, report.complete) == (1, 1, 1, 1, True)
    assert account_of(shop) == Account("jane", cash_cents=100, holdings={"ABC": 5}, cost_cents={"ABC": 4900})
    again = sweeper.sweep()
    assert (again.symbols, again.due, again.fired) == (0, 0, 0)
    head = {"timestamp": str(shop.now_ms), "server": "sweeper", "transactionNum": str(number)}
    assert audit(shop.settings)[-2:] == [
        (
            "systemEvent",
            {**head, "command": "SET_BUY_TRIGGER", "username": "jane", "stockSymbol": "ABC", "funds": "9.80"},
        ),
        ("accountTransaction", {**head, "action": "add", "username": "jane", "funds": "1.00"}),
    ]


def test_a_due_sell_fires_once_and_gives_the_shares_it_does_not_need_back(shop: Shop) -> None:
    number = sets_sell(shop)  # reserves 4 of 5 shares
    assert sweeper_of(shop, PricedQuotes({"ABC": 1700})).sweep().fired == 1  # sells 2
    assert account_of(shop) == Account(
        "jane", cash_cents=3400, holdings={"ABC": 3}, cost_cents={"ABC": 3000}, realised_cents=1400
    )
    (firing,) = firings(shop)
    assert (firing["command"], firing["transactionNum"], firing["funds"]) == ("SET_SELL_TRIGGER", str(number), "17.00")


@pytest.mark.parametrize(("price", "fired"), [(999, 1), (1000, 1), (1001, 0)])
def test_a_buy_is_found_at_its_price_and_below(shop: Shop, price: int, fired: int) -> None:
    sets_buy(shop)
    report = sweeper_of(shop, PricedQuotes({"ABC": price})).sweep()
    assert (report.due, report.fired) == (fired, fired)


@pytest.mark.parametrize(("price", "fired"), [(1199, 0), (1200, 1), (1201, 1)])
def test_a_sell_is_found_at_its_price_and_above(shop: Shop, price: int, fired: int) -> None:
    sets_sell(shop)
    report = sweeper_of(shop, PricedQuotes({"ABC": price})).sweep()
    assert (report.due, report.fired) == (fired, fired)


def test_triggers_worth_less_than_a_share_are_not_even_found(shop: Shop) -> None:
    sets_buy(shop, "jane", amount="9.00", price="10.00")
    sets_sell(shop, "john", amount="12.00", price="12.00")
    before = [shop.accounts.read(user).version for user in ("jane", "john")]
    assert sweeper_of(shop, PricedQuotes({"ABC": 950})).sweep().due == 0
    assert sweeper_of(shop, PricedQuotes({"ABC": 1201})).sweep().due == 0
    assert [shop.accounts.read(user).version for user in ("jane", "john")] == before


def test_an_amount_replaced_after_the_price_was_set_is_the_one_that_fires(shop: Shop) -> None:
    sets_buy(shop, amount="9.00", price="10.00")
    shop.does("ADD", amount="21.00")
    shop.does("SET_BUY_AMOUNT", "ABC", "30.00")
    assert sweeper_of(shop, PricedQuotes({"ABC": 1000})).sweep().fired == 1
    assert account_of(shop) == Account("jane", holdings={"ABC": 3}, cost_cents={"ABC": 3000})


def test_a_trigger_whose_price_was_changed_fires_under_the_number_of_the_change(shop: Shop) -> None:
    sets_buy(shop, price="5.00")
    number = shop.does("SET_BUY_TRIGGER", "ABC", "10.00").entry.transaction
    sweeper_of(shop, PricedQuotes({"ABC": 1000})).sweep()
    assert [firing["transactionNum"] for firing in firings(shop)] == [str(number)]


def test_all_that_is_due_of_an_account_stands_in_the_log_under_numbers_of_their_own(shop: Shop) -> None:
    sell = sets_sell(shop, symbol="XYZ")
    buy = sets_buy(shop, amount="55.00")
    shop.does("ADD", amount="20.00")
    order = shop.does("BUY", "AAA", "20.00").entry.transaction
    shop.now_ms += 60_001
    sweeper_of(shop, PricedQuotes({"ABC": 1000, "XYZ": 1200})).sweep()
    by_the_system = [
        (kind, fields["transactionNum"], fields.get("command") or fields["action"], fields["funds"])
        for kind, fields in audit(shop.settings)
        if fields["timestamp"] == str(shop.now_ms)
    ]
    assert sorted(by_the_system, key=lambda event: int(event[1])) == [
        ("systemEvent", str(sell), "SET_SELL_TRIGGER", "12.00"),
        ("accountTransaction", str(sell), "add", "48.00"),
        ("systemEvent", str(buy), "SET_BUY_TRIGGER", "10.00"),
        ("accountTransaction", str(buy), "add", "5.00"),
        ("systemEvent", str(order), "BUY", "20.00"),
        ("accountTransaction", str(order), "add", "20.00"),
    ]


def test_a_quote_is_had_once_a_symbol_in_the_name_of_someone_with_a_trigger_on_it(shop: Shop) -> None:
    for user in ("jane", "john", "mary"):
        sets_buy(shop, user)
    sets_sell(shop, "mary", "XYZ")
    quotes = PricedQuotes({"ABC": 900, "XYZ": 1200})
    report = sweeper_of(shop, quotes).sweep()
    assert (report.symbols, report.fired) == (2, 4)
    assert sorted(symbol for symbol, _ in quotes.asked) == ["ABC", "XYZ"]
    assert dict(quotes.asked)["XYZ"] == "mary"


def test_a_hit_on_the_source_is_audited_where_the_trigger_is_also_when_nothing_fires(shop: Shop) -> None:
    number = sets_buy(shop)
    assert sweeper_of(shop, PricedQuotes({"ABC": 1500}, cached=False)).sweep().fired == 0
    kind, fields = audit(shop.settings)[-1]
    assert kind == "quoteServer"
    assert (fields["transactionNum"], fields["username"], fields["price"]) == (str(number), "jane", "15.00")


def test_hits_of_one_write_stand_in_the_log_under_the_numbers_of_their_triggers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "GATHER_SECONDS", 20.0)
    numbers = {symbol: str(sets_buy(shop, symbol=symbol)) for symbol in ("ABC", "XYZ")}
    before = shop.accounts.read("jane").version
    quotes = MeetingQuotes({"ABC": 900, "XYZ": 1500}, at_once=2)
    quotes.cached = False
    assert sweeper_of(shop, quotes).sweep().fired == 1
    assert shop.accounts.read("jane").version == before + 1
    hits = [fields for kind, fields in audit(shop.settings) if kind == "quoteServer"]
    assert {fields["stockSymbol"]: fields["transactionNum"] for fields in hits} == numbers


def test_a_quote_from_the_cache_leaves_no_trace(shop: Shop) -> None:
    sets_buy(shop)
    version = shop.accounts.read("jane").version
    sweeper_of(shop, PricedQuotes({"ABC": 1500})).sweep()
    assert shop.accounts.read("jane").version == version


def test_a_symbol_whose_quote_cannot_be_had_is_counted_and_holds_up_no_other(shop: Shop) -> None:
    sets_buy(shop, "jane", "ABC")
    sets_buy(shop, "john", "XYZ")
    report = sweeper_of(shop, PricedQuotes({"XYZ": 900})).sweep()
    assert (report.symbols, report.quotes, report.unpriced, report.fired) == (2, 1, 1, 1)
    assert [firing["stockSymbol"] for firing in firings(shop)] == ["XYZ"]


def test_a_quote_that_is_too_old_by_now_fires_nothing_and_the_sweep_says_so(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    sets_buy(shop)
    old = PricedQuotes({"ABC": 900}, too_old=True)
    report = sweeper_of(shop, old).sweep()
    assert (report.due, report.fired, report.outdated) == (1, 0, 1)
    assert "the triggers of jane on ABC wait for the next sweep: their quotes expired" in caplog.messages
    fresh = PricedQuotes({"ABC": 900})
    report = sweeper_of(shop, fresh).sweep()
    assert (report.fired, report.outdated) == (1, 0)


class MeetingQuotes(PricedQuotes):
    """Quotes that are given only when so many are asked for at the same time."""

    def __init__(self, prices: dict[str, int], at_once: int) -> None:
        super().__init__(prices)
        self.barrier = Barrier(at_once)
        self.lock = Lock()
        self.now = self.most = 0

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Wait for the others, then return the quote."""
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.barrier.wait(timeout=60)
        with self.lock:
            self.now -= 1
        return super().get(symbol, user)


def test_quotes_are_asked_for_at_the_same_time_up_to_the_bound(shop: Shop) -> None:
    symbols = ["A", "B", "C", "D", "E", "F"]
    for symbol in symbols:
        sets_buy(shop, symbol=symbol)
    quotes = MeetingQuotes(dict.fromkeys(symbols, 900), at_once=3)
    report = sweeper_of(shop, quotes, replace(LIMITS, quotes_at_once=3)).sweep()
    assert (report.quotes, report.fired, quotes.most) == (6, 6, 3)


def has_two(things: Sized) -> bool:
    return len(things) >= 2


def test_a_sweep_goes_on_at_the_symbol_where_the_one_before_had_to_stop(shop: Shop) -> None:
    """Each sweep is told to stop after two symbols; whichever process runs the next one, all have their turn."""
    for symbol in ("A", "B", "C", "D", "E"):
        sets_buy(shop, symbol=symbol, price="1.00")
    turns = []
    for _ in range(5):
        quotes = PricedQuotes(dict.fromkeys("ABCDE", 900))
        sweeper = sweeper_of(shop, quotes, replace(LIMITS, quotes_at_once=1))
        report = sweeper.sweep(partial(has_two, quotes.asked))
        assert not report.complete
        turns.append("".join(symbol for symbol, _ in quotes.asked))
    assert turns == ["AB", "CD", "EA", "BC", "DE"]


def test_a_sweep_that_asked_for_all_and_had_no_time_to_fire_begins_elsewhere_next_time(shop: Shop) -> None:
    """Else the same symbol would be last in every sweep, and never fire while there is always too much to do."""
    sets_buy(shop, symbol="A", price="1.00")
    sets_buy(shop, symbol="B", price="10.00")
    first, second = PricedQuotes({"A": 900, "B": 900}), PricedQuotes({"A": 900, "B": 900})
    limits = replace(LIMITS, quotes_at_once=1)
    report = sweeper_of(shop, first, limits).sweep(partial(has_two, first.asked))
    assert (report.symbols, report.due, report.fired, report.complete) == (2, 1, 0, False)
    assert sweeper_of(shop, second, limits).sweep().fired == 1
    assert ([symbol for symbol, _ in first.asked], [symbol for symbol, _ in second.asked]) == (["A", "B"], ["B", "A"])


class EndlessExpiries(DueAccounts):
    """More expired orders than any sweep has time for."""

    def expired(self, now_ms: int, batch: int) -> Iterator[list[str]]:
        """Yield users without end."""
        while True:
            yield ["nobody"]


def test_expired_orders_leave_half_of_the_time_to_the_triggers(shop: Shop) -> None:
    sets_buy(shop)
    sweeper = sweeper_of(shop, PricedQuotes({"ABC": 900}), replace(LIMITS, time_ms=3_000))
    report = replace(sweeper, due=EndlessExpiries(shop.database)).sweep()
    assert (report.fired, report.complete) == (1, False)


def test_what_is_left_of_one_symbol_is_fired_by_the_next_sweep(shop: Shop) -> None:
    users = [f"user{number}" for number in range(6)]
    for user in users:
        sets_buy(shop, user)
    sweeper = sweeper_of(shop, PricedQuotes({"ABC": 900}), replace(LIMITS, writes_at_once=1, batch=2))
    fired = {f"{STATE}.holdings.ABC": {"$exists": True}}
    first = sweeper.sweep(lambda: shop.database["accounts"].count_documents(fired) >= 3)
    assert (first.fired, first.complete) == (3, False)
    second = sweeper.sweep()
    assert (second.fired, second.complete) == (3, True)
    assert len(firings(shop)) == 6


def test_orders_that_have_run_out_are_found_the_oldest_first(shop: Shop) -> None:
    for user in ("mary", "jane", "john"):
        shop.does("ADD", amount="10.00", user=user)
        shop.does("BUY", "ABC", "10.00", user=user)
        shop.now_ms += 1
    found = DueAccounts(shop.database).expired(shop.now_ms + 60_000, 2)
    assert list(found) == [["mary", "jane"], ["john"]]


def test_a_sweep_without_time_begins_nothing(shop: Shop) -> None:
    sets_buy(shop)
    shop.does("ADD", amount="10.00", user="john")
    shop.does("BUY", "ABC", "10.00", user="john")
    shop.now_ms += 60_001
    quotes = PricedQuotes({"ABC": 900})
    report = sweeper_of(shop, quotes, replace(LIMITS, time_ms=0)).sweep()
    assert (report.symbols, report.fired, report.expired, report.complete, quotes.asked) == (0, 0, 0, False, [])


@pytest.mark.parametrize(("waited", "expired"), [(60_000, 0), (60_001, 1)])
def test_orders_of_a_user_who_is_away_are_given_back_after_sixty_seconds(shop: Shop, waited: int, expired: int) -> None:
    shop.does("ADD", amount="100.00")
    number = shop.does("BUY", "ABC", "30.00").entry.transaction
    shop.now_ms += waited
    assert sweeper_of(shop, PricedQuotes({})).sweep().expired == expired
    assert account_of(shop).cash_cents == (10000 if expired else 7000)
    outcome = shop.does("COMMIT_BUY").entry.outcome
    assert outcome == ("no_pending_buy" if expired else "ok")
    system = [fields for kind, fields in audit(shop.settings) if kind == "systemEvent"]
    assert [(fields["command"], fields["transactionNum"], fields["funds"]) for fields in system] == [
        ("BUY", str(number), "30.00")
    ][:expired]


def test_the_shares_of_an_expired_sell_come_back_and_newer_orders_stay(shop: Shop) -> None:
    shop.does("ADD", amount="100.00")
    shop.does("BUY", "ABC", "100.00")
    shop.does("COMMIT_BUY")
    shop.does("SELL", "ABC", "40.00")
    shop.now_ms += 30_000
    shop.does("SELL", "ABC", "20.00")
    shop.now_ms += 30_001
    report = sweeper_of(shop, PricedQuotes({})).sweep()
    assert report.expired == 1
    account = account_of(shop)
    assert (account.holdings, [order.shares for order in account.pending_sells]) == ({"ABC": 8}, [2])
    shop.now_ms += 30_000
    assert sweeper_of(shop, PricedQuotes({})).sweep().expired == 1
    assert account_of(shop).holdings == {"ABC": 10}


class Interrupted(Accounts):
    """A store with something that happens between the sweep's reading and writing, once."""

    happens: Callable[[], object] | None = None

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        """Read, then let it happen."""
        record = super().read(user, key, with_latest=with_latest)
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return record


def test_a_cancel_that_comes_between_reading_and_firing_wins(shop: Shop) -> None:
    sets_buy(shop)
    store = Interrupted(shop.database, "sweeper", RecentRecords(0))
    store.happens = lambda: shop.does("CANCEL_SET_BUY", "ABC")
    report = sweeper_of(shop, PricedQuotes({"ABC": 900}), store=store).sweep()
    assert (report.due, report.fired, report.lost_races) == (1, 0, 1)
    assert (account_of(shop), firings(shop)) == (Account("jane", cash_cents=5000), [])


def test_a_cancel_that_comes_after_the_firing_finds_no_trigger(shop: Shop) -> None:
    """The process of the cancel still has the trigger in its memory: the guard makes it look again."""
    sets_buy(shop)
    assert shop.accounts.read("jane").account.buy_triggers
    sweeper_of(shop, PricedQuotes({"ABC": 1000})).sweep()
    assert shop.does("CANCEL_SET_BUY", "ABC").entry.outcome == "no_buy_amount"
    assert account_of(shop) == Account("jane", holdings={"ABC": 5}, cost_cents={"ABC": 5000})


def test_another_command_between_reading_and_firing_is_kept_and_the_trigger_fires(shop: Shop) -> None:
    sets_buy(shop)
    store = Interrupted(shop.database, "sweeper", RecentRecords(0))
    store.happens = lambda: shop.does("ADD", amount="7.00")
    report = sweeper_of(shop, PricedQuotes({"ABC": 1000}), store=store).sweep()
    assert (report.fired, report.lost_races) == (1, 1)
    assert account_of(shop) == Account("jane", cash_cents=700, holdings={"ABC": 5}, cost_cents={"ABC": 5000})


def test_two_sweeps_that_meet_at_an_account_fire_its_trigger_once(shop: Shop) -> None:
    sets_buy(shop)
    quotes = PricedQuotes({"ABC": 1000})
    store = Interrupted(shop.database, "sweeper", RecentRecords(0))
    other = []
    store.happens = lambda: other.append(sweeper_of(shop, quotes).sweep())
    report = sweeper_of(shop, quotes, store=store).sweep()
    assert (report.fired, report.lost_races, other[0].fired) == (0, 1, 1)
    assert len(firings(shop)) == 1


class LosesAnswer(Accounts):
    """A store that writes, or does not, and loses the answer of its first write."""

    applied = True
    losses = 1

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        """Save, or do not, and lose the answer."""
        if not self.losses:
            return super().save(record, account, entry, attempt)
        self.losses = 0
        if self.applied:
            super().save(record, account, entry, attempt)
        raise UnknownOutcomeError("the answer was lost")


@pytest.mark.parametrize("applied", [True, False])
def test_a_firing_whose_answer_is_lost_happens_once_and_is_counted(shop: Shop, applied: bool) -> None:
    sets_buy(shop)
    store = LosesAnswer(shop.database, "sweeper", RecentRecords(0))
    store.applied = applied
    report = sweeper_of(shop, PricedQuotes({"ABC": 1000}), store=store).sweep()
    assert (report.fired, len(firings(shop))) == (1, 1)
    assert account_of(shop) == Account("jane", holdings={"ABC": 5}, cost_cents={"ABC": 5000})


def test_a_sweep_is_not_fooled_by_what_its_process_remembers(shop: Shop) -> None:
    """A store that still has the account without its trigger would find nothing to do, unguarded, for ever."""
    store = Accounts(shop.database, "sweeper", RecentRecords(10))
    shop.does("ADD", amount="1.00")
    store.read("jane")
    sets_buy(shop)
    assert sweeper_of(shop, PricedQuotes({"ABC": 1000}), store=store).sweep().fired == 1


class Unlucky(Accounts):
    """A store whose first write is applied and not confirmed, and that cannot look for it at the first try either."""

    def __init__(self, shop: Shop, others: Callable[[], object]) -> None:
        super().__init__(shop.database, "sweeper", RecentRecords(0))
        self.others = others
        self.lost: list[str] = []

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        after = super().save(record, account, entry, attempt)
        if not self.lost:
            self.lost.append("the answer to the write")
            self.others()
            raise UnknownOutcomeError("the answer was lost")
        return after

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        if len(self.lost) == 1:
            self.lost.append("the look for it")
            raise UnknownOutcomeError("no primary")
        return super().find_attempt(record, attempt, since)


def test_a_firing_of_two_unknown_outcomes_with_a_closed_part_between_is_found_again(shop: Shop) -> None:
    """By then its entry is in a part that others have closed: it is looked for from where it was tried first."""
    sets_buy(shop)

    def others_write() -> None:
        for _ in range(PART_ENTRIES + 5):
            shop.does("ADD", amount="0.01")

    store = Unlucky(shop, others_write)
    report = sweeper_of(shop, PricedQuotes({"ABC": 1000}), store=store).sweep()
    assert len(store.lost) == 2
    assert (report.fired, report.failed, len(firings(shop))) == (1, 0, 1)
    assert account_of(shop).holdings == {"ABC": 5}


def test_an_account_that_cannot_be_settled_holds_up_no_other(shop: Shop) -> None:
    for user in ("jane", "john", "mary"):
        sets_buy(shop, user)
    shop.database["accounts"].update_one({"_id": "john"}, {"$unset": {f"{STATE}.0.cash": ""}})
    report = sweeper_of(shop, PricedQuotes({"ABC": 1000})).sweep()
    assert (report.due, report.fired, report.failed) == (3, 2, 1)


def test_a_sweep_of_an_empty_database_makes_its_indexes_and_finds_nothing(shop: Shop) -> None:
    report = sweeper_of(shop, PricedQuotes({})).sweep()
    assert (report.symbols, report.due, report.expired, report.complete) == (0, 0, 0, True)
    assert {"armed", "next_expiry"} <= set(shop.database["accounts"].index_information())


def test_a_database_that_is_away_is_said_in_the_stores_own_words() -> None:
    away = Shop(settings_for("mongodb://127.0.0.1:1/?directConnection=true", "none", MONGO_TIMEOUT_MS="100"))
    with pytest.raises(StoreUnavailableError):
        sweeper_of(away, PricedQuotes({})).sweep()
    away.close()


def test_a_closed_part_of_the_journal_keeps_the_firings_in_it(shop: Shop) -> None:
    """Firings fill the journal like commands do: 70 of them close a part, and each is still in the log once."""
    numbers = []
    sweeper = sweeper_of(shop, PricedQuotes({"ABC": 1000}))
    for _ in range(25):
        numbers.append(str(sets_buy(shop)))
        sweeper.sweep()
    assert shop.accounts.read("jane").open_from > 1
    assert [firing["transactionNum"] for firing in firings(shop)] == numbers
