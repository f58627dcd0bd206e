"""Every hit on the quote source is in a journal, also when its quote was not used (docs/rules.md section 4)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chalicelib.domain.account import Account
from chalicelib.domain.errors import KeyReusedError, QuoteUnavailableError, StoreUnavailableError
from chalicelib.domain.journal import Entry, QuoteHit
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.store.accounts import Accounts
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from tests.integration.shop import Shop


def hits_in_journal(shop: Shop) -> list[str]:
    """Return the crypto keys of the hits on the quote source that jane's journal records."""
    newest_first = reversed(shop.entries())
    return [event.quote.cryptokey for e in newest_first for event in e.events if isinstance(event, QuoteHit)]


class FreshQuotes:
    """Quotes that are hits on the source, the first of which is too old at once if the test says so."""

    def __init__(self, *, first_is_old: bool = False, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.first_is_old, self.meanwhile, self.asked = first_is_old, meanwhile, 0

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        self.meanwhile()
        self.asked += 1
        return QuoteAnswer(Quote(symbol, 1000, user, 17, f"hit-{self.asked}"), cached=False)

    def is_current(self, answer: QuoteAnswer) -> bool:
        return not (self.first_is_old and answer.quote.cryptokey == "hit-1")


def test_a_quote_that_ran_out_before_it_was_used_is_recorded_all_the_same(shop: Shop) -> None:
    shop.trading = replace(shop.trading, quotes=FreshQuotes(first_is_old=True))
    assert shop.does("QUOTE", "ABC").result["cryptokey"] == "hit-2"
    assert hits_in_journal(shop) == ["hit-1", "hit-2"]


def test_a_quote_asked_for_in_vain_is_recorded_when_another_request_with_the_key_was_faster(shop: Shop) -> None:
    other = Shop(shop.settings)
    faster = FreshQuotes(meanwhile=lambda: other.does("QUOTE", "ABC", key="once"))
    shop.trading = replace(shop.trading, quotes=faster)
    assert shop.does("QUOTE", "ABC", key="once").replayed
    assert hits_in_journal(shop) == ["hit-1"]
    other.close()


def test_a_quote_asked_for_in_vain_is_recorded_when_the_key_turns_out_to_be_anothers(shop: Shop) -> None:
    other = Shop(shop.settings)
    faster = FreshQuotes(meanwhile=lambda: other.does("ADD", amount="1.00", key="once"))
    shop.trading = replace(shop.trading, quotes=faster)
    with pytest.raises(KeyReusedError):
        shop.does("QUOTE", "ABC", key="once")
    assert hits_in_journal(shop) == ["hit-1"]
    other.close()


def test_a_quote_that_ran_out_is_recorded_also_when_there_is_no_other(shop: Shop) -> None:
    quotes = FreshQuotes(first_is_old=True)

    def no_second() -> None:
        if quotes.asked == 1:
            raise QuoteUnavailableError("away")

    quotes.meanwhile = no_second
    shop.trading = replace(shop.trading, quotes=quotes)
    with pytest.raises(QuoteUnavailableError):
        shop.does("QUOTE", "ABC")
    assert hits_in_journal(shop) == ["hit-1"]


def test_a_hit_is_recorded_once_though_the_answer_to_its_write_was_lost(shop: Shop) -> None:
    class Deaf(Accounts):
        """Accounts whose first write is not confirmed."""

        lost = False

        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            after = super().save(record, account, entry, attempt)
            if not self.lost:
                self.lost = True
                raise UnknownOutcomeError("the answer was lost")
            return after

    deaf = Deaf(shop.database, "deaf", RecentRecords(0))
    shop.trading = replace(shop.trading, quotes=FreshQuotes(), store=deaf)
    shop.does("QUOTE", "ABC")
    assert deaf.lost
    assert hits_in_journal(shop) == ["hit-1"]


def test_a_hit_that_the_database_does_not_confirm_is_in_the_log_with_its_crypto_key(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Accounts):
        """Accounts that can be read and not written."""

        def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
            raise UnknownOutcomeError("away")

    for first_is_old, hits in ((False, 1), (True, 2)):
        caplog.clear()
        quotes = FreshQuotes(first_is_old=first_is_old)
        store = Away(shop.database, "away", RecentRecords(0))
        shop.trading = replace(shop.trading, quotes=quotes, store=store, limit_ms=100)
        with pytest.raises(StoreUnavailableError):
            shop.does("QUOTE", "ABC")
        for number in range(1, hits + 1):
            assert f"a quote of ABC, crypto key hit-{number}, may not be in the audit log" in caplog.text
    assert hits_in_journal(shop) == []
