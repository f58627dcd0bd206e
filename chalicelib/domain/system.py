"""What the system does to accounts on its own, and the entries that record it."""

from collections.abc import Mapping, Sequence

from chalicelib.domain.account import Account
from chalicelib.domain.decide import Decision
from chalicelib.domain.expiry import give_back_expired
from chalicelib.domain.journal import OK, Entry, Event, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import Quote
from chalicelib.domain.triggers import fire_due_triggers

SYSTEM_JOURNAL = "$system"
"""The account whose journal records quote hits that belong to no command. No user id contains `$`."""


def settle(account: Account, prices: Mapping[str, int], now_ms: int, hits: Sequence[QuoteHit] = ()) -> Decision | None:
    """Release expired orders, then fire the triggers that are due at `prices` (cents by symbol).

    Returns None if there is nothing to do and there are no `hits` to record; each hit has the number of the trigger it
    was for. The entry has the number of the first transaction it settles; each event has its own. An order made after
    `now_ms` is changed to expire in 60 s, which is an entry without events.
    """
    after, expiries = give_back_expired(account, now_ms)
    orders = () if after is account else (*after.pending_buys, *after.pending_sells)
    after, firings = fire_due_triggers(after, prices)
    events = (*firings, *expiries)
    caused_by = [event.transaction for event in events if isinstance(event, TriggerFired | OrderExpired)]
    caused_by += [order.transaction for order in orders]
    caused_by += [hit.transaction for hit in hits if hit.transaction is not None]
    if not caused_by:
        return None
    return Decision(after, _entry(after, caused_by[0], now_ms, (*expiries, *hits, *firings)))


def note_hits(quotes: Sequence[Quote], transaction: int, account: Account, now_ms: int) -> Decision:
    """Record the quote hits of a price request, which is not a command."""
    return Decision(account, _entry(account, transaction, now_ms, tuple(QuoteHit(quote) for quote in quotes)))


def note_hit(quote: Quote, transaction: int, account: Account, now_ms: int) -> Decision:
    """Record a quote hit for the command with this number."""
    return Decision(account, _entry(account, transaction, now_ms, (QuoteHit(quote),)))


def _entry(account: Account, transaction: int, now_ms: int, events: tuple[Event, ...]) -> Entry:
    return Entry(
        transaction=transaction,
        timestamp_ms=now_ms,
        command=None,
        symbol=None,
        amount_cents=None,
        filename=None,
        of_all=False,
        key=None,
        outcome=OK,
        message=None,
        cash_cents=account.cash_cents,
        events=events,
        result={},
    )
