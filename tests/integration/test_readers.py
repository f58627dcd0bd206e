"""What readers promise on a real mongod: each read gets its own account as it is, however it is sent."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo import MongoClient, monitoring
from pymongo.collection import Collection

from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.grouped.reader import GroupReader
from chalicelib.store.key_filter import block_of
from chalicelib.store.readers import Reader, SingleReader
from tests.integration.shop import Shop

KEYS = ["one", "two", "three"]


class Finds(monitoring.CommandListener):
    """Counts queries, and how many accounts each asked for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.in_flight: set[int] = set()
        self.most_in_flight = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "find":
            users = event.command["filter"]["_id"]
            self.sizes.append(len(users["$in"]) if isinstance(users, Mapping) else 1)
            self.in_flight.add(event.request_id)
            self.most_in_flight = max(self.most_in_flight, len(self.in_flight))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self.in_flight.discard(event.request_id)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.fixture(params=["single", "group"])
def reader(request: pytest.FixtureRequest, shop: Shop) -> Reader:
    """Return each kind of reader in turn: what is said here holds for all."""
    accounts = shop.database["accounts"]
    return SingleReader(accounts) if request.param == "single" else GroupReader(accounts, 8)


def stored(shop: Shop) -> None:
    for number, user in enumerate(["jane", "john"], 1):
        for key in KEYS[:number]:
            shop.does("ADD", amount=f"{number}.00", user=user, key=key)


def test_an_account_is_read_without_its_journal_and_only_as_far_as_a_key_needs_it(reader: Reader, shop: Shop) -> None:
    stored(shop)
    document = reader.read("john", block_of("one"))
    assert document is not None
    state = state_of(document)
    assert (state["version"], state["cash"], state["keyed"]) == (2, 400, 2)
    assert "open" not in state
    assert set(state["keys"]["a"]) <= {block_of("one"), "from"}
    whole = reader.read("john", None)
    assert whole is not None
    assert {block_of("one"), block_of("two")} <= set(state_of(whole)["keys"]["a"])
    bare = reader.read("john", "")
    assert bare is not None
    assert "keys" not in state_of(bare)


def test_the_latest_entries_come_with_the_same_read(reader: Reader, shop: Shop) -> None:
    stored(shop)
    document = reader.read("john", "", with_latest=True)
    assert document is not None
    assert [entry["key"] for entry in state_of(document)["open"]] == list(KEYS[:2])


def test_a_user_without_an_account_has_none(reader: Reader) -> None:
    assert reader.read("nobody", "") is None


def test_reads_at_the_same_time_get_each_its_own(reader: Reader, shop: Shop) -> None:
    stored(shop)
    with ThreadPoolExecutor(12) as pool:
        documents = list(pool.map(lambda user: reader.read(user, block_of(user)), ["jane", "john", "nobody"] * 20))
    assert [document and document["_id"] for document in documents] == ["jane", "john", None] * 20


def test_a_database_that_is_away_makes_an_unknown_outcome(shop: Shop) -> None:
    away: MongoClient[Document] = MongoClient("mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=50)
    with away:
        accounts: Collection[Document] = away["x"]["accounts"]
        for reader in (SingleReader(accounts), GroupReader(accounts, 8)):
            with pytest.raises(UnknownOutcomeError):
                reader.read("jane", "")


@pytest.fixture
def watched(mongo_uri: str, mongo_database: str) -> Iterator[tuple[Collection[Document], Finds]]:
    finds = Finds()
    client: MongoClient[Document] = MongoClient(mongo_uri, event_listeners=[finds])
    with client:
        yield client[mongo_database]["accounts"], finds


def test_reads_that_wait_go_out_as_one_query(watched: tuple[Collection[Document], Finds]) -> None:
    accounts, finds = watched
    accounts.insert_many([{"_id": f"user{number}", STATE: [{"version": 1}]} for number in range(64)])
    reader = GroupReader(accounts, 16)
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda number: reader.read(f"user{number}", ""), range(64)))
    assert sum(finds.sizes) == 64
    assert max(finds.sizes) <= 16
    assert len(finds.sizes) < 64
    assert finds.most_in_flight == 1
