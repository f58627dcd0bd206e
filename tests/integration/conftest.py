"""What tests of parts on real servers begin with."""

from collections.abc import Iterator

import pytest

from tests.integration.shop import Shop, settings_for


@pytest.fixture
def shop(mongo_uri: str, mongo_database: str) -> Iterator[Shop]:
    """Return a shop on a fresh database, which sells everything at 10.00."""
    shop = Shop(settings_for(mongo_uri, mongo_database))
    yield shop
    shop.close()
