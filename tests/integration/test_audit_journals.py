"""Journals that are made in bulk are as the store would have left them."""

from infra.audit.journals import make_journals, user_name
from tests.integration.shop import Shop


def test_the_keys_of_closed_parts_are_found(shop: Shop) -> None:
    """Of 200 commands the last 8 are open."""
    make_journals(shop.database, 1, 200, per_second=1, first=7)
    record = shop.accounts.read(user_name(7))
    assert (record.version, record.open_count) == (200, 8)
    for number in (200, 193, 192, 129, 128, 65, 64, 1):
        found = shop.accounts.find_key(record, f"{number:012x}")
        assert found is not None
        assert (found.sequence, found.entry.transaction) == (number, number)
    assert shop.accounts.find_key(record, f"{201:012x}") is None


def test_journals_are_added_to_those_that_are_there(shop: Shop) -> None:
    make_journals(shop.database, 5, 50)
    make_journals(shop.database, 2, 30, first=5)
    assert shop.database["accounts"].count_documents({}) == 7
