"""Group commit over a database that answers when and what the test says."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Any

import pytest
from pymongo.errors import DocumentTooLarge
from pymongo.write_concern import WriteConcern

from chalicelib import concurrency
from chalicelib.domain.errors import AccountFullError, IndexConflictError, PermanentError
from chalicelib.store.documents import STATE
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.grouped import batcher
from chalicelib.store.grouped.writer import GroupWriter
from chalicelib.store.writers import GuardedWrite, failure_of

SECONDS = 20.0
DONE = {"nModified": 1}
"""The answer to one write that was applied."""

Reply = Mapping[str, Any]


class Call:
    """A command under way, until the test answers it."""

    def __init__(self, command: Mapping[str, Any]) -> None:
        self.command = command
        self.users = [statement["q"]["_id"] for statement in command["updates"]]
        self.reply: Future[Reply] = Future()

    def land(self) -> None:
        """Answer that all was applied."""
        self.reply.set_result({"nModified": len(self.users)})


@dataclass
class Accounts:
    """A collection and its database: `answer` makes replies at once, else each command waits for the test's."""

    answer: Reply | None = None
    found: Sequence[Mapping[str, Any]] = ()
    name: str = "accounts"
    write_concern: WriteConcern = field(default_factory=lambda: WriteConcern("majority", j=True))
    calls: "SimpleQueue[Call]" = field(default_factory=SimpleQueue)
    looked_for: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def database(self) -> "Accounts":
        """Return what carries out commands."""
        return self

    def command(self, command: Mapping[str, Any]) -> Reply:
        """Carry out a command when the test lets it."""
        call = Call(command)
        self.calls.put(call)
        return call.reply.result(SECONDS) if self.answer is None else self.answer

    def find(self, query: Any, form: Any) -> Sequence[Mapping[str, Any]]:
        """Return what the test says is there."""
        self.looked_for.append((query, form))
        return self.found


def writer_over(accounts: Accounts, limit: int = 8) -> GroupWriter:
    return GroupWriter(accounts, limit)  # type: ignore[arg-type]  # of a collection, what a group needs


def write_of(user: str, version: int = 1, write_id: bytes = b"attempt!") -> GuardedWrite:
    return GuardedWrite(user, version, {"$set": {"version": version + 1}}, write_id)


def outcome(writer: GroupWriter, write: GuardedWrite) -> type[Exception] | None:
    try:
        writer.write(write)
    except (StoreError, PermanentError) as error:
        return type(error)
    return None


def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + SECONDS
    while not holds():
        assert monotonic() < deadline
        sleep(0.001)


def until_pending(writer: GroupWriter, count: int) -> None:
    until(lambda: len(writer._batcher._pending) >= count)


def test_who_closes_waits_for_the_group_under_way_and_for_what_is_pending_behind_it() -> None:
    accounts = Accounts()
    writer = writer_over(accounts)
    closing = threading.Thread(target=writer.close, daemon=True)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(outcome, writer, write_of("first"))
        under_way = accounts.calls.get(timeout=SECONDS)
        second = pool.submit(outcome, writer, write_of("second"))
        until_pending(writer, 1)
        closing.start()
        until(lambda: writer._batcher._closed)
        assert outcome(writer, write_of("late")) is UnknownOutcomeError
        closing.join(0.1)
        assert closing.is_alive(), "one group is under way"
        under_way.land()
        last = accounts.calls.get(timeout=SECONDS)
        closing.join(0.1)
        assert closing.is_alive(), "what was pending is under way now"
        last.land()
        assert (first.result(SECONDS), second.result(SECONDS)) == (None, None)
        closing.join(SECONDS)
    assert not closing.is_alive()
    assert (under_way.users, last.users, accounts.calls.empty()) == (["first"], ["second"], True)


def test_who_closes_waits_for_a_write_that_lets_others_join_first(monkeypatch: pytest.MonkeyPatch) -> None:
    gathers, go_on = threading.Event(), threading.Event()

    def yield_to_others(_: float) -> None:
        gathers.set()
        assert go_on.wait(SECONDS)

    monkeypatch.setattr(concurrency, "sleep", yield_to_others)
    writer = writer_over(Accounts(DONE))
    closing = threading.Thread(target=writer.close, daemon=True)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(outcome, writer, write_of("jane"))
        assert gathers.wait(SECONDS)
        closing.start()
        closing.join(0.1)
        assert closing.is_alive(), "nothing is under way, but it will be"
        go_on.set()
        assert asked.result(SECONDS) is None
        closing.join(SECONDS)
    assert not closing.is_alive()


