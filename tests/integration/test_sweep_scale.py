"""However many accounts there are, the sweep reads only those with something due (docs/rules.md section 5)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from chalicelib.domain.account import Account, BuyTrigger, PendingOrder, SellTrigger
from chalicelib.store.documents import Document
from chalicelib.store.due import DueAccounts
from tests.integration.shop import Shop, settings_for
from tests.integration.sweeping import LIMITS, PricedQuotes, insert_accounts, sweeper_of

ACCOUNTS = 100_000
DUE = 50
EXPIRED = 20
SYMBOLS = [first + second for first in "ABCDE" for second in "FGHIJ"]
PRICES = dict.fromkeys(SYMBOLS, 1000)
READS = {"find", "distinct", "aggregate", "getMore"}


class Reads(CommandListener):
    """Remembers the reads that a client sends."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Remember a read."""
        if event.command_name in READS:
            self.sent.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to remember."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to remember."""


def account(number: int, now_ms: int) -> Account:
    """Return an account with triggers and an order; every 2,000th has a trigger that is due at 10.00."""
    symbol, other = SYMBOLS[number % 25], SYMBOLS[(number * 7 + 3) % 25]
    due = number % (ACCOUNTS // DUE) == 0
    buy = BuyTrigger(500_000, 1000 if due else 100 + number % 899, number + 1)
    sell = SellTrigger(500_000, 1001 + number % 5000, 5, number + 1)
    expires = now_ms - 1 if number % (ACCOUNTS // EXPIRED) == 1 else now_ms + number % 60_000
    order = PendingOrder(number + 1, symbol, 1, 1000, 1000, expires)
    return Account(
        f"user{number:06d}",
        cash_cents=number,
        buy_triggers={symbol: buy} if number % 3 != 1 or due else {},
        sell_triggers={other: sell} if number % 3 == 1 else {},
        pending_buys=(order,) if number % 4 == 1 else (),
    )


@pytest.fixture
def shop(mongo_uri: str, mongo_database: str) -> Iterator[Shop]:
    """Return a shop with 100,000 accounts."""
    shop = Shop(settings_for(mongo_uri, mongo_database))
    insert_accounts(shop.database, (account(number, shop.now_ms) for number in range(ACCOUNTS)))
    shop.accounts.make_indexes()  # at the end it is quicker
    yield shop
    shop.close()


def explained(database: Database[Document], command: Mapping[str, Any]) -> tuple[list[str], int, int]:
    """Return the plan's stages, and how many index keys and documents a read examines."""
    given = {name: value for name, value in command.items() if not name.startswith("$") and name != "lsid"}
    answer = database.command("explain", given, verbosity="executionStats")
    stats = answer["executionStats"]
    return list(stages(answer["queryPlanner"]["winningPlan"])), stats["totalKeysExamined"], stats["totalDocsExamined"]


def stages(plan: Any) -> Iterator[str]:
    """Yield the names of a plan's stages."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan["stage"]
        for part in plan.values():
            yield from stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages(part)


def keys_and_documents_read(database: Database[Document]) -> tuple[int, int]:
    """Return how many index keys and documents the server has examined since its start, for reads and updates."""
    executor = database.client.admin.command("serverStatus")["metrics"]["queryExecutor"]
    return executor["scanned"], executor["scannedObjects"]


def test_of_100000_accounts_a_sweep_reads_those_with_something_due(
    shop: Shop, mongo_uri: str, mongo_database: str
) -> None:
    """Two witnesses: the plan of every read that the finding sends, and the server's own count over a whole sweep."""
    reads = Reads()
    with MongoClient[Document](mongo_uri, event_listeners=[reads]) as client:
        finder = DueAccounts(client[mongo_database])
        assert finder.symbols() == sorted(SYMBOLS)
        assert finder.holder("AF") is not None
        assert sum(map(len, finder.due(PRICES, 100))) == DUE
        assert sum(map(len, finder.expired(shop.now_ms, 100))) == EXPIRED
    assert [next(iter(read)) for read in reads.sent] == ["distinct", "find", "find", "find"]
    plans = [explained(shop.database, read) for read in reads.sent]
    for names, _, _ in plans:
        assert {"IXSCAN", "DISTINCT_SCAN"} & set(names)
        assert not {"COLLSCAN", "SORT"} & set(names)
    symbols, holder, due, expired = [(keys, documents) for _, keys, documents in plans]
    assert symbols[0] <= 2 * len(SYMBOLS)
    assert symbols[1] == 0
    assert holder == (1, 1)
    assert due[0] <= 2 * DUE + 4 * len(SYMBOLS)
    assert due[1] <= DUE + len(SYMBOLS)
    assert expired[0] <= EXPIRED + 1
    assert expired[1] == EXPIRED

    before = keys_and_documents_read(shop.database)
    report = sweeper_of(shop, PricedQuotes(PRICES), LIMITS).sweep()
    keys, documents = (
        after - so_far for after, so_far in zip(keys_and_documents_read(shop.database), before, strict=True)
    )
    assert (report.symbols, report.due, report.fired, report.expired) == (len(SYMBOLS), DUE, DUE, EXPIRED)
    assert keys < 1_000, "of some 150,000 in the indexes"
    assert documents < 1_000, f"of {ACCOUNTS}"
