"""Group commit: writes that wait together go out as one command.

Most of what a durable write costs is the same for one and for a hundred, so what gathers while the last groups wait for
the journals goes out together. In Lambda, where a process serves one request at a time, nothing gathers, and this
package is not imported.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DocumentTooLarge

from chalicelib import concurrency
from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.errors import LostRaceError, StoreError, UnknownOutcomeError
from chalicelib.store.writers import BAD_VALUE, GuardedWrite

DUPLICATE_KEY = 11000

GROUPS_AT_ONCE = 2
"""While one group waits for the journals of a majority, the next one is on its way."""


class GroupWriter:
    """Sends what waits in unordered groups of up to `limit` writes, and at most `at_once` such groups at a time.

    A group goes out when it has its share of the writes that were on their way at once, lately: of 45 clients that each
    wait for an answer, two groups of some twenty keep server and database busy, where one of 45 would let them take
    turns. A smaller one goes out only while none is under way, once all who could add to it have had the chance to: a
    message has its price, and the one under way will soon be back (Nagle's rule for small packets).

    The last writer of a group leads it: it sends the group for all of them.
    """

    def __init__(self, accounts: Collection[Document], limit: int, at_once: int = GROUPS_AT_ONCE) -> None:
        self._accounts = accounts
        self._limit = limit
        self._at_once = at_once
        self._lock = concurrency.Lock()
        self._landed = concurrency.Condition(self._lock)
        self._pending: list[_Waiting] = []
        self._is_gathering = False  # somebody lets others join, and then looks what is pending
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
            gathers = bool(self._pending) and not self._is_gathering
            self._is_gathering = self._is_gathering or gathers
        _wake_leaders(groups)
        if gathers:
            concurrency.sleep(0)
            with self._lock:
                self._is_gathering = False
                groups = self._take_groups()
            _wake_leaders(groups)
        mine.turn.wait()
        if mine.group.leader is mine:
            self._send(mine.group)
        failure = mine.group.failures.get(mine.place)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Wait until everything has been sent and answered; nothing is written afterwards."""
        with self._lock:
            self._closed = True
            self._landed.wait_for(lambda: not self._pending and not self._groups_under_way)

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
            for one in group.members:
                one.turn.set()

    def _note_landed(self, group: "_Group") -> None:
        """Make room for the next group, which goes out before the answers of this one: the database would wait."""
        with self._lock:
            self._groups_under_way -= 1
            self._writes_under_way -= len(group.members)
            groups = self._take_groups()
            self._landed.notify_all()
        _wake_leaders(groups)

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
            result: Mapping[str, Any] = self._accounts.database.command(command)
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
            is_lost = failed["code"] in {DUPLICATE_KEY, BAD_VALUE}
            user = writes[place].user
            failures[place] = LostRaceError(user) if is_lost else UnknownOutcomeError(str(failed.get("errmsg")))
        made = {one["index"] for one in result.get("upserted", ())}
        for place, write in enumerate(writes):
            if write.version == 0 and place not in made:  # the account is there: all its writes are of later versions
                failures.setdefault(place, LostRaceError(write.user))
        if result["nModified"] + len(made) < len(writes) - len(failures):
            failures |= self._not_found(writes, made | failures.keys())
        return failures

    def _not_found(self, writes: Sequence[GuardedWrite], known: AbstractSet[int]) -> dict[int, StoreError]:
        """Tell the losers of a group apart: where their entries would be, there are others.

        One whose place is not in the account any more, or not yet, is of unknown outcome: who asked for it has to look.
        """
        users = [write.user for place, write in enumerate(writes) if place not in known]
        found = self._accounts.find({"_id": {"$in": users}}, {f"{STATE}.open.id": 1, f"{STATE}.open_from": 1})
        states = {account["_id"]: state_of(account) for account in found}
        failures: dict[int, StoreError] = {}
        for place, write in enumerate(writes):
            if place in known:
                continue
            there = _entry_id(states.get(write.user), write.version + 1)
            if there is None:
                failures[place] = UnknownOutcomeError(write.user)
            elif there != write.write_id:
                failures[place] = LostRaceError(write.user)
        return failures


def _entry_id(state: Mapping[str, Any] | None, sequence: int) -> bytes | None:
    """Return the id of the write that made an entry of a journal, None when the entry is not in the account."""
    place = -1 if state is None else sequence - state["open_from"]
    return state["open"][place]["id"] if state is not None and 0 <= place < len(state["open"]) else None


class _Waiting:
    """A write on its way, and what waits for its turn: to lead its group, or to be told what has become of it."""

    __slots__ = ("group", "place", "turn", "write")

    def __init__(self, write: GuardedWrite) -> None:
        self.write = write
        self.turn = concurrency.Event()
        self.group: _Group
        self.place: int


class _Group:
    """Writes that go out together, sent by the last of them."""

    __slots__ = ("failures", "leader", "members")

    def __init__(self, members: Sequence[_Waiting]) -> None:
        self.members = members
        self.leader = members[-1]
        self.failures: Mapping[int, StoreError] = {}
        for place, member in enumerate(members):
            member.group, member.place = self, place


def _wake_leaders(groups: Sequence[_Group]) -> None:
    for group in groups:
        group.leader.turn.set()
