"""A workload's real writes, recorded so that they can be repeated without the app."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from chalicelib.clock import now_ms
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.money import parse_cents
from chalicelib.domain.quote import QuoteAnswer
from chalicelib.quotes.sources import FixedSource
from chalicelib.service.trading import Trading
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document
from chalicelib.store.recent import RecentRecords
from chalicelib.store.writers import AccountWriter, GuardedWrite, SingleWriter
from loadgen.workload.files import Command as Line

_PRICE_CENTS = 1000
_LIMIT_MS = 60_000

RUN_ID = "0123456789ab"


def key_of(line: Line) -> str:
    """Return the idempotency key of a line, as the load generator makes it."""
    return f"{RUN_ID}-{line.transaction}"


@dataclass(frozen=True, slots=True)
class RecordedWrite:
    """One command's write: a guarded update, preceded once in 64 by the closed part of the journal."""

    guarded: GuardedWrite
    part: RawBSONDocument | None

    @property
    def size_bytes(self) -> int:
        """Return the size of the update as BSON."""
        return len(bson.encode(self.guarded.statement()))


def record(scratch: Database[Document], lines: Iterable[Line]) -> Mapping[str, Sequence[RecordedWrite]]:
    """Return each user's writes for a workload's commands, in order, as the system makes them.

    The system itself executes the commands on the database `scratch`, which must not have these users.
    """
    recorder = _Recorder(SingleWriter(scratch["accounts"]))
    users: set[str] = set()
    trading = Trading(
        store=Accounts(scratch, "gateway", RecentRecords(1_000_000), recorder),
        quotes=_Quotes(),
        dumps=_NoDumps(),
        clock=now_ms,
        queues=UserQueues(),
        limit_ms=_LIMIT_MS,
    )
    for line in lines:
        if line.user is not None:
            users.add(line.user)
            trading.execute(_command(line, line.user))
    return {user: _with_parts(scratch, user, recorder.writes.get(user, [])) for user in users}


def _with_parts(scratch: Database[Document], user: str, writes: Sequence[GuardedWrite]) -> list[RecordedWrite]:
    raw = CodecOptions(document_class=RawBSONDocument)
    journal = scratch["journal"].with_options(codec_options=raw)
    parts = iter(list(journal.find({"user": user}).sort("_id")))
    return [RecordedWrite(write, next(parts) if _closes_a_part(write) else None) for write in writes]


def _closes_a_part(write: GuardedWrite) -> bool:
    return write.version > 0 and "open" in write.operators.get("$set", {})


def _command(line: Line, user: str) -> Command:
    return Command(
        CommandName(line.name),
        user,
        line.transaction,
        symbol=line.symbol,
        amount_cents=None if line.value is None else parse_cents(line.value),
        key=key_of(line),
    )


class _Recorder:
    """A writer that also records its writes."""

    def __init__(self, writer: AccountWriter) -> None:
        self.writes: dict[str, list[GuardedWrite]] = {}
        self._writer = writer

    def write(self, write: GuardedWrite) -> None:
        """Make a write and record it."""
        self._writer.write(write)
        self.writes.setdefault(write.user, []).append(write)

    def close(self) -> None:
        """End the writer."""
        self._writer.close()


class _Quotes:
    """One price, asked for once per symbol, as through the cache."""

    def __init__(self) -> None:
        self._source = FixedSource(_PRICE_CENTS, now_ms)
        self._known: dict[str, QuoteAnswer] = {}

    def get(self, symbol: str, user: str) -> QuoteAnswer:
        """Return the quote of a symbol."""
        if symbol in self._known:
            return self._known[symbol]
        quote = self._source.ask(symbol, user, 1.0)
        self._known[symbol] = QuoteAnswer(quote, cached=True)
        return QuoteAnswer(quote, cached=False)

    def is_current(self, answer: QuoteAnswer) -> bool:
        """Return whether it is one of these quotes."""
        return answer.quote.symbol in self._known


class _NoDumps:
    """A DUMPLOG in a workload belongs to no user and is left out."""

    def write(self, entry: object, user: str, sequence: int, most_bytes: int | None = None) -> Mapping[str, object]:
        """Fail."""
        raise AssertionError(f"a DUMPLOG of {user}: {entry}, {sequence}, {most_bytes}")
