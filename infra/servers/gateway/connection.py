"""One connection of a client: what comes in is read with llhttp, requests are answered one after the other."""

import asyncio
import logging
import math
from collections import deque
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from infra.servers.gateway.problems import Answer, problem
from infra.servers.gateway.requests import HttpRequest, split_target
from infra.servers.gateway.waiting import LoopWaiting

BODY_LIMIT_BYTES = 64 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
MOST_HEADERS = 100
MESSAGE_LIMIT_BYTES = HEAD_LIMIT_BYTES + 8 * BODY_LIMIT_BYTES
"""Of a whole request, with what a chunked body has around its bytes."""

LINGER_SECONDS = 2.0
"""How long a client that was refused may go on sending: to close at once would take the answer from it."""

_log = logging.getLogger("gateway")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = problem("too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes")
_HEAD_TOO_LARGE = problem("invalid_header", f"the head of a request has at most {HEAD_LIMIT_BYTES} bytes")
_TOO_MANY_HEADERS = problem("invalid_header", f"a request has at most {MOST_HEADERS} headers")
_CUT_OFF = problem("invalid_json", "the body ended before its announced length")
_MALFORMED = problem("invalid_header", "the request is not well formed")
_FAILED = problem("bad_gateway", "the answer cannot be sent")


class Handler(Protocol):
    """What answers requests; see `infra.servers.gateway.adapter.Gateway`."""

    def answer(self, request: HttpRequest) -> Answer:
        """Answer a request, whatever happens; the answer to HEAD has the body that GET would have had."""


