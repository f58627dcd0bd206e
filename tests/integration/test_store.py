"""The store on a real mongod: what is saved is what is loaded, guarded, atomic and bounded."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import KeyReusedError, QuoteUnavailableError, StoreUnavailableError, UnavailableError
from chalicelib.domain.journal import CashMoved, Entry, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document, entry_document, entry_from_document, state_of
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.record import Record
from chalicelib.store.user_journal import PART_BYTES, PART_ENTRIES, part_id
from chalicelib.store.writers import GuardedWrite, SingleWriter
from tests.integration.shop import Shop, settings_for

FULL_ENTRY = Entry(
    transaction=2**63 - 1,
    timestamp_ms=1_700_000_000_000,
    command=CommandName.BUY,
    symbol="ABC",
    amount_cents=10**11,
    filename="größe.xml",
    of_all=True,
    key="a key",
    outcome="insufficient_funds",
    message="no <money>",
    cash_cents=5,
    events=(
        OrderExpired(CommandName.SELL, 7, "XYZ", 12),
        QuoteHit(Quote("ABC", 1000, "jane", 5, "key")),
        TriggerFired(CommandName.SET_BUY_TRIGGER, 8, "ABC", 990),
        CashMoved("add", 3),
        CashMoved("remove", 4),
    ),
    result={"symbol": "ABC", "price_cents": None, "nested": [{"shares": 2}]},
)


def other_process(shop: Shop) -> Accounts:
    """Return a store that shares nothing with the shop's but the database."""
    return Accounts(shop.database, "other", RecentRecords(0))


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
    armed_buys = sum(trigger.price_cents is not None for trigger in states[-1].buy_triggers.values())
    armed_sells = sum(trigger.price_cents is not None for trigger in states[-1].sell_triggers.values())
    assert len(state["armed"]) == armed_buys + armed_sells


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


def test_a_key_is_found_in_the_open_part_and_in_the_closed_one(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(PART_ENTRIES * 2 + 10)]
    fresh = Shop(shop.settings)
    for number in range(len(firsts) - 64, len(firsts)):
        again = fresh.does("ADD", amount="1.00", key=f"key-{number}")
        assert (again.replayed, again.entry) == (True, firsts[number].entry)
    assert fresh.does("QUOTE", "ABC").entry.cash_cents == 100 * len(firsts)
    fresh.close()


def test_the_first_outcome_comes_back_also_when_it_was_a_rejection_or_a_summary(shop: Shop) -> None:
    rejected = shop.does("COMMIT_BUY", key="rejected")
    summary = shop.does("DISPLAY_SUMMARY", key="summary")
    shop.does("ADD", amount="1.00")
    fresh = Shop(shop.settings)
    for first, name, key in ((rejected, "COMMIT_BUY", "rejected"), (summary, "DISPLAY_SUMMARY", "summary")):
        again = fresh.does(name, key=key)
        assert (again.entry, again.result, again.replayed) == (first.entry, first.result, True)
    fresh.close()


FIRST: dict[str, Any] = {
    "name": "SET_BUY_AMOUNT",
    "symbol": "ABC",
    "amount": "1.00",
    "filename": "log",
    "of_all": False,
    "order": 7,
}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "SET_SELL_AMOUNT"},
        {"symbol": "ABD"},
        {"amount": "1.01"},
        {"filename": "logs"},
        {"of_all": True},
        {"order": 8},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_key_used_for_a_command_that_differs_in_one_thing_is_refused(shop: Shop, other: dict[str, Any]) -> None:
    shop.does("ADD", amount="9.00")
    first = shop.does(**FIRST, key="once")
    with pytest.raises(KeyReusedError, match=f"transaction {first.entry.transaction}"):
        shop.does(**(FIRST | other), key="once")
    again = shop.does(**FIRST, key="once")
    assert (again.replayed, again.entry) == (True, first.entry)
    assert shop.accounts.read("jane").version == 2


@pytest.mark.parametrize("other", [{"filename": "other.xml"}, {"of_all": True}], ids=["filename", "of_all"])
def test_a_key_used_for_another_dumplog_is_refused(shop: Shop, other: dict[str, Any]) -> None:
    shop.does("DUMPLOG", filename="log.xml", key="once")
    with pytest.raises(KeyReusedError):
        shop.does("DUMPLOG", **({"filename": "log.xml"} | other), key="once")
    assert shop.does("DUMPLOG", filename="log.xml", key="once").replayed


def test_keys_belong_to_their_user(shop: Shop) -> None:
    shop.does("ADD", amount="1.00", key="same")
    assert not shop.does("ADD", amount="2.00", user="john", key="same").replayed


def test_the_journal_keeps_every_entry_once_over_many_parts(shop: Shop) -> None:
    total = PART_ENTRIES * 3 + 7
    for _ in range(total):
        shop.does("ADD", amount="0.01")
    parts = list(shop.database["journal"].find({"user": "jane"}).sort("_id", 1))
    record = other_process(shop).read("jane")
    sequences = [part["from"] + place for part in parts for place in range(part["count"])]
    assert sequences == list(range(1, record.open_from))
    assert record.version == len(shop.entries()) == total
    assert all(len(part["entries"]) == part["count"] for part in parts)


