"""What the store asks the database for, and what it makes of the answers: reads, single writes, the sweep's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from chalicelib.config import logins
from chalicelib.domain.account import Account
from chalicelib.domain.errors import (
    AccountFullError,
    IndexConflictError,
    LoginRefusedError,
    StoreUnavailableError,
)
from chalicelib.domain.journal import HISTORY_LENGTH
from chalicelib.observe.commands import Observers
from chalicelib.store.database_clock import database_ms
from chalicelib.store.documents import STATE, new_state
from chalicelib.store.due import AHEAD_MS, DueAccounts, Holder, due_filter
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.grouping import make_reader, make_writer
from chalicelib.store.indexes import ACCOUNT_INDEXES, missing_indexes
from chalicelib.store.key_filter import KeyFilter, block_of
from chalicelib.store.readers import SingleReader, projection
from chalicelib.store.writers import GuardedWrite, SingleWriter, outcomes


@dataclass
class Server:
    """A database whose collections are all this one; it answers a command with `answer`, or fails with it."""

    answer: Any = None
    level: str | None = "majority"
    name: str = "accounts"
    sent: list[Any] = field(default_factory=list)

    def __getitem__(self, name: str) -> "Server":
        return self

    @property
    def database(self) -> "Server":
        return self

    @property
    def read_concern(self) -> ReadConcern:
        return ReadConcern(self.level)

    @property
    def write_concern(self) -> WriteConcern:
        return WriteConcern("majority", j=True)

    def command(self, command: Any, **more: Any) -> Any:
        self.sent.append((command, more) if more else command)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def everything_but(*left_out: str) -> dict[str, int]:
    names = new_state(Account("jane"), [], last_ms=0, keys=KeyFilter()).keys() - set(left_out)
    return {f"{STATE}.{name}": 1 for name in names}


ACCOUNT = everything_but("open", "armed", "keyed", "keys")
"""What every read has: no field of an account may be forgotten."""


def test_an_account_is_read_without_its_journal_and_with_what_a_key_needs() -> None:
    assert {f"{STATE}.{name}" for name in ("cash", "holdings", "version", "open_from", "open_bytes")} <= set(ACCOUNT)
    assert projection([""]) == ACCOUNT
    assert projection([None, "7"]) == ACCOUNT | {f"{STATE}.keyed": 1, f"{STATE}.keys": 1}
    blocks = {f"{STATE}.keys.{name}.{block}": 1 for name in "ab" for block in ("3", "7")}
    assert projection(["7", "3", "", "7"]) == ACCOUNT | {f"{STATE}.keyed": 1} | blocks
    assert all(value is True for form in ([None], ["7"]) for value in projection(form).values())  # the shortest form


@pytest.mark.parametrize(("batch", "found"), [([], None), ([{"_id": "jane"}], {"_id": "jane"})])
def test_one_account_is_read_by_one_command_with_the_concern_of_its_collection(batch: Any, found: Any) -> None:
    server = Server({"cursor": {"firstBatch": batch}})
    reader = SingleReader(server)  # type: ignore[arg-type]  # of a collection, what a read needs
    assert reader.read("jane", "") == found
    assert server.sent == [
        {
            "find": "accounts",
            "singleBatch": True,
            "readConcern": {"level": "majority"},
            "filter": {"_id": "jane"},
            "projection": ACCOUNT,
        }
    ]
    reader.read("jane", "", with_latest=True)
    assert server.sent[1]["projection"] == ACCOUNT | {f"{STATE}.open": {"$slice": -HISTORY_LENGTH}}


def test_a_collection_without_a_read_concern_is_read_without_one() -> None:
    server = Server({"cursor": {"firstBatch": []}}, level=None)
    SingleReader(server).read("jane", "")  # type: ignore[arg-type]
    assert "readConcern" not in server.sent[0]


WRITE = GuardedWrite("jane", 7, {"$set": {"cash": 1, "version": 8}, "$unset": {"holdings.ABC": ""}}, b"id")


def test_a_write_is_found_by_its_id_and_guarded_by_its_version() -> None:
    assert WRITE.statement() == {
        "q": {"_id": "jane"},
        "u": {
            "$set": {f"{STATE}.$[one].cash": 1, f"{STATE}.$[one].version": 8},
            "$unset": {f"{STATE}.$[one].holdings.ABC": ""},
        },
        "arrayFilters": [{"one.version": 7}],
    }
    first = GuardedWrite("jane", 0, {"$set": {"cash": 1}}, b"id")
    assert first.statement() == {
        "q": {"_id": "jane"},
        "u": {"$setOnInsert": {STATE: [{"cash": 1}]}},
        "upsert": True,
    }


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"nModified": 1}, None),
        ({"nModified": 0, "upserted": [{"index": 0}]}, None),
        ({"nModified": 0}, LostRaceError),
        ({"nModified": 1, "writeConcernError": {"errmsg": "no majority"}}, UnknownOutcomeError),
        ({"nModified": 0, "writeErrors": [{"code": 17419, "errmsg": "too large"}]}, AccountFullError),
        (AutoReconnect("gone"), UnknownOutcomeError),
        (DocumentTooLarge("too large"), AccountFullError),
        (OverflowError("more than 8 bytes"), AccountFullError),
        (OperationFailure("an index", 85), IndexConflictError),
        (OperationFailure("not primary", 10107), UnknownOutcomeError),
    ],
)
def test_what_became_of_a_single_write_is_read_from_the_answer(answer: Any, error: type[Exception] | None) -> None:
    server = Server(answer)
    writer = SingleWriter(server)  # type: ignore[arg-type]  # of a collection, what a write needs
    if error is None:
        writer.write(WRITE)
    else:
        with pytest.raises(error):
            writer.write(WRITE)
    (sent,) = server.sent
    assert sent["updates"] == [WRITE.statement()]
    assert (sent["update"], sent["ordered"], sent["writeConcern"]) == ("accounts", False, {"w": "majority", "j": True})


@pytest.mark.parametrize(
    ("failure", "is_refused"),
    [
        (OperationFailure("no", 13), True),
        (OperationFailure("no", 18), True),
        (OperationFailure("bad auth : Authentication failed.", 8000), True),
        (AutoReconnect("connection closed: Authentication failed"), True),
        (OperationFailure("no", 11), False),
        (AutoReconnect("gone"), False),
    ],
)
def test_a_refused_login_is_told_from_other_failures_and_noted(failure: Exception, is_refused: bool) -> None:
    logins.refused.clear()
    with pytest.raises((LoginRefusedError, StoreError)) as raised, outcomes():
        raise failure
    assert isinstance(raised.value, LoginRefusedError) is logins.refused.is_set() is is_refused
    logins.refused.clear()


@pytest.mark.parametrize("limit", [1, 2])
def test_reads_and_writes_are_sent_alone_unless_some_may_wait_together(limit: int) -> None:
    made = (make_reader(Server(), limit, 5.0), make_writer(Server(), limit, 5.0))  # type: ignore[arg-type]
    names = ["SingleReader", "SingleWriter"] if limit == 1 else ["GroupReader", "GroupWriter"]
    assert [type(one).__name__ for one in made] == names


@dataclass
class Shelf(Server):
    """A server with some accounts, found by one query."""

    held: list[Any] = field(default_factory=list)

    def find(self, query: Any, form: Any) -> list[Any]:
        self.sent.append((query, form))
        return self.held


def test_a_read_in_a_group_gets_its_own_account_and_groups_are_told_of() -> None:
    told: list[tuple[str, int]] = []
    observers = Observers()
    observers.add_for_groups(lambda operation, size: told.append((operation, size)))
    shelf = Shelf({"nModified": 1}, held=[{"_id": "john"}, {"_id": "jane"}])
    reader = make_reader(shelf, 8, 5.0, observers=observers)  # type: ignore[arg-type]
    assert reader.read("jane", "7") == {"_id": "jane"}
    assert reader.read("joe", None) is None
    assert shelf.sent[0] == ({"_id": {"$in": ["jane"]}}, projection(["7"]))
    make_writer(shelf, 8, 5.0, observers=observers).write(WRITE)  # type: ignore[arg-type]
    assert told == [("find", 1), ("find", 1), ("update", 1)]


def test_the_time_of_the_database_is_its_primarys_in_milliseconds() -> None:
    server = Server({"localTime": datetime(2026, 11, 29, 12, 0, 0, 123_400)})  # noqa: DTZ001  # as the driver has it
    assert database_ms(server) == 1_795_953_600_123  # type: ignore[arg-type]
    assert server.sent == [("hello", {"read_preference": ReadPreference.PRIMARY})]


def test_an_index_that_is_missing_or_of_another_form_is_named() -> None:
    there = {str(one.document["name"]): {"key": list(dict(one.document["key"]).items())} for one in ACCOUNT_INDEXES}

    def missing(information: Any) -> list[str]:
        return missing_indexes({"accounts": SimpleNamespace(index_information=lambda: information)})  # type: ignore[arg-type]

    assert missing(there) == []
    assert missing({}) == ["armed", "next_expiry"]
    assert missing(there | {"armed": {"key": [("v1.armed.sym", 1)]}}) == ["armed"]


class Found:
    """What a query has found, in batches of some size."""

    def __init__(self, documents: list[Any]) -> None:
        self._documents = documents
        self.batch: int | None = None

    def batch_size(self, batch: int) -> "Found":
        self.batch = batch
        return self

    def __enter__(self) -> Iterator[Any]:
        return iter(self._documents)

    def __exit__(self, *_: object) -> None: ...


@dataclass
class Sweeps:
    """The collections that the sweep asks: `found` is what a query finds, `one` a single document."""

    found: list[Any] = field(default_factory=list)
    one: Any = None
    asked: list[Any] = field(default_factory=list)

    def __getitem__(self, name: str) -> "Sweeps":
        return self

    def find(self, query: Any, form: Any, hint: str) -> Found:
        self.asked.append((query, form, hint))
        return Found(self.found)

    def find_one(self, query: Any, form: Any = None, hint: str | None = None) -> Any:
        self.asked.append((query, form, hint))
        if isinstance(self.one, Exception):
            raise self.one
        return self.one

    def distinct(self, name: str) -> list[Any]:
        self.asked.append(name)
        return self.found

    def due(self) -> DueAccounts:
        return DueAccounts(self)  # type: ignore[arg-type]  # of a database, what the sweep needs


def test_symbols_with_a_trigger_are_sorted_and_accounts_without_one_are_no_symbol() -> None:
    sweeps = Sweeps(["XYZ", None, "ABC"])
    assert sweeps.due().symbols() == ["ABC", "XYZ"]
    assert sweeps.asked == [f"{STATE}.armed.sym"]


@pytest.mark.parametrize(
    ("buy", "sell", "transaction"),
    [
        ({"amount": 1, "price": 2, "tx": 5}, None, 5),
        (None, {"amount": 1, "n": 1, "price": 2, "tx": 6}, 6),
        ({"amount": 1}, {"amount": 1, "n": 1, "price": 2, "tx": 6}, 6),
    ],
)
def test_a_holder_is_one_whose_trigger_has_a_price(buy: Any, sell: Any, transaction: int) -> None:
    state = {"buy_triggers": {"ABC": buy} if buy else {}, "sell_triggers": {"ABC": sell} if sell else {}}
    sweeps = Sweeps(one={"_id": "jane", STATE: [state]})
    assert sweeps.due().holder("ABC") == Holder("jane", transaction)
    fields = {f"{STATE}.buy_triggers.ABC": 1, f"{STATE}.sell_triggers.ABC": 1}
    assert sweeps.asked == [({f"{STATE}.armed.sym": "ABC"}, fields, "armed")]
    assert Sweeps().due().holder("ABC") is None


def test_what_is_due_is_asked_for_by_one_range_of_the_index_a_symbol() -> None:
    def matches(symbol: str, price: int) -> Any:
        return {f"{STATE}.armed": {"$elemMatch": {"sym": symbol, "from": {"$lte": price}, "to": {"$gte": price}}}}

    asked = due_filter({"XYZ": 7, "ABC": 5})
    assert asked == {"$or": [matches("ABC", 5), matches("XYZ", 7)]}
    sweeps = Sweeps([{"_id": f"u{number}"} for number in range(5)])
    assert list(sweeps.due().due({"XYZ": 7, "ABC": 5}, 2)) == [["u0", "u1"], ["u2", "u3"], ["u4"]]
    assert sweeps.asked == [(asked, {"_id": 1}, "armed")]
    assert list(Sweeps([{"_id": "u0"}]).due().due({}, 2)) == []
    assert list(Sweeps([{"_id": "u0"}, {"_id": "u1"}]).due().due({"ABC": 5}, 2)) == [["u0", "u1"]]


def test_expired_orders_are_those_whose_time_is_over_and_those_made_too_far_ahead() -> None:
    sweeps = Sweeps([{"_id": "jane"}])
    assert list(sweeps.due().expired(1_000, 10)) == [["jane"]]
    ends = [{f"{STATE}.next_expiry": {"$lt": 1_000}}, {f"{STATE}.next_expiry": {"$gt": 1_000 + 60_000 + AHEAD_MS}}]
    assert sweeps.asked == [({"$or": ends}, {"_id": 1}, "next_expiry")]


def test_the_place_of_a_sweep_is_that_of_the_last_one() -> None:
    sweeps = Sweeps(one={"_id": "symbols", "after": "ABC"})
    assert sweeps.due().place() == "ABC"
    assert sweeps.asked == [({"_id": "symbols"}, None, None)]
    assert Sweeps().due().place() is None


@pytest.mark.parametrize("failure", [AutoReconnect("gone"), OperationFailure("no", 18)])
def test_a_sweep_without_the_database_says_so(failure: Exception) -> None:
    logins.refused.clear()
    with pytest.raises(StoreUnavailableError, match="did not list what is due"):
        Sweeps(one=failure).due().place()
    assert logins.refused.is_set() is isinstance(failure, OperationFailure)
    logins.refused.clear()


def test_a_key_needs_one_block_and_no_key_needs_none() -> None:
    assert (block_of(None), block_of("a key").isdecimal()) == ("", True)
