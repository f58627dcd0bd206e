"""A server with a wrong clock, and a right one after it: what was left does no harm (docs/rules.md section 1)."""

from collections.abc import Iterator

import pytest

from chalicelib.store.due import AHEAD_MS
from tests.integration.shop import Shop, settings_for
from tests.integration.sweeping import PricedQuotes, audit, sweeper_of

HOUR_MS = 3_600_000


@pytest.fixture
def shop(mongo_uri: str, mongo_database: str) -> Iterator[Shop]:
    """Return a shop whose clock is right."""
    shop = Shop(settings_for(mongo_uri, mongo_database), recent=0)
    yield shop
    shop.close()


@pytest.fixture
def ahead(shop: Shop) -> Iterator[Shop]:
    """Return a shop on the same accounts whose clock is an hour ahead."""
    shop = Shop(shop.settings, recent=0, now_ms=shop.now_ms + HOUR_MS, numbers=shop.numbers)
    yield shop
    shop.close()


def test_an_order_after_an_entry_from_the_future_lives_for_sixty_seconds(shop: Shop, ahead: Shop) -> None:
    shop.does("ADD", amount="100.00")
    ahead.does("ADD", amount="1.00")
    bought = shop.does("BUY", "ABC", "30.00").entry
    assert bought.result["expires_at"] == shop.now_ms + 60_000
    shop.now_ms += 60_001
    assert shop.does("COMMIT_BUY").entry.outcome == "no_pending_buy"
    assert shop.accounts.read("jane").account.cash_cents == 10_100


def test_a_due_trigger_fires_after_an_entry_from_the_future(shop: Shop, ahead: Shop) -> None:
    shop.does("ADD", amount="50.00")
    shop.does("SET_BUY_AMOUNT", "ABC", "50.00")
    shop.does("SET_BUY_TRIGGER", "ABC", "10.00")
    ahead.does("ADD", amount="1.00")
    report = sweeper_of(shop, PricedQuotes({"ABC": 900})).sweep()
    assert (report.due, report.fired, report.outdated) == (1, 1, 0)


def test_an_order_from_the_future_of_a_user_who_is_away_is_given_back_after_sixty_seconds(
    shop: Shop, ahead: Shop
) -> None:
    """A sweep reads it once, from when on it has 60 s; that change is no event, so the log knows nothing of it."""
    ahead.does("ADD", amount="100.00")
    ahead.does("BUY", "ABC", "30.00")
    sweeper = sweeper_of(shop, PricedQuotes({}))
    assert sweeper.sweep().expired == 0
    record = shop.accounts.read("jane")
    assert [order.expires_at_ms for order in record.account.pending_buys] == [shop.now_ms + 60_000]
    sweeper.sweep()
    assert shop.accounts.read("jane").version == record.version
    shop.now_ms += 60_001
    assert sweeper.sweep().expired == 1
    assert shop.accounts.read("jane").account.cash_cents == 10_000
    kinds = [kind for kind, _ in audit(shop.settings)]
    assert kinds == [*("userCommand", "accountTransaction") * 2, "systemEvent", "accountTransaction"]


def test_an_order_of_a_server_within_the_tolerance_is_left_alone_by_the_sweep(shop: Shop, ahead: Shop) -> None:
    ahead.now_ms = shop.now_ms + AHEAD_MS
    ahead.does("ADD", amount="100.00")
    bought = ahead.does("BUY", "ABC", "30.00").entry
    sweeper_of(shop, PricedQuotes({})).sweep()
    record = shop.accounts.read("jane")
    assert (record.version, record.account.pending_buys[0].expires_at_ms) == (2, bought.result["expires_at"])


def test_the_journal_stays_in_the_order_of_its_times(shop: Shop, ahead: Shop) -> None:
    """Slices of the log are found by the times at the ends of its parts."""
    ahead.does("ADD", amount="1.00")
    assert shop.does("ADD", amount="1.00").entry.timestamp_ms == ahead.now_ms
    shop.now_ms += HOUR_MS + 1
    assert shop.does("ADD", amount="1.00").entry.timestamp_ms == shop.now_ms