def test_who_closes_while_nothing_is_under_way_does_not_wait() -> None:
    writer = writer_over(Accounts(DONE))
    assert outcome(writer, write_of("jane")) is None
    writer.close()
    assert outcome(writer, write_of("jane")) is UnknownOutcomeError


def test_a_group_is_one_unordered_command_as_durable_as_the_accounts_are() -> None:
    accounts = Accounts(DONE)
    writer_over(accounts).write(write_of("jane"))
    assert accounts.calls.get().command == {
        "update": "accounts",
        "updates": [write_of("jane").statement()],
        "ordered": False,
        "writeConcern": {"w": "majority", "j": True},
    }


NEW, OLD = write_of("jane", 0), write_of("jane", 3)


@pytest.mark.parametrize(
    ("write", "reply", "failure"),
    [
        (OLD, {"nModified": 1}, None),
        (NEW, {"nModified": 0, "upserted": [{"index": 0, "_id": "jane"}]}, None),
        (NEW, {"nModified": 0}, LostRaceError),
        (NEW, {"nModified": 0, "writeErrors": [{"index": 0, "code": 11000}]}, LostRaceError),
        (OLD, {"nModified": 0, "writeErrors": [{"index": 0, "code": 2}]}, LostRaceError),
        (OLD, {"nModified": 0, "writeErrors": [{"index": 0, "code": 91}]}, UnknownOutcomeError),
        (OLD, {"nModified": 1, "writeConcernError": {"errmsg": "too few"}}, UnknownOutcomeError),
    ],
)
def test_what_became_of_a_write_is_read_from_the_reply(
    write: GuardedWrite, reply: Reply, failure: type[StoreError] | None
) -> None:
    accounts = Accounts(reply)
    assert outcome(writer_over(accounts), write) is failure
    assert accounts.looked_for == [], "the reply says it"


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        ({"open_from": 3, "open": [{"id": b"other"}, {"id": b"attempt!"}]}, None),
        ({"open_from": 4, "open": [{"id": b"attempt!"}, {"id": b"other"}]}, None),
        ({"open_from": 3, "open": [{"id": b"attempt!"}, {"id": b"other"}]}, LostRaceError),
        ({"open_from": 5, "open": [{"id": b"attempt!"}]}, UnknownOutcomeError),
        ({"open_from": 3, "open": [{"id": b"attempt!"}]}, UnknownOutcomeError),
    ],
)
def test_a_write_that_modified_nothing_is_looked_for_where_its_entry_would_be(
    state: Mapping[str, Any], failure: type[StoreError] | None
) -> None:
    """That of version 3 makes the fourth entry. Where there is none, it is cut off already, or not there yet."""
    accounts = Accounts({"nModified": 0}, [{"_id": "jane", STATE: [state]}])
    assert outcome(writer_over(accounts), OLD) is failure
    assert accounts.looked_for == [({"_id": {"$in": ["jane"]}}, {f"{STATE}.open.id": 1, f"{STATE}.open_from": 1})]


def together(writer: GroupWriter, accounts: Accounts, writes: Sequence[GuardedWrite]) -> list[type[Exception] | None]:
    """Have writes go out as one group, behind one that is under way meanwhile; return what became of each."""
    with ThreadPoolExecutor(len(writes) + 1) as pool:
        first = pool.submit(outcome, writer, write_of("first"))
        ahead = accounts.calls.get(timeout=SECONDS)
        outcomes = []
        for place, write in enumerate(writes):
            outcomes.append(pool.submit(outcome, writer, write))
            until_pending(writer, place + 1)
        accounts.answer = {
            "nModified": 1,  # of three that are for versions of later than none
            "upserted": [{"index": 4, "_id": "made"}],
            "writeErrors": [{"index": 1, "code": 91}, {"index": 3, "code": 2}],
        }
        ahead.land()
        assert first.result(SECONDS) is None
        return [one.result(SECONDS) for one in outcomes]


