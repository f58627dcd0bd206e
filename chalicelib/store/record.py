"""An account as the store keeps it, without its journal entries, which are read when needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.domain.account import Account
from chalicelib.domain.journal import HISTORY_LENGTH, Entry, PastCommand
from chalicelib.store.documents import account_from_state, entry_from_document, state_of
from chalicelib.store.key_filter import KeyFilter, filter_from


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one account at one version. Immutable, so threads can share it.

    `last_ms` is the time of its latest entry; `open_from` is the sequence number of the first entry in the account,
    `open_bytes` the size of the entries there. `latest` are the latest commands, newest first, or None if they have not
    been read.
    """

    account: Account
    version: int = 0
    last_ms: int = 0
    open_from: int = 1
    open_bytes: int = 0
    keys: KeyFilter = field(default_factory=KeyFilter)
    latest: tuple[PastCommand, ...] | None = None

    @property
    def open_count(self) -> int:
        """Return how many entries are in the account."""
        return self.version - self.open_from + 1


def new_record(user: str) -> Record:
    """Return the record of a user who has no account yet."""
    return Record(Account(user), latest=())


def record_from_document(document: Mapping[str, Any], block: str | None) -> Record:
    """Return the record in an `accounts` document. `block` is the block of its filter that was read, None for all."""
    state = state_of(document)
    return Record(
        account=account_from_state(document["_id"], state),
        version=state["version"],
        last_ms=state["last_at"],
        open_from=state["open_from"],
        open_bytes=state["open_bytes"],
        keys=filter_from(state, block),
        latest=_latest_in(state),
    )


def _latest_in(state: Mapping[str, Any]) -> tuple[PastCommand, ...] | None:
    """Return the latest commands from the entries that were read, or None if they do not go back far enough."""
    entries = map(entry_from_document, reversed(state.get("open", ())))
    latest = tuple(past for entry in entries if (past := entry.past) is not None)
    is_all = "open" in state and len(state["open"]) == state["version"]
    return latest[:HISTORY_LENGTH] if is_all or len(latest) >= HISTORY_LENGTH else None


def latest_with(latest: tuple[PastCommand, ...] | None, entry: Entry) -> tuple[PastCommand, ...] | None:
    """Return the latest commands, newest first, after an entry, or None if the earlier ones are not known."""
    past = entry.past
    if latest is None or past is None:
        return latest
    return (past, *latest[: HISTORY_LENGTH - 1])