class Clock:
    """The loop's time, and the date as HTTP has it, made once a second (`tick`)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self.date = ""
        self.tick()

    def tick(self) -> None:
        """Look at the time of day."""
        self.date = formatdate(usegmt=True)


class Connections:
    """The open connections of a server, and what they have in common."""

    def __init__(self, handler: Handler, waiting: LoopWaiting, idle_seconds: float) -> None:
        self.handler = handler
        self.waiting = waiting
        self.clock = Clock(waiting.loop)
        self.idle_seconds = idle_seconds
        self.open: set[Connection] = set()
        self.stopping = False
        self.changed = asyncio.Event()
        """Set whenever a connection goes."""

    def make(self) -> "Connection":
        """Return what serves the next connection."""
        return Connection(self)

    def tick(self) -> None:
        """Close what has been idle, or has taken too long to send or to read, for its time; called once a second."""
        self.clock.tick()
        now = self.clock.now()
        for connection in [one for one in self.open if one.is_overdue(now)]:
            connection.give_up()

    def stop(self) -> None:
        """Close each connection as soon as it has no request that has begun."""
        self.stopping = True
        for connection in list(self.open):
            connection.stop()

    def abort(self) -> None:
        """Close all at once."""
        for connection in list(self.open):
            connection.give_up()


class _Reading(Enum):
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class Connection(asyncio.Protocol):
    """Reads requests and writes their answers, in the order of the requests.

    It may be idle, or send one request, or take nothing of an answer, for so long (`is_overdue`). While a request is
    carried out it may take its time: that ends by its own limits. What a client sends ahead is read no further than the
    piece that holds the first request too many.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport
        self._client = ""
        self._parser = httptools.HttpRequestParser(self)
        self._ready: deque[HttpRequest] = deque()
        self._is_serving = False
        self._is_deaf = False  # nothing more is read
        self._is_read_paused = False
        self._reading = _Reading.NOTHING
        self._received = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        self._header_lines = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._refusal: Answer | None = None
        self._untaken = math.inf  # bytes of answers that the client had not taken when that was looked at last
        self._deadline = connections.clock.now() + connections.idle_seconds

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has no base class
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if peer else ""
        self._connections.open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """End; a request that is being carried out goes on, and its answer is for nobody."""
        self._is_deaf = True
        self._ready.clear()
        self._connections.open.discard(self)
        self._connections.changed.set()

    def data_received(self, data: bytes) -> None:
        """Read on, and begin with a request that is whole."""
        if self._is_deaf:
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded: the request is answered, and what follows it is in no language we know.
            self._is_deaf = True
            if self._ready:
                self._ready[-1].is_last = True
        except httptools.HttpParserError:
            self._refusal = self._refusal or _MALFORMED
        if self._reading is _Reading.HEAD and self._received > HEAD_LIMIT_BYTES:
            self._refusal = self._refusal or _HEAD_TOO_LARGE
        elif self._received > MESSAGE_LIMIT_BYTES + len(data):
            self._refusal = self._refusal or _TOO_LARGE
        if self._ready and self._ready[-1].is_last:
            self._refusal = None  # whatever it is that came behind the last request
        if self._refusal is not None:
            self._is_deaf = True
        self._go_on()

    def eof_received(self) -> bool:
        """Answer what is there, though the client will say no more; then close."""
        if self._is_deaf and not self._is_serving:
            return False
        if self._reading is _Reading.BODY and self._refusal is None:
            self._refusal = _CUT_OFF
        self._is_deaf = True
        if self._ready:
            self._ready[-1].is_last = True
        elif self._refusal is None and not self._is_serving:
            return False
        self._go_on()
        return True

    # what the server calls

    def stop(self) -> None:
        """Close, after the answer to a request that has begun."""
        if not self._is_serving and self._reading is _Reading.NOTHING:
            self._transport.close()

    def is_overdue(self, now: float) -> bool:
        """Return whether it has had its time; one that has taken some of an answer has it again."""
        if now <= self._deadline:
            return False
        untaken = self._transport.get_write_buffer_size()
        if 0 < untaken < self._untaken:
            self._untaken = untaken
            self._deadline = now + self._connections.idle_seconds
            return False
        return True

    def give_up(self) -> None:
        """Close at once."""
        self._transport.abort()

    # what the parser calls: none of it may fail

    def on_message_begin(self) -> None:
        """Begin with the next request."""
        self._reading = _Reading.HEAD
        self._target = b""
        self._headers = {}
        self._repeated = {}
        self._header_lines = 0
        self._body = []
        self._body_bytes = 0
        if not self._is_serving:
            self._rest()

    def on_url(self, piece: bytes) -> None:
        """Take the target, or a piece of it."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header; those that follow a chunked body are not for us (RFC 9110, section 6.5.1)."""
        if self._reading is not _Reading.HEAD:
            return
        self._header_lines += 1
        if self._header_lines > MOST_HEADERS:
            self._refusal = _TOO_MANY_HEADERS
            return
        key = name.decode("latin-1").lower()
        text = (value or b"").decode("latin-1")
        if key in self._headers:
            self._repeated.setdefault(key, [self._headers[key]]).append(text)
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Look whether the body may come."""
        self._reading = _Reading.BODY
        length = self._headers.get("content-length", "0")
        if len(length) > 9 or int(length) > BODY_LIMIT_BYTES:
            self._refusal = _TOO_LARGE
        elif self._headers.get("expect", "").lower() == "100-continue" and not self._is_serving and not self._ready:
            self._transport.write(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(piece)
        if self._body_bytes > BODY_LIMIT_BYTES:
            self._refusal = _TOO_LARGE
        if self._refusal is None:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """Put the request with those that are ready."""
        self._reading = _Reading.NOTHING
        self._received = 0
        if self._refusal is not None or self._is_deaf:
            return
        path, query = split_target(self._target)
        request = HttpRequest(
            self._parser.get_method().decode("latin-1"),
            path,
            query,
            self._headers,
            self._repeated,
            b"".join(self._body),
            self._client,
            self._parser.get_http_version(),
            is_last=not self._parser.should_keep_alive(),
        )
        if request.is_last:
            self._is_deaf = True
        self._ready.append(request)

    # from request to answer

    def _go_on(self) -> None:
        """Begin with the next request, or refuse what came instead of one, if none is being answered; on the hub."""
        if self._is_serving or self._transport.is_closing():
            self._hold_back()
        elif self._ready:
            self._is_serving = True
            self._deadline = math.inf
            self._connections.waiting.begin(self._serve)
            self._hold_back()
        elif self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._write(refusal, is_head=False, is_last=True)
            self._linger()
        elif self._is_read_paused and not self._is_deaf:
            self._is_read_paused = False
            self._transport.resume_reading()

    def _hold_back(self) -> None:
        if self._ready and not self._is_read_paused and not self._transport.is_closing():
            self._is_read_paused = True
            self._transport.pause_reading()

    def _serve(self) -> None:
        """Answer one request; in a greenlet."""
        try:
            self._answer(self._ready.popleft())
        except Exception:  # noqa: BLE001 - it would hold the connection for ever
            _log.exception("an answer could not be sent")
            self._transport.abort()

    def _answer(self, request: HttpRequest) -> None:
        answer = self._connections.handler.answer(request)
        is_last = request.is_last or self._connections.stopping or (self._is_deaf and not self._ready)
        is_last = is_last and self._refusal is None
        self._is_serving = False
        if self._transport.is_closing():
            return
        self._write(answer, is_head=request.method == "HEAD", is_last=is_last)
        self._rest()
        if is_last:
            self._transport.close()
        elif self._ready or self._refusal is not None or self._is_read_paused:
            self._connections.waiting.loop.call_soon(self._go_on)

    def _rest(self) -> None:
        self._untaken = math.inf
        self._deadline = self._connections.clock.now() + self._connections.idle_seconds

    def _write(self, answer: Answer, *, is_head: bool, is_last: bool) -> None:
        status, headers, body = answer
        lines = _head(status, tuple(headers))
        if lines is None:
            self._write(_FAILED, is_head=is_head, is_last=is_last)
            return
        length = "" if status in _WITHOUT_BODY else f"content-length: {len(body)}\r\n"
        closing = "connection: close\r\n" if is_last else ""
        head = f"{lines}date: {self._connections.clock.date}\r\n{length}{closing}\r\n".encode("ascii")
        self._transport.write(head if is_head or not length else head + body)

    def _linger(self) -> None:
        """Close when the client does, or after a while in which what it sends is thrown away."""
        self._deadline = self._connections.clock.now() + LINGER_SECONDS
        if self._is_read_paused:
            self._is_read_paused = False
            self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> str | None:
    """Return the lines of an answer's head that nearly all of its kind have, None when they cannot be sent."""
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers)]
    text = "\r\n".join([*lines, ""])
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or not text.isascii():
        return None  # a line end in a header would be a header, or an answer, of whoever had it put there
    return text
