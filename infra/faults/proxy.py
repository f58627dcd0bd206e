"""A small HTTP proxy in front of the system: it sets a pace that can be changed, and can send every request twice.

It expects what the load generator sends: whole requests with their length, one after the other on a connection.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator

from infra.host.ports import HOST, free_port

_LINE_END = b"\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LIMIT_BYTES = 8 * 1024 * 1024
_FINAL = frozenset({200, 400, 409, 422})
_TURNS_TO_CONVERSE = 4
"""Turns of the event loop from a connection accepted by the kernel to the task that serves it, and one to close it."""


class PacedProxy:
    """Runs in its own thread; `rate` (requests per second, None for no limit) and `twice` may be changed at any time.

    `answered` counts final answers, `doubled` the requests that were sent twice.
    """

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self.rate: float | None = None
        self.twice = False
        self.answered = 0
        self.doubled = 0
        self._to_port = to_port
        self._next = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://{HOST}:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve during the block."""
        loop = asyncio.new_event_loop()
        ready, stop = threading.Event(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(self._serve(ready, stop)), name="proxy")
        thread.start()
        try:
            ready.wait()
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    async def _serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._converse, HOST, self.port, limit=_LIMIT_BYTES, backlog=512)
        ready.set()
        await stop.wait()
        server.close()
        quiet_turns = 0
        while quiet_turns < _TURNS_TO_CONVERSE:
            for task in self._tasks:
                task.cancel()
            quiet_turns = 0 if len(asyncio.all_tasks()) > 1 else quiet_turns + 1
            await asyncio.sleep(0)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay the requests of one connection, each in full and then its answer in full."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._keep(asyncio.current_task())
        try:
            while (request := await _read_message(reader)) is not None:
                await self._keep_pace()
                if upstream is None:
                    upstream = await self._connect()
                if self.twice:
                    self._send_copy(request)
                upstream[1].write(request)
                answer = await _read_message(upstream[0])
                if answer is None:
                    return  # the system closed without an answer, and so do we
                self._count(answer)
                writer.write(answer)
                await writer.drain()
                if _CLOSES.search(answer.partition(_LINE_END * 2)[0]):
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # either end is gone
        finally:
            writer.close()
            if upstream is not None:
                upstream[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self._to_port, limit=_LIMIT_BYTES)

    def _send_copy(self, request: bytes) -> None:
        self.doubled += 1
        self._keep(asyncio.get_running_loop().create_task(self._copy(request)))

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _copy(self, request: bytes) -> None:
        """Send a request over another connection at the same time; its answer is discarded."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await self._connect()
            with contextlib.closing(writer):
                writer.write(request)
                await _read_message(reader)

    async def _keep_pace(self) -> None:
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._next = max(now, self._next) + 1 / self.rate
        await asyncio.sleep(self._next - now)

    def _count(self, answer: bytes) -> None:
        status = _STATUS.match(answer)
        self.answered += status is not None and int(status[1]) in _FINAL


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """Return a whole request or answer, or None if the peer closed first."""
    try:
        head = await reader.readuntil(_LINE_END * 2)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")
