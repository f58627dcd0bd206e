"""Fixtures of the tests that run parts on real servers."""

from collections.abc import Iterator

import pytest

from tests.integration.shop import Shop, settings_for


@pytest.fixture
def shop(mongo_uri: str, mongo_database: str) -> Iterator[Shop]:
    """Return a shop on a fresh database; every quote is 10.00."""
    shop = Shop(settings_for(mongo_uri, mongo_database))
    yield shop
    shop.close()
