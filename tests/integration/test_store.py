"""The store on a real mongod: what is saved is what is loaded, guarded, atomic and bounded."""

from dataclasses import replace

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import entry_document, entry_from_document, new_state, state_of
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.key_filter import KeyFilter
from chalicelib.store.recent import RecentRecords
from chalicelib.store.user_journal import PART_ENTRIES
from chalicelib.store.writers import GuardedWrite, SingleWriter
from tests.integration.shop import Shop, settings_for
from tests.integration.writes import FULL_ENTRY, other_process


def test_an_entry_is_read_as_it_was_written() -> None:
    stored = bson.decode(bson.encode(entry_document(FULL_ENTRY, b"attempt!", "test")))
    assert entry_from_document(stored) == FULL_ENTRY


def test_a_large_result_is_stored_small_and_read_as_it_was() -> None:
    large = replace(FULL_ENTRY, result={"history": [{"transaction": number, "symbol": None} for number in range(500)]})
    document = entry_document(large, b"attempt!", "test")
    assert len(bson.encode(document)) < 4000
    assert entry_from_document(document) == large


SYMBOLS = st.sampled_from(["A", "BB", "CCC"])


CENTS = st.integers(1, 10**11)


ORDERS = st.lists(st.builds(PendingOrder, CENTS, SYMBOLS, CENTS, CENTS, CENTS, CENTS), max_size=4).map(tuple)


