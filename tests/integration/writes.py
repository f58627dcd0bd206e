"""Writes to the store for tests, and their outcomes."""

from chalicelib.domain.commands import CommandName
from chalicelib.domain.errors import PermanentError
from chalicelib.domain.journal import CashMoved, Entry, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import entry_document
from chalicelib.store.errors import StoreError
from chalicelib.store.recent import RecentRecords
from chalicelib.store.writers import AccountWriter, GuardedWrite
from tests.integration.shop import Shop

FULL_ENTRY = Entry(
    transaction=2**63 - 1,
    timestamp_ms=1_700_000_000_000,
    command=CommandName.BUY,
    symbol="ABC",
    amount_cents=10**11,
    filename="größe.xml",
    of_all=True,
    key="a key",
    outcome="insufficient_funds",
    message="no <money>",
    cash_cents=5,
    events=(
        OrderExpired(CommandName.SELL, 7, "XYZ", 12),
        QuoteHit(Quote("ABC", 1000, "jane", 5, "key")),
        TriggerFired(CommandName.SET_BUY_TRIGGER, 8, "ABC", 990),
        CashMoved("add", 3),
        CashMoved("remove", 4),
    ),
    result={"symbol": "ABC", "price_cents": None, "nested": [{"shares": 2}]},
)


def other_process(shop: Shop) -> Accounts:
    """Return a store that shares only the database with the shop's."""
    return Accounts(shop.database, "other", RecentRecords(0))


def write_of(user: str, version: int, write_id: bytes) -> GuardedWrite:
    """Return a write that raises the version and pushes an entry."""
    entry = entry_document(FULL_ENTRY, write_id, "test")
    if version == 0:
        return GuardedWrite(user, 0, {"$set": {"version": 1, "open": [entry], "open_from": 1}}, write_id)
    return GuardedWrite(user, version, {"$set": {"version": version + 1}, "$push": {"open": entry}}, write_id)


def outcome(writer: AccountWriter, write: GuardedWrite) -> type[Exception] | None:
    """Write, and return the class of the failure or None."""
    try:
        writer.write(write)
    except (StoreError, PermanentError) as error:
        return type(error)
    return None
