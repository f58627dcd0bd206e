"""How guarded writes go out: each alone, or those that wait together in one message.

A write is confirmed when it is in the journals of a majority, and no sooner is its command answered. Most of what that
costs is the same for one write and for a hundred, so a server of many requests sends what has gathered while the last
groups were under way. In Lambda, where a process serves one request at a time, nothing gathers.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from threading import Condition, Lock
from typing import Any, NamedTuple, Protocol

from pymongo.collection import Collection
from pymongo.errors import DocumentTooLarge, DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError

from chalicelib import waiting
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.lines import Lines

DUPLICATE_KEY = 11000

_ONE = "one"
_GUARDED = f"{STATE}.$[{_ONE}]."

GROUPS_AT_ONCE = 2
"""While one group waits for the journals of a majority, the next one is on its way."""


class GuardedWrite(NamedTuple):
    """An update of one account that applies to one version only; version 0 is an account that is not there yet.

    `operators` are those of the fields of its state, for version 0 a `$set` of all of them. `write_id` is the `id` of
    the entry it adds, and that of no other write: an earlier write of the same attempt, of which nobody knew what had
    become of it, may have added another entry, decided at another time and price.
    """

    user: str
    version: int
    operators: Mapping[str, Document]
    write_id: bytes

    def statement(self) -> Document:
        """Return it as a statement of MongoDB's `update` command.

        The document is found by its id alone, which spares MongoDB its query planner, and the array filter is the
        guard: it leaves a state of another version as it is (decision 38). So the write was applied when the command
        says that a document was modified or inserted, and has lost when it says neither.
        """
        query = {"_id": self.user}
        if self.version == 0:
            return {"q": query, "u": {"$setOnInsert": {STATE: [self.operators["$set"]]}}, "upsert": True}
        guarded = {
            operator: {f"{_GUARDED}{field}": value for field, value in fields.items()}
            for operator, fields in self.operators.items()
        }
        return {"q": query, "u": guarded, "arrayFilters": [{f"{_ONE}.version": self.version}]}


class Writer(Protocol):
    """Sends guarded writes."""

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""

    def close(self) -> None:
        """Finish what has begun; nothing is written afterwards."""


class SingleWriter:
    """Sends each write by itself, in the thread that asks."""

    def __init__(self, accounts: Collection[Document]) -> None:
        self._accounts = accounts

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""
        statement = write.statement()
        with outcomes():
            result = waiting.aside(
                lambda: self._accounts.update_one(
                    statement["q"],
                    statement["u"],
                    upsert=statement.get("upsert", False),
                    array_filters=statement.get("arrayFilters"),
                )
            )
        if result.modified_count == 0 and result.upserted_id is None:
            raise LostRaceError(write.user)

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""


class GroupWriter:
    """Sends what waits in unordered groups of up to `limit` writes, and at most `at_once` such groups at a time.

    A group goes out when it has its share of the writes that were on their way at once, lately: of 45 clients that each
    wait for an answer, two groups of some twenty keep server and database busy, where one of 45 would let them take
    turns. A smaller one goes out only while none is under way, once all who could add to it have had the chance to: a
    message has its price, and the one under way will soon be back (Nagle's rule for small packets).

    Whoever asks for the last write of a group sends it, for all of them: over `lines` to the same database, on
    connections that wait as requests do (`chalicelib/store/patient.py`), and aside while they know of no server to
    write to, or without them.
    """

    def __init__(
        self,
        accounts: Collection[Document],
        limit: int,
        at_once: int = GROUPS_AT_ONCE,
        lines: Lines | None = None,
    ) -> None:
        self._accounts = accounts
        self._lines = lines
        self._limit = limit
        self._at_once = at_once
        self._lock = Lock()
        self._landed = Condition(self._lock)
        self._pending: list[_Waiting] = []
        self._is_asked = False  # to look, soon, what is pending
        self._groups_under_way = 0
        self._writes_under_way = 0
        self._crowd = 0
        self._closed = False

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError or UnknownOutcomeError."""
        mine = _Waiting(write)
        with self._lock:
            if self._closed:
                raise UnknownOutcomeError("the server is stopping")
            self._pending.append(mine)
            groups = self._take_groups() if len(self._pending) >= self._share() else []
            ask = bool(self._pending) and not self._is_asked
            self._is_asked = self._is_asked or ask
        if ask:
            waiting.soon(self._look)
        others = [group for group in groups if group.sender is not mine]
        _begin(others)
        if len(others) == len(groups):
            mine.baton.wait()
        if mine.group.sender is mine:
            self._send(mine.group)
        failure = mine.group.failures.get(mine.place)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Wait until everything has been sent and answered; nothing is written afterwards."""
        with self._lock:
            self._closed = True
            self._landed.wait_for(lambda: not self._pending and not self._groups_under_way)
        if self._lines is not None:
            self._lines.close()

    def _look(self) -> None:
        with self._lock:
            self._is_asked = False
            groups = self._take_groups()
        _begin(groups)

    def _share(self) -> int:
        return max(1, min(self._limit, -(-self._crowd // self._at_once)))

    def _take_groups(self) -> "list[_Group]":
        """Take the groups out of what is pending that are to be sent now; called with the lock."""
        groups: list[_Group] = []
        while self._pending and self._groups_under_way < self._at_once:
            if self._groups_under_way and len(self._pending) < self._share():
                break
            groups.append(self._take_group())
        return groups

    def _take_group(self) -> "_Group":
        # It follows a growing crowd at once, and a shrinking one within some groups.
        self._crowd = max(len(self._pending) + self._writes_under_way, self._crowd - self._crowd // 8 - 1)
        share = self._share()
        group, self._pending = _Group(self._pending[:share]), self._pending[share:]
        self._groups_under_way += 1
        self._writes_under_way += len(group.members)
        return group

    def _send(self, group: "_Group") -> None:
        """Send a group, tell its members what has become of them, and let the next one go."""
        try:
            group.failures = self._failures([one.write for one in group.members])
        except BaseException as error:  # a member that is not told would wait for ever
            group.failures = dict.fromkeys(range(len(group.members)), UnknownOutcomeError(str(error)))
            if not isinstance(error, Exception):
                raise
        finally:
            self._note_landed(group)
            others = [one.baton for one in group.members if one is not group.sender]
            if others:
                others[0].give(*others[1:])

    def _note_landed(self, group: "_Group") -> None:
        """Make room for the next group, which goes out before the answers of this one: the database would wait."""
        with self._lock:
            self._groups_under_way -= 1
            self._writes_under_way -= len(group.members)
            groups = self._take_groups()
            self._landed.notify_all()
        _begin(groups)

    def _failures(self, writes: Sequence[GuardedWrite]) -> dict[int, StoreError]:
        """Send the writes; return what became of those that were not applied, or not surely, by their place.

        As the command itself, which the driver does not try again after a fault: what was not confirmed is looked for
        and decided again in any case (decision 34).
        """
        command = {
            "update": self._accounts.name,
            "updates": [write.statement() for write in writes],
            "ordered": False,
            "writeConcern": self._accounts.write_concern.document,
        }
        try:
            result: Mapping[str, Any] = self._command(command)
        except DocumentTooLarge:  # said by the driver, before anything is sent
            if len(writes) == 1:
                raise
            half = len(writes) // 2
            first, second = self._failures(writes[:half]), self._failures(writes[half:])
            return first | {half + place: failure for place, failure in second.items()}
        if "writeConcernError" in result:
            raise UnknownOutcomeError(str(result["writeConcernError"].get("errmsg")))
        failures: dict[int, StoreError] = {}
        for failed in result.get("writeErrors", ()):
            place = failed["index"]
            is_lost = failed["code"] == DUPLICATE_KEY
            user = writes[place].user
            failures[place] = LostRaceError(user) if is_lost else UnknownOutcomeError(str(failed.get("errmsg")))
        made = {one["index"] for one in result.get("upserted", ())}
        for place, write in enumerate(writes):
            if write.version == 0 and place not in made:  # the account is there: all its writes are of later versions
                failures.setdefault(place, LostRaceError(write.user))
        if result["nModified"] + len(made) < len(writes) - len(failures):
            failures |= self._not_found(writes, made | failures.keys())
        return failures

    def _command(self, command: dict[str, Any]) -> Mapping[str, Any]:
        if self._lines is not None:
            with suppress(ServerSelectionTimeoutError):  # nothing was sent
                return self._lines.command(command)
        return waiting.aside(lambda: self._accounts.database.command(command))

    def _not_found(self, writes: Sequence[GuardedWrite], known: AbstractSet[int]) -> dict[int, StoreError]:
        """Tell the losers of a group apart: their entries are not in the accounts.

        One that is not there has lost, or has been moved to the journal already: who asked for it has to look.
        """
        users = [write.user for place, write in enumerate(writes) if place not in known]
        found = waiting.aside(lambda: list(self._accounts.find({"_id": {"$in": users}}, {f"{STATE}.open.id": 1})))
        written = {entry["id"] for account in found for entry in state_of(account)["open"]}
        return {
            place: UnknownOutcomeError(write.user)
            for place, write in enumerate(writes)
            if place not in known and write.write_id not in written
        }


class _Waiting:
    """A write on its way, and what waits for it: to be told what has become of it, or to send its group."""

    __slots__ = ("baton", "group", "place", "write")

    def __init__(self, write: GuardedWrite) -> None:
        self.write = write
        self.baton = waiting.baton()
        self.group: _Group
        self.place: int


class _Group:
    """Writes that go out together, sent by who asked for the last of them."""

    __slots__ = ("failures", "members", "sender")

    def __init__(self, members: Sequence[_Waiting]) -> None:
        self.members = members
        self.sender = members[-1]
        self.failures: Mapping[int, StoreError] = {}
        for place, member in enumerate(members):
            member.group, member.place = self, place


def _begin(groups: Sequence[_Group]) -> None:
    """Let those who are to send these groups, and wait, do so."""
    for group in groups:
        group.sender.baton.give()


@contextmanager
def outcomes() -> Iterator[None]:
    """Turn the driver's errors into the store's."""
    try:
        yield
    except DuplicateKeyError as error:
        # The upsert of a new account found one: its version is not 0 any more.
        raise LostRaceError(str(error)) from error
    except PyMongoError as error:
        raise UnknownOutcomeError(str(error)) from error
