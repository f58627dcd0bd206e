"""A large number of accounts, created quickly: the system itself decides one, the others are renamed copies."""

from collections.abc import Iterator

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import decide
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.store.documents import Document, account_document, entry_document, new_state
from chalicelib.store.key_filter import KeyFilter
from infra.audit.journals import FIRST_MS, user_name

_BATCH = 5_000
_CASH_CENTS, _AMOUNT_CENTS, _PRICE_CENTS, _TRIGGER_CENTS = 1_000_000, 100_000, 1_000, 100
_SYMBOL, _LETTERS = "AAA", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_COMMANDS = (
    (CommandName.ADD, _CASH_CENTS),
    (CommandName.BUY, _AMOUNT_CENTS),
    (CommandName.COMMIT_BUY, None),
    (CommandName.SET_BUY_AMOUNT, _AMOUNT_CENTS),
    (CommandName.SET_BUY_TRIGGER, _TRIGGER_CENTS),
)
"""What every user has done: there are shares, and a trigger that no price here makes due."""


def make_accounts(database: Database[Document], count: int) -> None:
    """Add `count` accounts to a database, named like those of generated journals, each with a few journal entries."""
    quick = database.with_options(write_concern=WriteConcern(1, j=False))["accounts"]
    batch: list[RawBSONDocument] = []
    for raw in _documents(count):
        batch.append(RawBSONDocument(raw))
        if len(batch) == _BATCH:
            quick.insert_many(batch, ordered=False)
            batch.clear()
    if batch:
        quick.insert_many(batch, ordered=False)


def _documents(count: int) -> Iterator[bytes]:
    template, name, symbol = bson.encode(_account()), user_name(0).encode(), _SYMBOL.encode()
    for number in range(count):
        one = template.replace(name, user_name(number).encode())
        yield one.replace(symbol, f"{_LETTERS[number % 26]}AA".encode())


def _account() -> Document:
    account, entries, keys = Account(user_name(0)), [], KeyFilter()
    for number, (name, cents) in enumerate(_COMMANDS, 1):
        symbol = None if name in {CommandName.ADD, CommandName.COMMIT_BUY} else _SYMBOL
        command = Command(name, account.user, number, symbol=symbol, amount_cents=cents, key=f"{number:012x}")
        quote = QuoteAnswer(Quote(_SYMBOL, _PRICE_CENTS, account.user, FIRST_MS, "key="), cached=True)
        decision = decide(account, command, quote if name is CommandName.BUY else None, FIRST_MS + number, number)
        account = decision.account
        entries.append(bson.encode(entry_document(decision.entry, number.to_bytes(8, "big"), "bench")))
        keys, _ = keys.with_key(f"{number:012x}", sequence=number)
    state = new_state(account, entries, last_ms=FIRST_MS + len(entries), keys=keys)
    return account_document(account.user, state)
