"""Whether each account is what its journal leads to, entry by entry, by the load generator's model of the rules.

Cash, shares, orders, triggers, average costs and gain are compared, and no entry may be missing, including those of
closed and archived parts. It reads the database and the archives, so it also finds manual changes there.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from pymongo.database import Database

from chalicelib.audit.archives import Archives
from chalicelib.domain.account import Account as StoredAccount
from chalicelib.domain.account import PendingOrder
from chalicelib.domain.journal import OK, Entry, OrderExpired, TriggerFired
from chalicelib.store.documents import account_from_state, entry_from_document, state_of
from loadgen.verify.differences import compare_accounts
from loadgen.verify.model import Account, ImpossibleError, Order, RejectedError, Trigger
from loadgen.verify.rules import apply
from loadgen.workload.amounts import spell
from loadgen.workload.commands import has_money
from loadgen.workload.files import Command

Document = dict[str, Any]


class GapError(Exception):
    """Entries of a journal are missing."""


def differences(database: Database[Document], archives: Archives, price_cents: int) -> Iterator[str]:
    """Yield what is wrong with accounts or journals, by user; archived trades were at the only price there is."""
    for document in database["accounts"].find():
        user, state = document["_id"], state_of(document)
        parts = database["journal"].find({"_id": {"$gt": f"{user}:", "$lt": f"{user};"}}).sort("_id")
        open_part = {"from": state["open_from"], "count": len(state["open"]), "entries": state["open"]}
        archived = (
            {"from": line.sequence, "count": 1, "entries": [line.entry]}
            for line in archives.user_lines(user, 1, state["version"] + 1, check=lambda: None)
        )
        try:
            entries = list(_entries(chain(archived, parts, [open_part]), state["version"]))
            account = _carried_out(entries, price_cents)
        except (GapError, ImpossibleError, RejectedError) as error:
            yield f"{user}: {error}"
            continue
        yield from (f"{user}: {found}" for found in compare_accounts(account, _shown(account_from_state(user, state))))


def _entries(parts: Iterable[Document], version: int) -> Iterator[Entry]:
    """Yield the entries from the first, each once: while an entry is moved, it may be in two places."""
    expected = 1
    for part in parts:
        if part["from"] > expected:
            raise GapError(f"entries {expected} to {part['from'] - 1} of the journal are missing")
        if len(part["entries"]) != part["count"]:
            raise GapError(f"of {part['count']} entries from {part['from']} on there are {len(part['entries'])}")
        for place, entry in enumerate(part["entries"], part["from"]):
            if place == expected:
                yield entry_from_document(entry)
                expected += 1
    if expected != version + 1:
        raise GapError(f"the journal ends with entry {expected - 1}, the account is at version {version}")


def _carried_out(entries: Iterable[Entry], price_cents: int) -> Account:
    account = Account()
    for number, entry in enumerate(entries, 1):
        for event in entry.events:
            if isinstance(event, OrderExpired):
                account.expire(event.command, event.transaction, event.value_cents, entry.timestamp_ms)
        if entry.command is not None and entry.outcome == OK:
            _carry_out(account, entry, price_cents)
        for event in entry.events:
            if isinstance(event, TriggerFired):
                account.fire(event.command, event.transaction, event.symbol, event.price_cents)
        if account.cash != entry.cash_cents:
            raise ImpossibleError(
                f"after entry {number} the cash is {spell(entry.cash_cents)}, the model says {spell(account.cash)}"
            )
    return account


def _carry_out(account: Account, entry: Entry, price_cents: int) -> None:
    assert entry.command is not None
    money = has_money(entry.command) and entry.amount_cents is not None
    value = spell(entry.amount_cents or 0) if money else entry.filename
    price: int = entry.result.get("price_cents", price_cents)  # an archived entry has no result
    apply(account, Command(entry.transaction, entry.command, "", entry.symbol, value), price)


def _shown(account: StoredAccount) -> Account:
    """Return an account of the database as the model represents it."""

    def orders(some: Iterable[PendingOrder]) -> list[Order]:
        return [
            Order(order.transaction, order.symbol, order.shares, order.price_cents, order.value_cents, None)
            for order in some
        ]

    costs: Mapping[str, int] = account.cost_cents
    return Account(
        account.cash_cents,
        dict(account.holdings),
        orders(account.pending_buys),
        orders(account.pending_sells),
        {symbol: Trigger(one.amount_cents, one.price_cents) for symbol, one in account.buy_triggers.items()},
        {
            symbol: Trigger(one.amount_cents, one.price_cents, one.shares)
            for symbol, one in account.sell_triggers.items()
        },
        dict(costs),
        account.realised_cents,
    )
