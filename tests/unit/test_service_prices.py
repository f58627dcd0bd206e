"""Prices of several symbols at once: how many are asked for at a time, what comes too late, and what is audited."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from chalicelib.clock import now_ms
from chalicelib.domain.errors import AccountFullError, QuoteUnavailableError
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import SYSTEM_JOURNAL
from chalicelib.service.prices import AT_ONCE, Prices
from chalicelib.service.transaction_numbers import TransactionNumbers
from tests.unit.test_service_trading import WatchedStore

LIMIT_MS, LONG_S = 60_000, 30.0


@dataclass
class Market:
    """Answers when `answers` lets it; counts how many ask at the same time."""

    answers: Callable[[str], QuoteAnswer]
    asked: list[str] = field(default_factory=list)
    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        assert user == "jane"
        with self.lock:
            self.asked.append(symbol)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return self.answers(symbol)
        finally:
            with self.lock:
                self.now -= 1

    def is_current(self, answer: QuoteAnswer) -> bool:
        raise NotImplementedError


def quoted(symbol: str, *, cached: bool = False) -> QuoteAnswer:
    return QuoteAnswer(Quote(symbol, 1_000, "jane", 1, symbol), cached)


def prices(market: Market, store: WatchedStore, limit_ms: int = LIMIT_MS) -> Prices:
    return Prices(market, store, now_ms, TransactionNumbers(lambda: 1), limit_ms, LIMIT_MS)


def test_every_symbol_has_its_quote_or_none_and_hits_are_audited_together() -> None:
    def answer(symbol: str) -> QuoteAnswer:
        if symbol == "AWAY":
            raise QuoteUnavailableError("no answer")
        return quoted(symbol, cached=symbol == "KNOWN")

    store = WatchedStore()
    found = prices(Market(answer), store).get(["NEW", "KNOWN", "AWAY", "OTHER"], "jane")
    assert found == {
        "NEW": quoted("NEW"),
        "KNOWN": quoted("KNOWN", cached=True),
        "AWAY": None,
        "OTHER": quoted("OTHER"),
    }
    ((_, one), (_, other)) = store.hits(SYSTEM_JOURNAL)
    assert (one.symbol, other.symbol) == ("NEW", "OTHER")
    assert len(store.entries(SYSTEM_JOURNAL)) == 1


def test_a_hit_that_cannot_be_written_is_in_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    store = WatchedStore()
    store.full.add(SYSTEM_JOURNAL)
    with pytest.raises(AccountFullError):
        prices(Market(quoted), store).get(["NEW"], "jane")
    assert "a quote of NEW, crypto key NEW, may not be in the audit log" in caplog.text


def test_without_a_hit_nothing_is_written() -> None:
    store = WatchedStore()
    prices(Market(lambda symbol: quoted(symbol, cached=True)), store).get(["ABC"], "jane")
    assert store.database.users() == []


def test_a_failure_nobody_expects_is_not_taken_for_a_price_that_is_not_to_be_had() -> None:
    def fails(symbol: str) -> QuoteAnswer:
        raise RuntimeError(symbol)

    with pytest.raises(RuntimeError, match="ABC"):
        prices(Market(fails), WatchedStore()).get(["ABC"], "jane")


def test_eight_are_asked_for_at_a_time() -> None:
    all_there = threading.Barrier(AT_ONCE)

    def together(symbol: str) -> QuoteAnswer:
        all_there.wait(LONG_S)
        return quoted(symbol)

    market = Market(together)
    symbols = [f"S{number}" for number in range(2 * AT_ONCE)]
    assert len(prices(market, WatchedStore()).get(symbols, "jane")) == 2 * AT_ONCE
    assert market.most == AT_ONCE == 8


def test_after_the_time_none_is_begun_and_those_under_way_count_as_hits() -> None:
    """A read that has waited its time out has begun eight: they end by themselves, and were hits on the source."""
    under_way, is_late = threading.Semaphore(0), threading.Event()

    def late(symbol: str) -> QuoteAnswer:
        under_way.release()
        assert is_late.wait(LONG_S)
        return quoted(symbol)

    def let_go() -> None:
        for _ in range(AT_ONCE):
            under_way.acquire()
        threading.Timer(0.5, is_late.set).start()

    watcher = threading.Thread(target=let_go)
    watcher.start()
    store, market = WatchedStore(), Market(late)
    symbols = [f"S{number}" for number in range(AT_ONCE + 1)]
    found = prices(market, store, limit_ms=1).get(symbols, "jane")
    watcher.join()
    assert [symbol for symbol, answer in found.items() if answer is None] == ["S8"]
    assert "S8" not in market.asked
    assert len(store.hits(SYSTEM_JOURNAL)) == AT_ONCE


def test_within_the_time_all_are_begun_however_many_there_are() -> None:
    market = Market(quoted)
    symbols = [f"S{number}" for number in range(40)]
    assert None not in prices(market, WatchedStore()).get(symbols, "jane").values()
    assert sorted(market.asked) == sorted(symbols)
