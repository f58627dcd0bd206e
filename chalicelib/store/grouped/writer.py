"""Group commit: writes that wait at the same time are sent as one command.

Most of the cost of a durable write is the same for one as for a hundred, so what arrives while the last groups wait for
the journals is sent together. In Lambda a process serves one request at a time, nothing gathers, and this package is
not imported.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DocumentTooLarge

from chalicelib.store.documents import STATE, Document, state_of
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.grouped.batcher import WAIT_SECONDS, Batcher, Failure, MakeBatcher, untold
from chalicelib.store.writers import GuardedWrite, account_full, failure_of, send


class GroupWriter:
    """Sends writes in unordered groups of up to `limit`, one group at a time.

    `told` is called for each group.
    """

    def __init__(
        self,
        accounts: Collection[Document],
        limit: int,
        wait_seconds: float = WAIT_SECONDS,
        make_batcher: MakeBatcher = Batcher,
        told: Callable[[str, int], None] = untold,
    ) -> None:
        self._accounts = accounts
        self._told = told
        self._batcher: Batcher[GuardedWrite, None] = make_batcher(self._send, limit, wait_seconds)

    def write(self, write: GuardedWrite) -> None:
        """Return once the write is durable; raises LostRaceError, UnknownOutcomeError or PermanentError."""
        self._batcher.submit(write)

    def close(self) -> None:
        """Wait until everything has been sent and answered; nothing is written afterwards."""
        self._batcher.close()

    def _send(self, writes: Sequence[GuardedWrite]) -> Sequence[Failure | None]:
        self._told("update", len(writes))
        failures = self._failures(writes)
        return [failures.get(place) for place in range(len(writes))]

    def _failures(self, writes: Sequence[GuardedWrite]) -> dict[int, Failure]:
        """Send the writes; return the failures, by index, of those that were not applied or may not have been."""
        try:
            result = send(self._accounts, writes)
        except (DocumentTooLarge, OverflowError) as error:  # raised by the driver before anything is sent
            if len(writes) == 1:
                return {0: account_full(error)}
            half = len(writes) // 2
            first, second = self._failures(writes[:half]), self._failures(writes[half:])
            return first | {half + place: failure for place, failure in second.items()}
        failures: dict[int, Failure] = {}
        for failed in result.get("writeErrors", ()):
            failures[failed["index"]] = failure_of(failed)
        made = {one["index"] for one in result.get("upserted", ())}
        for place, write in enumerate(writes):
            if write.version == 0 and place not in made:  # the account exists: all its writes are of later versions
                failures.setdefault(place, LostRaceError(write.user))
        if result["nModified"] + len(made) < len(writes) - len(failures):
            failures |= self._not_found(writes, made | failures.keys())
        return failures

    def _not_found(self, writes: Sequence[GuardedWrite], known: AbstractSet[int]) -> dict[int, Failure]:
        """Find the losers of a group: another entry is in the place of theirs.

        If the place is no longer in the account, or not yet, the outcome is unknown and the caller has to find out.
        """
        users = [write.user for place, write in enumerate(writes) if place not in known]
        found = self._accounts.find({"_id": {"$in": users}}, {f"{STATE}.open.id": 1, f"{STATE}.open_from": 1})
        states = {account["_id"]: state_of(account) for account in found}
        failures: dict[int, Failure] = {}
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
    """Return the id of the write that made an entry of a journal, or None if the entry is not in the account."""
    place = -1 if state is None else sequence - state["open_from"]
    return state["open"][place]["id"] if state is not None and 0 <= place < len(state["open"]) else None