ACCOUNTS = st.builds(
    Account,
    user=st.just("jane"),
    cash_cents=st.integers(0, 10**15),
    holdings=st.dictionaries(SYMBOLS, CENTS),
    pending_buys=ORDERS,
    pending_sells=ORDERS,
    buy_triggers=st.dictionaries(SYMBOLS, st.builds(BuyTrigger, CENTS, st.none() | CENTS, st.none() | CENTS)),
    sell_triggers=st.dictionaries(SYMBOLS, st.builds(SellTrigger, CENTS, st.none() | CENTS, CENTS, st.none() | CENTS)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(ACCOUNTS, min_size=1, max_size=5))
def test_any_account_can_become_any_other_in_one_update(shop: Shop, states: list[Account]) -> None:
    """The operators that `changed_fields` makes lead to the very state that was meant, whatever was there before."""
    shop.database["accounts"].delete_many({})
    store = other_process(shop)
    for state in states:
        store.save(store.read("jane", FULL_ENTRY.key), state, FULL_ENTRY, b"attempt!")
        record = store.read("jane")
        assert record.account == state
    document = shop.database["accounts"].find_one({"_id": "jane"})
    assert document is not None
    state = state_of(document)
    assert state["version"] == len(states) == len(state["open"])
    assert state.get("next_expiry") == states[-1].next_expiry_ms()
    assert state["armed"] == new_state(states[-1], [], last_ms=0, keys=KeyFilter())["armed"]


def test_a_new_account_is_made_by_its_first_command_and_not_by_looking(shop: Shop) -> None:
    assert shop.accounts.read("jane").version == 0
    assert shop.database["accounts"].count_documents({}) == 0
    assert shop.does("DISPLAY_SUMMARY").entry.cash_cents == 0
    assert shop.database["accounts"].count_documents({}) == 1


def test_a_write_on_an_old_version_changes_nothing(shop: Shop) -> None:
    shop.does("ADD", amount="1.00")
    old = shop.accounts.read("jane")
    shop.does("ADD", amount="2.00")
    with pytest.raises(LostRaceError):
        other_process(shop).save(old, replace(old.account, cash_cents=99), FULL_ENTRY, b"attempt!")
    assert other_process(shop).read("jane").account.cash_cents == 300


def test_an_entry_is_set_at_its_place_and_the_others_are_let_alone(shop: Shop) -> None:
    """After a push MongoDB would check the whole array: with 64 entries, a third of what an update costs it."""
    noted: list[GuardedWrite] = []

    class Noting(SingleWriter):
        def write(self, write: GuardedWrite) -> None:
            noted.append(write)
            super().write(write)

    database = shop.database
    store = Accounts(database, "other", RecentRecords(10), Noting(database["accounts"]))
    for number in range(PART_ENTRIES + 3):
        entry = replace(FULL_ENTRY, transaction=number + 1)
        store.save(store.read("jane"), Account("jane", number), entry, b"attempt!")
    written = [{field for field in write.operators["$set"] if field.startswith("open")} for write in noted]
    whole = {"open_bytes", "open", "open_from"}
    assert written == [
        whole,
        *({"open_bytes", f"open.{place}"} for place in range(1, PART_ENTRIES)),
        whole,
        *({"open_bytes", f"open.{place}"} for place in (1, 2)),
    ]
    document = database["accounts"].find_one({"_id": "jane"})
    assert document is not None
    transactions = [entry["tx"] for entry in state_of(document)["open"]]
    assert transactions == [PART_ENTRIES + 1, PART_ENTRIES + 2, PART_ENTRIES + 3]


def test_two_first_commands_make_one_account(shop: Shop) -> None:
    new = shop.accounts.read("jane")
    shop.does("ADD", amount="1.00")
    with pytest.raises(LostRaceError):
        shop.accounts.save(new, replace(new.account, cash_cents=99), FULL_ENTRY, b"attempt!")


def test_a_record_kept_in_the_process_is_not_trusted_when_another_server_has_written(shop: Shop) -> None:
    shop.does("ADD", amount="1.00")
    other = Shop(shop.settings)
    other.does("ADD", amount="2.00")
    assert shop.does("ADD", amount="4.00").entry.cash_cents == 700
    other.close()


def test_time_never_goes_back_within_an_account(shop: Shop) -> None:
    shop.does("ADD", amount="1.00")
    shop.now_ms -= 5000
    assert shop.does("ADD", amount="1.00").entry.timestamp_ms == shop.now_ms + 5000


def test_the_process_keeps_no_more_records_than_it_may(mongo_uri: str, mongo_database: str) -> None:
    shop = Shop(settings_for(mongo_uri, mongo_database), recent=3)
    for number in range(10):
        shop.does("ADD", amount="1.00", user=f"user{number}")
    assert len(shop.accounts._recent._kept) == 3
    shop.close()


def test_indexes_are_there_after_the_first_command(shop: Shop) -> None:
    shop.does("ADD", amount="1.00")
    assert {"armed", "next_expiry"} <= set(shop.database["accounts"].index_information())


def test_writes_are_majority_and_journaled_and_reads_majority(shop: Shop) -> None:
    assert shop.database.write_concern.document["w"] == "majority"
    assert shop.database.write_concern.document["j"] is True
    assert shop.database.read_concern.level == "majority"


def test_a_database_that_is_away_is_an_unavailable_store_within_the_time_limit() -> None:
    away = settings_for(
        "mongodb://127.0.0.1:1/?directConnection=true", "none", MONGO_TIMEOUT_MS="100", COMMAND_TIMEOUT_MS="300"
    )
    shop = Shop(away)
    with pytest.raises(StoreUnavailableError):
        shop.does("ADD", amount="1.00", key="k")
    with pytest.raises(UnknownOutcomeError):
        shop.accounts.read("jane")
    shop.close()


@pytest.mark.parametrize(
    ("value", "write", "read"),
    [
        ("majority-journaled", {"w": "majority", "j": True, "wtimeout": 5000}, "majority"),
        ("majority", {"w": "majority", "wtimeout": 5000}, "majority"),
        ("one", {"w": 1}, "local"),
    ],
)
def test_what_is_written_is_confirmed_and_read_by_the_measure_that_is_set(
    mongo_uri: str, mongo_database: str, value: str, write: dict[str, object], read: str
) -> None:
    shop = Shop(settings_for(mongo_uri, mongo_database, WRITE_CONCERN=value), recent=0)
    assert shop.database.write_concern.document == write
    assert shop.database.read_concern.level == read
    for _ in range(3):  # each reads what the one before has written
        shop.does("ADD", amount="1.00")
    assert shop.accounts.read("jane").account.cash_cents == 300
    shop.close()


def test_writes_are_journaled_by_a_majority_unless_something_else_is_set(shop: Shop) -> None:
    assert shop.settings.write_concern == "majority-journaled"