def test_a_part_copied_by_a_process_that_then_lost_its_race_is_cut_exactly(shop: Shop) -> None:
    """A copy under the same number that holds fewer entries than are open now: only those are cut, none is lost."""
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="0.01")
    copy_a_shorter_part(shop, 10)
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="0.01")
    fresh = other_process(shop).read("jane")
    parts = list(shop.database["journal"].find({}).sort("_id", 1))
    assert parts[0]["count"] == 10
    assert sum(part["count"] for part in parts) + fresh.open_count == 2 * PART_ENTRIES == fresh.version
    assert [entry.transaction for entry in shop.entries()] == list(range(1, 2 * PART_ENTRIES + 1))
    assert fresh.account.cash_cents == 2 * PART_ENTRIES


def test_the_key_of_the_first_entry_left_after_another_process_copied_a_shorter_part_is_known(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="0.01", key=f"key-{number}") for number in range(PART_ENTRIES)]
    copy_a_shorter_part(shop, 10)
    shop.does("ADD", amount="0.01", key="the next")
    fresh = Shop(shop.settings, recent=0)
    for number in (0, 9, 10, 11, PART_ENTRIES - 1):
        again = fresh.does("ADD", amount="0.01", key=f"key-{number}")
        assert (again.replayed, again.entry) == (True, firsts[number].entry)
    fresh.close()


def copy_a_shorter_part(shop: Shop, count: int) -> None:
    """Copy the first entries of jane's open part, as a process does that then loses its race for the account."""
    account = shop.database["accounts"].find_one({"_id": "jane"})
    assert account is not None
    entries = state_of(account)["open"][:count]
    times = {"from_at": entries[0]["at"], "to_at": entries[-1]["at"]}
    part = {"_id": part_id("jane", 1), "user": "jane", "from": 1, "count": count, **times, "entries": entries}
    shop.database["journal"].insert_one(part)


def test_a_part_that_grew_large_is_closed_early_and_the_last_keys_are_still_found(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(2)]
    pretend_large(shop)
    firsts += [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(2, 70)]
    fresh = Shop(shop.settings)
    assert [part["count"] for part in shop.database["journal"].find().sort("_id", 1)] == [2, PART_ENTRIES]
    for number in range(6, 70):
        assert fresh.does("ADD", amount="1.00", key=f"key-{number}").entry == firsts[number].entry
    fresh.close()


def pretend_large(shop: Shop) -> None:
    """Let the open part of jane's journal be as large as it may be, as the shop's process knows it."""
    record = shop.accounts.kept("jane")
    assert record is not None
    shop.accounts._recent.forget("jane")
    shop.accounts._recent.put(replace(record, open_bytes=PART_BYTES))


def test_a_request_held_up_for_hundreds_of_commands_is_still_known(shop: Shop) -> None:
    """A suspended server lets a request go that was sent again and answered elsewhere long ago."""
    first = shop.does("ADD", amount="1.00", key="held up")
    for number in range(400):
        shop.now_ms += 100
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    woken = Shop(shop.settings, now_ms=shop.now_ms)
    again = woken.does("ADD", amount="1.00", key="held up")
    assert (again.replayed, again.entry) == (True, first.entry)
    woken.close()


def test_keys_are_found_also_in_many_short_parts(shop: Shop) -> None:
    first = shop.does("ADD", amount="1.00", key="first")
    for number in range(60):
        pretend_large(shop)
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    assert shop.database["journal"].count_documents({}) == 60
    assert shop.does("ADD", amount="1.00", key="first").entry == first.entry


def test_history_reaches_into_closed_parts_and_leaves_out_the_system(shop: Shop) -> None:
    for _ in range(PART_ENTRIES + 3):
        shop.does("ADD", amount="0.01")
    fresh = Shop(shop.settings)
    history = fresh.does("DISPLAY_SUMMARY").result["history"]
    assert [past["transaction"] for past in history] == list(range(PART_ENTRIES + 3, PART_ENTRIES - 17, -1))
    fresh.close()


def test_the_history_is_that_of_one_user_when_others_have_closed_parts(shop: Shop) -> None:
    """Also of a user whose name begins another's, and of one that sorts right behind it."""
    users = ("jane", "jan", "jane-b", "john")
    for _ in range(PART_ENTRIES + 3):
        for place, user in enumerate(users):
            shop.does("ADD", amount=f"0.{place + 1:02d}", user=user)
    fresh = Shop(shop.settings, recent=0)
    for place, user in enumerate(users):
        history = fresh.does("DISPLAY_SUMMARY", user=user).result["history"]
        assert [past["transaction"] for past in history] == [
            number * len(users) + place + 1 for number in range(PART_ENTRIES + 2, PART_ENTRIES - 18, -1)
        ]
    fresh.close()


def holes(shop: Shop) -> None:
    """Let the closed parts of the journal be where nobody finds them, as on a member that lags behind."""
    shop.database["journal"].rename("hidden", dropTarget=True)


