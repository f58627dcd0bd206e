"""A journal entry spelled out as the events of SPEC.md section 6."""

from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.domain.commands import CommandName
from chalicelib.domain.journal import OK, CashMoved, Entry, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.money import format_cents


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An entry with whose journal it stands in, its place there, and the server that made it."""

    user: str
    sequence: int
    server: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event: its kind and its fields, name and text, in order; a field that does not apply is not there."""

    kind: str
    fields: tuple[tuple[str, str], ...]


def log_events(line: JournalLine) -> Iterator[LogEvent]:
    """Yield the events of an entry in the order in which they came about.

    Expired orders were given back before the command was decided, so they stand before it. The cash that an expiry or
    a firing moves carries the number of the transaction that caused it.
    """
    entry = line.entry
    for event in entry.events:
        if isinstance(event, OrderExpired):
            yield from _expired(line, event)
    if entry.command is not None:
        yield _command_event("userCommand", line)
    transaction = entry.transaction
    for event in entry.events:
        match event:
            case QuoteHit():
                yield _quote_server(line, event)
            case TriggerFired():
                transaction = event.transaction
                yield _system_event(line, event.command, transaction, event.symbol, event.price_cents)
            case CashMoved(action, cents):
                yield _account_transaction(line, transaction, action, cents)
            case OrderExpired():
                pass
    if entry.outcome != OK:
        yield _command_event("errorEvent", line, ("errorMessage", f"{entry.outcome}: {entry.message}"))


def _expired(line: JournalLine, event: OrderExpired) -> Iterator[LogEvent]:
    yield _system_event(line, event.command, event.transaction, event.symbol, event.value_cents)
    if event.command is CommandName.BUY:
        yield _account_transaction(line, event.transaction, "add", event.value_cents)


def _head(line: JournalLine, transaction: int) -> tuple[tuple[str, str], ...]:
    return (
        ("timestamp", str(line.entry.timestamp_ms)),
        ("server", line.server),
        ("transactionNum", str(transaction)),
    )


def _command_event(kind: str, line: JournalLine, *more: tuple[str, str]) -> LogEvent:
    entry = line.entry
    optional = (
        ("username", None if entry.of_all else line.user),
        ("stockSymbol", entry.symbol),
        ("filename", entry.filename),
        ("funds", None if entry.amount_cents is None else format_cents(entry.amount_cents)),
    )
    given = tuple((name, value) for name, value in optional if value is not None)
    return LogEvent(kind, (*_head(line, entry.transaction), ("command", str(entry.command)), *given, *more))


def _system_event(line: JournalLine, command: CommandName, transaction: int, symbol: str, funds_cents: int) -> LogEvent:
    return LogEvent(
        "systemEvent",
        (
            *_head(line, transaction),
            ("command", command),
            ("username", line.user),
            ("stockSymbol", symbol),
            ("funds", format_cents(funds_cents)),
        ),
    )


def _account_transaction(line: JournalLine, transaction: int, action: str, cents: int) -> LogEvent:
    fields = (("action", action), ("username", line.user), ("funds", format_cents(cents)))
    return LogEvent("accountTransaction", (*_head(line, transaction), *fields))


def _quote_server(line: JournalLine, event: QuoteHit) -> LogEvent:
    quote = event.quote
    return LogEvent(
        "quoteServer",
        (
            *_head(line, line.entry.transaction),
            ("price", format_cents(quote.price_cents)),
            ("stockSymbol", quote.symbol),
            ("username", quote.user),
            ("quoteServerTime", str(quote.timestamp_ms)),
            ("cryptokey", quote.cryptokey),
        ),
    )
