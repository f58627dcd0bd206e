"""The responses of reads, which are not commands (docs/api.md): an account, its history, prices, past prices."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chalice.app import Response

from chalicelib.domain.account import Account
from chalicelib.domain.answers import bought, buy_trigger_view, sell_trigger_view, sold
from chalicelib.domain.history import AccountEvent, events_of
from chalicelib.domain.moment import Moment
from chalicelib.domain.money import format_cents
from chalicelib.domain.positions import held
from chalicelib.http.answers import json_response, on_the_wire
from chalicelib.http.headers import matches_etag
from chalicelib.http.operations import CSV
from chalicelib.quotes.history import PriceHistory
from chalicelib.service.prices import Prices
from chalicelib.service.reads import DEFAULT_ENTRIES, EventId, JournalPage, events_after, history_page, latest_events
from chalicelib.store.reads import AccountReads, Numbered, Snapshot

_ENTRY_COLUMNS = ("sequence", "transaction", "timestamp", "command", "outcome", "detail", "symbol", "amount", "cash")
_EVENT_COLUMNS = ("id", "kind", "transaction", "order", "side", "symbol", "shares", "price", "money")
_EVENT_PREFIX = "event_"


def account_response(reads: AccountReads, user: str, after: EventId | None, if_none_match: str | None) -> Response:
    """Return an account, or 304 if the client has this version of it, which costs one small read."""
    if if_none_match is not None and matches_etag(if_none_match, etag := _etag(reads.version(user))):
        return Response("", status_code=304, headers={"ETag": etag})
    snapshot = reads.snapshot(user)
    told = latest_events(reads, snapshot) if after is None else events_after(reads, snapshot, after)
    body = {
        **_account_view(snapshot),
        "events": [_event_view(event) for event in told.events],
        "more": told.more,
    }
    return json_response(on_the_wire(body), {"ETag": _etag(snapshot.version)})


def history_response(
    reads: AccountReads, user: str, before: int | None, limit: int | None, kind: str | None, form: str | None
) -> Response:
    """Return a page of a user's journal, newest first, as JSON or CSV."""
    page = history_page(reads, user, before, limit or DEFAULT_ENTRIES, only_trades=kind == "trades")
    if form == "csv":
        headers: dict[str, str | list[str]] = {"Content-Type": CSV, "Content-Disposition": "attachment"}
        if page.next is not None:
            headers["X-Next-Before"] = str(page.next)
        return Response(_csv(page), headers=headers)
    body = {"entries": [_entry_view(numbered) for numbered in page.entries], "next": page.next}
    return json_response(on_the_wire(body))


def prices_response(prices: Prices, symbols: Sequence[str], user: str, moment: Moment) -> Response:
    """Return the current prices of symbols, and which cannot be had; raises StoreUnavailableError."""
    answers = prices.get(symbols, user)
    body = {
        "prices": {
            symbol: {
                "price_cents": answer.quote.price_cents,
                "timestamp": answer.quote.timestamp_ms,
                "valid_until": moment.wall_ms + max(0, answer.remaining_ms(moment)),
                "cached": answer.cached,
            }
            for symbol, answer in answers.items()
            if answer is not None
        },
        "unavailable": [symbol for symbol, answer in answers.items() if answer is None],
    }
    return json_response(on_the_wire(body))


def price_history_response(history: PriceHistory, symbol: str, since_ms: int | None, now_ms: int) -> Response:
    """Return the prices seen of a symbol, oldest first; raises QuoteUnavailableError if Redis does not answer."""
    points = history.points(symbol, since_ms or 0, now_ms)
    return json_response({"points": [[point.at_ms, format_cents(point.price_cents)] for point in points]})


def _etag(version: int) -> str:
    return f'"{version}"'


def _account_view(snapshot: Snapshot) -> dict[str, Any]:
    account = snapshot.account
    return {
        "user": account.user,
        "exists": snapshot.version > 0,
        "version": snapshot.version,
        "cash_cents": account.cash_cents,
        "reserved_cash_cents": account.reserved_cents(),
        "holdings": dict(sorted(account.holdings.items())),
        "positions": _positions(account),
        "realised_cents": account.realised_cents,
        "pending_buys": [{**bought(order), "expires_at": order.expires_at_ms} for order in account.pending_buys],
        "pending_sells": [{**sold(order), "expires_at": order.expires_at_ms} for order in account.pending_sells],
        "buy_triggers": [buy_trigger_view(*item) for item in sorted(account.buy_triggers.items(), key=_by_symbol)],
        "sell_triggers": [sell_trigger_view(*item) for item in sorted(account.sell_triggers.items(), key=_by_symbol)],
    }


def _by_symbol(item: tuple[str, Any]) -> str:
    return item[0]


def _positions(account: Account) -> dict[str, Any]:
    symbols = {*account.holdings, *(order.symbol for order in account.pending_sells), *account.sell_triggers}
    return {
        symbol: {
            "shares": shares,
            "reserved": account.reserved_shares(symbol),
            "cost_cents": account.cost_cents.get(symbol),
        }
        for symbol in sorted(symbols)
        if (shares := held(account, symbol))
    }


def _entry_view(numbered: Numbered) -> dict[str, Any]:
    entry = numbered.entry
    return {
        "sequence": numbered.sequence,
        "transaction": entry.transaction,
        "timestamp": entry.timestamp_ms,
        "command": entry.command,
        "outcome": entry.outcome,
        "detail": entry.message,
        "symbol": entry.symbol,
        "amount_cents": entry.amount_cents,
        "cash_cents": entry.cash_cents,
        "events": [_event_view(event) for event in events_of(entry, numbered.sequence)],
    }


def _event_view(event: AccountEvent) -> dict[str, Any]:
    view = {
        "id": f"{event.sequence}.{event.place}",
        "timestamp": event.timestamp_ms,
        "kind": event.kind,
        "transaction": event.transaction,
        "order": event.order,
        "side": event.side,
        "symbol": event.symbol,
        "shares": event.shares,
        "price_cents": event.price_cents,
        "money_cents": event.money_cents,
    }
    return {name: value for name, value in view.items() if value is not None}


def _csv(page: JournalPage) -> str:
    """Return a header line, then a line for each event, or one for an entry without events."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*_ENTRY_COLUMNS, *(_EVENT_PREFIX + name for name in _EVENT_COLUMNS)])
    for numbered in page.entries:
        writer.writerows(_csv_rows(on_the_wire(_entry_view(numbered))))
    return text.getvalue()


def _csv_rows(entry: Mapping[str, Any]) -> Iterator[list[Any]]:
    told = [entry.get(name) for name in _ENTRY_COLUMNS]
    for event in entry["events"] or [{}]:
        yield [*told, *(event.get(name) for name in _EVENT_COLUMNS)]
