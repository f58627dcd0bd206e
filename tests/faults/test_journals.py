"""The judge of accounts by their journals: it passes what the rules have made, and names what was changed by hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.audit.archives import Archives
from chalicelib.audit.folder import Folder
from chalicelib.audit.retention import DAY_MS, Retention
from chalicelib.domain.quote import Quote
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hits, settle
from chalicelib.service.account_write import write_for_system
from chalicelib.store.documents import STATE
from chalicelib.store.user_journal import PART_ENTRIES
from infra.faults.journals import differences
from tests.integration.shop import Shop, settings_for


@pytest.fixture
def traded(mongo_uri: str, mongo_database: str) -> Iterator[Shop]:
    """Return a shop after a day of two users: every kind of entry, and parts that were closed."""
    shop = Shop(settings_for(mongo_uri, mongo_database))
    for user in ("jane", "john"):
        shop.does("ADD", amount="2000.00", user=user)
        for name in ("COMMIT_BUY", "CANCEL_BUY"):
            shop.does("BUY", "ABC", "200.00", user=user)
            shop.does(name, user=user)
        shop.does("SELL", "ABC", "50.00", user=user)
        shop.does("COMMIT_SELL", user=user)
        shop.does("SELL", "ABC", "20.00", user=user)
        shop.does("CANCEL_SELL", user=user)
        shop.does("SET_BUY_AMOUNT", "XYZ", "55.00", user=user)
        shop.does("SET_BUY_TRIGGER", "XYZ", "10.00", user=user)
        shop.does("SET_SELL_AMOUNT", "ABC", "40.00", user=user)
        shop.does("SET_SELL_TRIGGER", "ABC", "20.00", user=user)
        shop.does("BUY", "ABC", "10000.00", user=user)  # rejected
        shop.does("SELL", "ABC", "10.00", user=user)
        shop.now_ms += 61_000
        write_for_system(
            shop.accounts, lambda: shop.now_ms, user, lambda account, now: settle(account, {"XYZ": 900}, now), 5_000
        )
        shop.does("SET_BUY_AMOUNT", "XYZ", "25.00", user=user)
        for _ in range(130):
            shop.does("ADD", amount="0.01", user=user)
        shop.does("BUY", "MNO", "30.00", user=user)
        shop.does("DISPLAY_SUMMARY", user=user)
    hit = Quote("ABC", 1000, "jane", shop.now_ms, "key")
    write_for_system(
        shop.accounts,
        lambda: shop.now_ms,
        SYSTEM_JOURNAL,
        lambda account, now: note_hits([hit], 7, account, now),
        5_000,
    )
    yield shop
    shop.close()


def found(shop: Shop, folder: Path) -> list[str]:
    return list(differences(shop.database, Archives(shop.database, Folder(folder)), shop.quotes.price_cents))


def test_accounts_that_the_rules_have_made_are_what_their_journals_lead_to(traded: Shop, tmp_path: Path) -> None:
    assert traded.database["journal"].count_documents({}) >= 4
    assert found(traded, tmp_path) == []


def test_what_is_archived_counts_and_is_missed_when_it_is_gone(traded: Shop, tmp_path: Path) -> None:
    moved = Retention(traded.database, Folder(tmp_path), lambda: traded.now_ms + 2 * DAY_MS, days=1).run()
    assert moved.entries >= 2 * PART_ENTRIES
    assert found(traded, tmp_path) == []
    gone = traded.database["archives"].find_one_and_delete({"users": "jane"})
    assert gone is not None
    assert [text for text in found(traded, tmp_path) if text.startswith("jane")] == [
        f"jane: entries 1 to {PART_ENTRIES} of the journal are missing"
    ]


def changed(change: dict[str, Any]) -> Callable[[Shop], object]:
    """Return what changes jane's account."""
    return lambda shop: shop.database["accounts"].update_one({"_id": "jane"}, change)


def without_an_entry(*, counted: bool) -> Callable[[Shop], object]:
    """Return what takes one entry out of the middle of a closed part."""

    def remove(shop: Shop) -> None:
        part = shop.database["journal"].find_one({"user": "jane"}, sort=[("from", 1)])
        assert part is not None
        del part["entries"][30]
        part["count"] -= counted
        shop.database["journal"].replace_one({"_id": part["_id"]}, part)

    return remove


CHANGES: dict[str, tuple[Callable[[Shop], object], str]] = {
    "cash": (changed({"$inc": {f"{STATE}.0.cash": 1}}), "jane: cash is "),
    "shares": (changed({"$inc": {f"{STATE}.0.holdings.ABC": 1}}), "jane: holdings of ABC are 14, "),
    "an order": (changed({"$inc": {f"{STATE}.0.pending_buys.0.n": 1}}), "jane: pending buys, number 1: "),
    "no order": (changed({"$set": {f"{STATE}.0.pending_buys": []}}), "jane: 0 buys are pending, "),
    "a trigger": (changed({"$inc": {f"{STATE}.0.sell_triggers.ABC.n": 1}}), "jane: sell trigger of ABC: "),
    "a cost": (changed({"$inc": {f"{STATE}.0.cost.ABC": 1}}), "jane: the cost of ABC is "),
    "an entry": (without_an_entry(counted=False), "jane: of 64 entries from 1 on there are 63"),
    "an entry that nobody counts": (
        without_an_entry(counted=True),
        "jane: entries 64 to 64 of the journal are missing",
    ),
    "a part": (
        lambda shop: shop.database["journal"].delete_one({"user": "jane", "from": 65}),
        "jane: entries 65 to 128 of the journal are missing",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_by_hand_is_named(traded: Shop, tmp_path: Path, what: str) -> None:
    change, said = CHANGES[what]
    change(traded)
    (named,) = found(traded, tmp_path)
    assert named.startswith(said)