def test_a_part_that_should_be_there_and_is_not_makes_an_outcome_unknown_and_no_key_new(shop: Shop) -> None:
    firsts = [shop.does("ADD", amount="1.00", key=f"key-{number}") for number in range(PART_ENTRIES + 5)]
    holes(shop)
    hasty = Shop(replace(shop.settings, command_timeout_ms=300), recent=0)
    with pytest.raises(StoreUnavailableError):
        hasty.does("ADD", amount="1.00", key="key-0")
    with pytest.raises(UnavailableError):
        hasty.does("DISPLAY_SUMMARY")
    record = hasty.accounts.read("jane")
    with pytest.raises(UnknownOutcomeError):
        hasty.accounts.find_attempt(record, b"attempt!", since=PART_ENTRIES - 1)
    assert hasty.accounts.find_attempt(record, b"attempt!", since=PART_ENTRIES) is None
    assert hasty.does("ADD", amount="1.00", key=f"key-{PART_ENTRIES + 1}").replayed
    shop.database["hidden"].rename("journal", dropTarget=True)
    assert hasty.does("ADD", amount="1.00", key="key-0").entry == firsts[0].entry
    assert hasty.accounts.read("jane").version == PART_ENTRIES + 5
    hasty.close()


def test_a_gap_between_closed_parts_makes_an_outcome_unknown(shop: Shop) -> None:
    """Not only the newest part can be missing, nor only the oldest: what is behind a gap proves nothing."""
    for number in range(3 * PART_ENTRIES + 1):
        shop.does("ADD", amount="1.00", key=f"key-{number}")
    middle = shop.database["journal"].find_one_and_delete({"_id": part_id("jane", PART_ENTRIES + 1)})
    assert middle is not None
    for number in (0, PART_ENTRIES):
        record = shop.accounts.read("jane", f"key-{number}")
        with pytest.raises(UnknownOutcomeError):
            shop.accounts.find_key(record, f"key-{number}")
    with pytest.raises(UnknownOutcomeError):
        shop.accounts.find_attempt(record, b"attempt!", since=0)
    shop.database["journal"].insert_one(middle)
    assert shop.accounts.find_key(record, f"key-{PART_ENTRIES}") is not None


def test_an_account_of_an_older_version_than_is_known_is_no_place_to_look_for_a_key(shop: Shop) -> None:
    """So a new primary may answer for a moment after a failover."""
    shop.does("ADD", amount="1.00", key="once")
    record = shop.accounts.read("jane", "once")
    with pytest.raises(UnknownOutcomeError):
        shop.accounts.find_key(replace(record, version=2), "once")


class Commands(CommandListener):
    """Notes what is sent to MongoDB."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in {"find", "update", "insert", "getMore", "aggregate"}:
            self.sent.append((event.command_name, event.command))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@pytest.mark.parametrize("name", ["ADD", "BUY"])
def test_a_keyed_command_on_a_cold_account_is_one_read_without_the_journal_and_one_write(shop: Shop, name: str) -> None:
    for number in range(10):
        shop.does("ADD", amount="50.00", key=f"key-{number}")
    noted = Commands()
    client: MongoClient[Document] = MongoClient(shop.settings.mongo_uri, event_listeners=[noted])
    with client:
        cold = Shop(shop.settings, recent=0)
        database = client.get_database(shop.settings.mongo_database)
        cold.accounts = Accounts(database, "cold", RecentRecords(0))
        cold.trading = replace(cold.trading, store=cold.accounts)
        cold.does("ADD", amount="1.00", user="john")  # the version of the data is asked for once
        noted.sent.clear()
        cold.does(name, "ABC", "10.00", key="new")
        assert [command for command, _ in noted.sent] == ["find", "update"]
        read, written = (command for _, command in noted.sent)
        assert not [field for field in read["projection"] if ".open" in field and field.split(".")[1] == "open"]
        assert not [field for field in read["projection"] if field.endswith((".keys", ".keys.a"))]
        assert len(bson.encode(written["updates"][0]["u"])) < 700
        cold.close()


def test_a_warm_server_knows_the_history_without_reading_the_journal(shop: Shop) -> None:
    for _ in range(PART_ENTRIES + 3):
        shop.does("ADD", amount="0.01")
    shop.database["journal"].delete_many({})
    history = shop.does("DISPLAY_SUMMARY").result["history"]
    assert [past["transaction"] for past in history] == list(range(PART_ENTRIES + 3, PART_ENTRIES - 17, -1))
    assert shop.does("DISPLAY_SUMMARY").result["history"][0]["command"] == "DISPLAY_SUMMARY"


def test_the_history_is_the_same_from_the_process_as_from_the_journal(shop: Shop) -> None:
    for number in range(PART_ENTRIES + 10):
        shop.now_ms += 1_000
        shop.does(("ADD", "BUY", "COMMIT_BUY", "SELL", "DISPLAY_SUMMARY")[number % 5], "ABC", "20.00")
        if number % 10 == 0:
            kept = shop.accounts.kept("jane")
            assert kept is not None
            warm = kept.latest
            assert warm == other_process(shop).with_history(other_process(shop).read("jane")).latest


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
