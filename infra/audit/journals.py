"""Generates large journals directly in MongoDB: what the store would have after so many commands."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from chalicelib.domain.account import Account
from chalicelib.domain.commands import PRICED, Command, CommandName
from chalicelib.domain.decide import decide
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.store.documents import Document, account_document, entry_document, new_state
from chalicelib.store.key_filter import KeyFilter
from chalicelib.store.user_journal import PART_ENTRIES, part_id

FIRST_MS = 1_700_000_000_000
_CASH_CENTS = 10_000_000
_BATCH = 500
_SYMBOLS = ("ABC", "DEF", "GHI", "S", "XY")

_MIX = {
    CommandName.ADD: 10,
    CommandName.QUOTE: 22,
    CommandName.BUY: 26,
    CommandName.COMMIT_BUY: 8,
    CommandName.CANCEL_BUY: 5,
    CommandName.SELL: 15,
    CommandName.COMMIT_SELL: 4,
    CommandName.CANCEL_SELL: 2,
    CommandName.SET_BUY_AMOUNT: 2,
    CommandName.SET_BUY_TRIGGER: 1,
    CommandName.CANCEL_SET_BUY: 1,
    CommandName.SET_SELL_AMOUNT: 1,
    CommandName.SET_SELL_TRIGGER: 1,
    CommandName.DISPLAY_SUMMARY: 2,
}
"""How often each command comes, per hundred."""

_NO_SYMBOL = {
    CommandName.ADD,
    CommandName.COMMIT_BUY,
    CommandName.CANCEL_BUY,
    CommandName.COMMIT_SELL,
    CommandName.CANCEL_SELL,
    CommandName.DISPLAY_SUMMARY,
}


@dataclass(slots=True)
class _Journal:
    account: Account
    written: int = 0
    last_ms: int = 0
    open_from: int = 1
    entries: list[bytes] = field(default_factory=list)
    keys: KeyFilter = field(default_factory=KeyFilter)
    from_at: int = 0


def make_journals(
    database: Database[Document],
    users: int,
    commands: int,
    *,
    per_second: int = 1000,
    first: int = 0,
    keys: bool = True,
) -> int:
    """Add the accounts and journals of `users` who gave `commands` to a database; return the last time.

    `per_second` is the rate of commands, `first` the number of the first user: none of them may exist yet. `keys` is
    whether commands had idempotency keys. The same arguments generate the same journals.
    """
    quick = database.with_options(write_concern=WriteConcern(1, j=False))
    safe = database.with_options(write_concern=WriteConcern("majority", j=True))
    random_numbers = random.Random(7)  # noqa: S311  # the same each time
    journals = [_Journal(Account(user_name(first + number))) for number in range(users)]
    parts: list[Document] = []
    now_ms = FIRST_MS
    for number, command in enumerate(_commands(random_numbers, users, commands), start=1):
        now_ms = FIRST_MS + number * 1000 // per_second
        journal = journals[command[1]]
        if len(journal.entries) == PART_ENTRIES:
            parts.append(_close(journal))
            if len(parts) == _BATCH:
                quick["journal"].insert_many(parts, ordered=False)
                parts.clear()
        key = f"{number:012x}" if keys else None
        _give(journal, command[0], number, key, now_ms, random_numbers)
    if parts:
        quick["journal"].insert_many(parts, ordered=False)
    documents = (_account_document(journal) for journal in journals if journal.written)
    while batch := [document for _, document in zip(range(_BATCH), documents, strict=False)]:
        # Nothing is read before a majority has it; once it has these, it has everything before.
        safe["accounts"].insert_many(batch, ordered=False)
    return now_ms


def user_name(number: int) -> str:
    """Return the name of a user by number."""
    return f"user{number:07d}"


def _commands(random_numbers: random.Random, users: int, commands: int) -> Iterator[tuple[CommandName, int]]:
    names, weights = list(_MIX), list(_MIX.values())
    for name in random_numbers.choices(names, weights, k=commands):
        yield name, int(random_numbers.random() * users)


def _give(
    journal: _Journal, name: CommandName, number: int, key: str | None, now_ms: int, random_numbers: random.Random
) -> None:
    account = journal.account
    symbol = None if name in _NO_SYMBOL else _SYMBOLS[int(random_numbers.random() * len(_SYMBOLS))]
    amount = int(random_numbers.random() * _CASH_CENTS) + 1
    takes_amount = name in {CommandName.ADD, *PRICED, *(given for given in _MIX if given.startswith("SET_"))}
    command = Command(
        name,
        account.user,
        number,
        symbol=symbol,
        amount_cents=amount if takes_amount and name is not CommandName.QUOTE else None,
        key=key,
    )
    quote = None
    if name in PRICED and symbol is not None:
        hit = Quote(symbol, 100 + amount % 90_000, account.user, now_ms, f"key{number:029d}=")
        quote = QuoteAnswer(hit, cached=False)
    decision = decide(account, command, quote, now_ms, journal.written + 1)
    entry = bson.encode(entry_document(decision.entry, number.to_bytes(8, "big"), "bench"))
    journal.account = decision.account
    journal.written += 1
    journal.last_ms = now_ms
    journal.from_at = journal.from_at if journal.entries else now_ms
    journal.entries.append(entry)
    if key is not None:
        journal.keys, _ = journal.keys.with_key(key, sequence=journal.written)


def _close(journal: _Journal) -> Document:
    user, count = journal.account.user, len(journal.entries)
    part = {
        "_id": part_id(user, journal.open_from),
        "user": user,
        "from": journal.open_from,
        "count": count,
        "from_at": journal.from_at,
        "to_at": journal.last_ms,
        "entries": [RawBSONDocument(raw) for raw in journal.entries],
    }
    journal.open_from += count
    journal.entries = []
    return part


def _account_document(journal: _Journal) -> Document:
    state = new_state(
        journal.account, journal.entries, last_ms=journal.last_ms, keys=journal.keys, open_from=journal.open_from
    )
    return account_document(journal.account.user, state)