def test_the_members_of_a_group_are_each_told_their_own() -> None:
    writes = [write_of(user, int(user != "made"), user.encode()) for user in ("won", "shaken", "gone", "taken", "made")]
    accounts = Accounts(found=[{"_id": "won", STATE: [{"open_from": 2, "open": [{"id": b"won"}]}]}])
    outcomes = together(writer_over(accounts, limit=8), accounts, writes)
    assert outcomes == [None, UnknownOutcomeError, UnknownOutcomeError, LostRaceError, None]
    assert [query for query, _ in accounts.looked_for] == [{"_id": {"$in": ["won", "gone"]}}]
    assert accounts.calls.get().users == ["won", "shaken", "gone", "taken", "made"]


def test_a_group_is_no_larger_than_its_limit() -> None:
    accounts = Accounts()
    writer = writer_over(accounts, limit=3)
    sizes: list[int] = []
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(outcome, writer, write_of("first"))]
        for waiting in (7, 4, 1, 0):
            call = accounts.calls.get(timeout=SECONDS)
            if not sizes:
                asked += [pool.submit(outcome, writer, write_of(f"user{number}")) for number in range(7)]
            sizes.append(len(call.users))
            until_pending(writer, waiting)
            call.land()
        assert [one.result(SECONDS) for one in asked] == [None] * 8
    assert sizes == [1, 3, 3, 1]


def test_who_has_waited_too_long_is_told_when_the_group_ahead_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a database that does not answer would be waited for as often as there are groups."""
    now = [100.0]
    monkeypatch.setattr(batcher, "monotonic_seconds", lambda: now[0])
    accounts = Accounts()
    writer = GroupWriter(accounts, 1, wait_seconds=5.0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(outcome, writer, write_of("first"))]
        first = accounts.calls.get(timeout=SECONDS)
        for number, user in enumerate(("overdue1", "overdue2"), 1):
            asked.append(pool.submit(outcome, writer, write_of(user)))
            until_pending(writer, number)
        now[0] += 2.0
        asked.append(pool.submit(outcome, writer, write_of("new")))
        until_pending(writer, 3)
        now[0] += 3.0
        first.land()
        new = accounts.calls.get(timeout=SECONDS)
        new.land()
        assert [one.result(SECONDS) for one in asked] == [None, UnknownOutcomeError, UnknownOutcomeError, None]
    assert (new.users, accounts.calls.empty()) == (["new"], True)


def test_a_write_that_alone_is_too_large_for_a_command_can_never_be_done() -> None:
    class Small(Accounts):
        def command(self, command: Mapping[str, Any]) -> Reply:
            raise DocumentTooLarge("too large")

    assert outcome(writer_over(Small()), OLD) is AccountFullError


def test_of_a_group_only_the_write_with_a_number_that_is_too_large_fails() -> None:
    class Numbers(Accounts):
        def command(self, command: Mapping[str, Any]) -> Reply:
            if any(update["q"]["_id"] == "rich" for update in command["updates"]):
                raise OverflowError("more than 8 bytes")
            return {"nModified": len(command["updates"])}

    writer = writer_over(Numbers())
    writes = [write_of(user) for user in ("a", "b", "rich", "c", "d")]
    failures = writer._send(writes)
    assert [type(failure) for failure in failures] == [type(None), type(None), AccountFullError, *[type(None)] * 2]


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        ({"code": 2}, LostRaceError),
        ({"code": 11000, "keyPattern": {"_id": 1}}, LostRaceError),
        ({"code": 11000}, LostRaceError),
        ({"code": 11000, "keyPattern": {"cash": 1}}, IndexConflictError),
        ({"code": 85}, IndexConflictError),
        ({"code": 86}, IndexConflictError),
        ({"code": 171}, IndexConflictError),
        ({"code": 10334}, AccountFullError),
        ({"code": 17280}, AccountFullError),
        ({"code": 17419}, AccountFullError),
        ({"code": 17420}, AccountFullError),
        ({"code": 112}, UnknownOutcomeError),
        ({}, UnknownOutcomeError),
    ],
)
def test_what_the_database_answers_is_told_apart_by_whether_another_try_could_help(
    failed: Mapping[str, Any], kind: type[Exception]
) -> None:
    assert type(failure_of({"errmsg": "why", **failed})) is kind
