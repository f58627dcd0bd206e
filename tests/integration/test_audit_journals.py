"""Journals that are made in bulk are as the store would have left them."""

from infra.audit.journals import make_journals, user_name
from tests.integration.shop import Shop


def test_the_keys_of_closed_parts_are_found(shop: Shop) -> None:
    """Of 200 commands the last 8 are open; their keys and those of the newest closed parts are known."""
    make_journals(shop.database, 1, 200, per_second=1, first=7)
    record = shop.accounts.load(user_name(7))
    assert (record.version, len(record.open_entries), len(record.closed)) == (200, 8, 2)
    for number in (200, 193, 192, 129, 128, 65):
        found = shop.accounts.find_key(record, f"{number:012x}")
        assert found is not None
        assert (found.sequence, found.entry.transaction) == (number, number)
    assert shop.accounts.find_key(record, f"{1:012x}") is None, "forgotten, as it may be"


def test_journals_are_added_to_those_that_are_there(shop: Shop) -> None:
    make_journals(shop.database, 5, 50)
    make_journals(shop.database, 2, 30, first=5)
    assert shop.database["accounts"].count_documents({}) == 7
