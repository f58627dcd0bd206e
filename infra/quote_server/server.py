"""The quote server's connections: a line in, a line out or a failure, one question per connection."""

import asyncio
import contextlib
import json
import random
import re
import socket
import struct
from collections import Counter

from chalicelib.clock import Clock
from chalicelib.domain.money import format_cents
from chalicelib.quotes.sources import QuoteSource
from infra.quote_server.behaviour import Behaviour, Failure, beginning, garbage

MAX_QUESTION_BYTES = 256
QUESTION_SECONDS = 10.0
SILENT_SECONDS = 60.0
DEFAULT_CONNECTIONS = 1_024

_QUESTION = re.compile(rb"([A-Z]{1,3}),([A-Za-z0-9_-]{1,64})\n")
_STATISTICS = b"STATS\n"
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends a reset


class QuoteServer:
    """Answers questions as `behaviour` says, with the prices of `prices`, and counts them.

    A hit is a well-formed question, answered or not. `STATS` instead of a question is our own addition to the legacy
    protocol: it returns the counts at once, as a line of JSON, and is not counted.
    """

    def __init__(
        self,
        prices: QuoteSource,
        behaviour: Behaviour,
        source: random.Random,
        clock: Clock,
        connections: int = DEFAULT_CONNECTIONS,
    ) -> None:
        self._prices = prices
        self._behaviour = behaviour
        self._source = source
        self._clock = clock
        self._most = connections
        self._open: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._by_symbol: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; questions are answered from now on."""
        return await asyncio.start_server(self._converse, host, port, limit=MAX_QUESTION_BYTES, backlog=1_024)

    async def finish(self, seconds: float) -> None:
        """Wait for the answers in progress that are due within that many seconds."""
        self._stopping.set()
        if self._open:
            _, late = await asyncio.wait(self._open, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def statistics(self) -> dict[str, object]:
        """Return the counts: hits, in all and by symbol, and their outcomes."""
        return {
            "hits": self._by_symbol.total(),
            "by_symbol": dict(sorted(self._by_symbol.items())),
            "outcomes": dict(sorted(self._outcomes.items())),
        }

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= self._most:
            self._outcomes["refused"] += 1
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._answer(await _read_question(reader), reader, writer)
        except (OSError, TimeoutError):
            self._outcomes["gone"] += 1  # the client did not wait
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line == _STATISTICS:
            await _send(writer, json.dumps(self.statistics()).encode() + b"\n")
            return
        question = _QUESTION.fullmatch(line)
        if question is None:
            self._outcomes["bad question"] += 1
            return
        symbol, user = question[1].decode(), question[2].decode()
        self._by_symbol[symbol] += 1
        behaviour, source = self._behaviour, self._source
        # Everything random is drawn here: a question's draws do not depend on how long others take.
        delay = behaviour.delay(source)
        failure = source.choice(behaviour.failures) if source.random() < behaviour.fail_rate else None
        await asyncio.sleep(delay)
        self._outcomes[failure or "answered"] += 1
        answer = self._line(symbol, user)
        match failure:
            case None:
                await _send(writer, answer)
            case Failure.SILENT:
                await self._say_nothing(reader)
            case Failure.RESET:
                connection: socket.socket = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                writer.transport.abort()
            case Failure.GARBAGE:
                await _send(writer, garbage(answer, source))
            case Failure.HALF:
                await _send(writer, beginning(answer))

    def _line(self, symbol: str, user: str) -> bytes:
        quote = self._prices.ask(symbol, user, timeout_seconds=0)
        made_ms = self._clock() + self._behaviour.skew_ms
        return f"{format_cents(quote.price_cents)},{symbol},{user},{made_ms},{quote.cryptokey}\n".encode("ascii")

    async def _say_nothing(self, reader: asyncio.StreamReader) -> None:
        """Return when the client has given up, or the server stops waiting."""
        hangs_up = asyncio.ensure_future(reader.read())
        stops = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({hangs_up, stops}, timeout=SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (hangs_up, stops):
                waiting.cancel()
            await asyncio.gather(hangs_up, stops, return_exceptions=True)


async def _read_question(reader: asyncio.StreamReader) -> bytes:
    """Return one line; a line that is too long or incomplete is returned as far as it came, perhaps empty."""
    try:
        async with asyncio.timeout(QUESTION_SECONDS):
            return await reader.readline()
    except ValueError:  # over the limit
        return b""


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
