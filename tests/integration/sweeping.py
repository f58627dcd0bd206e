"""Helpers of the sweep's tests: sweepers on a test's database, quotes that a test sets, accounts made in bulk."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree as ET

import bson
from pymongo.database import Database

from chalicelib.config.settings import Settings
from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.errors import QuoteUnavailableError
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.runtime import make_runtime
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document, account_document, entry_document, new_state
from chalicelib.store.due import DueAccounts
from chalicelib.store.key_filter import KeyFilter
from chalicelib.store.recent import RecentRecords
from chalicelib.sweep.sweeper import Sweeper, SweepLimits
from tests.integration.shop import Shop
from tests.unit.trader import Trader

AUDITOR = "auditor"
"""The operator who asks for audit logs."""

AT_MS = 1_700_000_000_000

LIMITS = SweepLimits(time_ms=60_000, quotes_at_once=4, writes_at_once=4, batch=100)


@dataclass
class PricedQuotes:
    """Quotes at prices (cents by symbol) that the test sets; a symbol without a price is unavailable.

    `asked` is who was named for which symbol, in the order of the questions.
    """

    prices: dict[str, int]
    cached: bool = True
    too_old: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the quote of a symbol."""
        self.asked.append((symbol, user))
        if symbol not in self.prices:
            raise QuoteUnavailableError(f"no price of {symbol}")
        return QuoteAnswer(Quote(symbol, self.prices[symbol], user, AT_MS, "key"), self.cached)

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether a quote may still be used."""
        return not self.too_old


def sweeper_of(shop: Shop, quotes: Any, limits: SweepLimits = LIMITS, store: Accounts | None = None) -> Sweeper:
    """Return a sweeper on the shop's database, at the shop's time, with a store of its own."""
    store = store or Accounts(shop.database, "sweeper", RecentRecords(0))
    return Sweeper(store, DueAccounts(shop.database), quotes, lambda: shop.now_ms, limits)


def audit(settings: Settings) -> list[tuple[str, dict[str, str]]]:
    """Return the audit log as DUMPLOG writes it, event by event (kind and fields), without the DUMPLOG itself."""
    with TemporaryDirectory() as folder:
        runtime = make_runtime(replace(settings, dump_place=folder))
        command = Command(CommandName.DUMPLOG, AUDITOR, runtime.transactions.next(), filename="log.xml", of_all=True)
        location = runtime.trading.execute(command).result["location"]
        runtime.close()
        events = ET.parse(location).getroot()  # noqa: S314  # our own
    told = [(event.tag, {field.tag: field.text or "" for field in event}) for event in events]
    return [(kind, fields) for kind, fields in told if fields.get("command") != "DUMPLOG"]


def insert_traders(database: Database[Document], traders: Iterable[Trader]) -> None:
    """Store accounts of traders with their journals, as their commands would have left them, many at once."""
    _insert(database, (_document(trader.account, trader) for trader in traders))


def insert_accounts(database: Database[Document], accounts: Iterable[Account]) -> None:
    """Store accounts that have no journal."""
    _insert(database, (_document(account, Trader(account)) for account in accounts))


def _insert(database: Database[Document], documents: Iterable[Document]) -> None:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == 5_000:
            database["accounts"].insert_many(batch, ordered=False)
            batch = []
    if batch:
        database["accounts"].insert_many(batch, ordered=False)


def _document(account: Account, trader: Trader) -> Document:
    entries = [bson.encode(entry_document(entry, b"made by a test", "test")) for entry in trader.entries]
    # An account without a journal is at version 1 all the same: version 0 is one without a document.
    state = new_state(account, entries, last_ms=trader.now_ms, keys=KeyFilter(), open_from=1 if entries else 2)
    return account_document(account.user, state)
