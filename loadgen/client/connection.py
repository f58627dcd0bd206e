"""One kept-alive HTTP/1.1 connection at the cost of three system calls a request.

The load generator shares the machine with what it measures, so its own cost counts: http.client takes 250 us of CPU
a request, most of it in the email package's header parser and in layers of buffering; this takes 70 us. It sends one
request at a time and reads a response with a length, in chunks, or up to the close.

A request leaves in one send. A server that writes head and body apart, with Nagle's algorithm on (`chalice local`
does), waits for our kernel's delayed acknowledgement, 40 ms, before the second part: TCP_QUICKACK, re-armed when a
response comes in parts, sends it at once.

A connection is never trusted: before it is used again it is looked at, and anything that came unasked, a byte or the
end of the stream, means that it is replaced. So a stray response is not taken for that to the next request, unless it
comes after the next request has left; what tells those apart is in the body (`loadgen.client.retry`).
"""

import contextlib
import re
import socket
import ssl
import struct
import sys
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

from loadgen.client.encoding import Target

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_KERNEL_TIMEOUTS = sys.platform != "win32"
_KERNEL_STATE = sys.platform == "linux"
_TCP_ESTABLISHED = 1  # linux/tcp_states.h
_SO_MEMINFO = 55  # asm-generic/socket.h; its first number: bytes that arrived and were not read, with their overhead


class ExchangeError(Exception):
    """A request that got no whole response. `reason` is a stable word for statistics."""

    reason = "connection"


class ConnectError(ExchangeError):
    """No connection could be opened: the request was not sent."""

    reason = "connect"


class ExchangeTimeoutError(ExchangeError):
    """No whole response came in time."""

    reason = "timeout"


class BrokenResponseError(ExchangeError):
    """The response was cut off, or is not what HTTP allows."""

    reason = "broken_answer"


class Response(NamedTuple):
    """One HTTP response.

    `head` is its status line and headers as they came, each line ended by CRLF, `lower` the same in lower case.
    """

    status: int
    head: bytes
    body: bytes
    lower: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, its name given in lower case; None when it is absent."""
        return _header(self.head, self.lower, b"\r\n" + name + b":")


class ClientConnection:
    """A connection to one server, opened when first needed and again when it is no longer good."""

    def __init__(
        self,
        target: Target,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        on_connect: Callable[[int], None] | None = None,
        *,
        kernel_timeouts: bool = True,
    ) -> None:
        """`on_connect` is told how long each connect took in us, name lookup and TLS included.

        `kernel_timeouts` False leaves time-outs to Python's sockets: for gevent, whose sockets never block.
        """
        self._kernel_timeouts = kernel_timeouts and _KERNEL_TIMEOUTS and tls is None
        self._target = target
        self._default_timeout_s = self._timeout_s = timeout_s
        self._tls = tls
        self._on_connect = on_connect
        self._socket: socket.socket | None = None
        self.opened_us = 0
        """How long the last `prepare` took to open a connection, 0 if there was one."""
        self._prepared = False
        self._answering = False

    def prepare(self, timeout_s: float | None = None) -> bool:
        """Make the connection ready for a request, within `timeout_s` seconds (default: that of the connection).

        Return whether a kept connection had to be replaced. Raises ConnectError.
        """
        self._allow(self._default_timeout_s if timeout_s is None else timeout_s)
        replaced = False
        self.opened_us = 0
        if self._socket is not None and not self._is_quiet(self._socket):
            self.close()
            replaced = True
        if self._socket is None:
            self._socket = self._connect()
        self._prepared = True
        return replaced

    def exchange(self, request: bytes, timeout_s: float | None = None) -> Response:
        """Send a request and return its response. Raises ExchangeError; the connection is closed then.

        `timeout_s`, in seconds, is that for sending and for the whole response, and for connecting where that is
        still to be done.
        """
        if not self._prepared:
            self.prepare(timeout_s)
        self._prepared = False
        assert self._socket is not None
        deadline = time.monotonic() + self._timeout_s
        buffer = bytearray()
        self._answering = keep = False
        try:
            self._socket.sendall(request)
            response, keep = self._receive(self._socket, buffer, deadline, bodiless=request.startswith(b"HEAD "))
        except (OSError, ExchangeError) as error:
            raise self._explain(error) from error
        finally:
            if not keep:
                self.close()
        return response

    def close(self) -> None:
        """Close the connection, if it is open."""
        self._prepared = False
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _is_quiet(self, connection: socket.socket) -> bool:
        """Return whether nothing came since the last response: neither a byte nor the end of the stream."""
        try:
            if _KERNEL_STATE and self._tls is None:
                state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                unread = connection.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4)
                return state == _TCP_ESTABLISHED and not any(unread)
            connection.settimeout(0.0)
            try:
                connection.recv(1)  # under TLS what came may be none of the server's words, such as a session ticket
            finally:
                connection.settimeout(self._timeout_s)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def _allow(self, timeout_s: float) -> None:
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            if self._socket is not None:
                self._set_timeouts(self._socket)

    def _explain(self, error: OSError | ExchangeError) -> ExchangeError:
        """Return what an error means for the request."""
        if isinstance(error, TimeoutError | BlockingIOError | ssl.SSLWantReadError | ssl.SSLWantWriteError):
            return ExchangeTimeoutError(f"no whole response within {self._timeout_s:g} s")
        if isinstance(error, ExchangeError) and not isinstance(error, _ClosedError):
            return error
        if self._answering:
            return BrokenResponseError("the response was cut off")
        return ExchangeError(f"the connection was lost after the request was sent: {_words(error)}")

    def _connect(self) -> socket.socket:
        target, started_ns = self._target, time.perf_counter_ns()
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection((target.host, target.port), timeout=self._timeout_s)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                raw = self._tls.wrap_socket(raw, server_hostname=target.host)
            self._set_timeouts(raw)
        except (OSError, UnicodeError) as error:
            if raw is not None:
                raw.close()
            raise ConnectError(f"cannot connect to {target.url}: {_words(error)}") from error
        self.opened_us = (time.perf_counter_ns() - started_ns) // 1000
        if self._on_connect is not None:
            self._on_connect(self.opened_us)
        return raw

    def _set_timeouts(self, connection: socket.socket) -> None:
        """Set the time-outs of sends and receives; the kernel's own spare a poll() before each, but TLS needs ours."""
        if not self._kernel_timeouts:
            connection.settimeout(self._timeout_s)
            return
        connection.settimeout(None)
        whole = int(self._timeout_s)
        value = struct.pack("ll", whole, int((self._timeout_s - whole) * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def _receive(
        self, source: socket.socket, buffer: bytearray, deadline: float, *, bodiless: bool
    ) -> tuple[Response, bool]:
        """Return the response and whether the connection may be used again."""
        while True:
            head = self._take_head(source, buffer, deadline)
            match = _STATUS.match(head)
            if match is None:
                raise BrokenResponseError("the response is not HTTP/1.1")
            status = int(match[2])
            if status == 101:
                raise BrokenResponseError("the server switched protocols, which nobody asked for")
            if status >= 200:
                break
        lower = head.lower()
        keep = _keeps_open(lower, old=match[1] == b"0")
        if bodiless or status in {204, 304}:
            return Response(status, head, b"", lower), keep and not buffer
        body, delimited = self._read_body(source, buffer, deadline, lower)
        return Response(status, head, body, lower), keep and delimited and not buffer

    def _take_head(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        """Take status line and headers from the buffer; lines that end in a bare LF come with CRLF."""
        while True:
            end = buffer.find(b"\r\n\r\n")
            if buffer.find(b"\n\n", 0, end if end >= 0 else len(buffer)) < 0 <= end:
                head = bytes(buffer[: end + 2])
                del buffer[: end + 4]
                return head
            if (blank := _BLANK_LINE.search(buffer)) is not None:
                head = _LINE_END.sub(b"\r\n", bytes(buffer[: blank.start()])) + b"\r\n"
                del buffer[: blank.end()]
                return head
            if len(buffer) > MAX_HEAD_BYTES:
                raise BrokenResponseError("the response's headers do not end")
            self._fill(source, buffer, deadline)

    def _read_body(self, source: socket.socket, buffer: bytearray, deadline: float, lower: bytes) -> tuple[bytes, bool]:
        """Return the body and whether its end was marked; what follows it stays in the buffer."""
        length, coding, encoding = _content_length(lower), None, None
        if b"-encoding:" in lower:
            coding = _header(lower, lower, b"\r\ntransfer-encoding:")
            encoding = _header(lower, lower, b"\r\ncontent-encoding:")
        delimited = True
        if coding is not None:
            if coding != b"chunked":
                raise BrokenResponseError(f"the response has an unknown transfer encoding, {_text(coding)}")
            body = self._read_chunks(source, buffer, deadline)
        elif length is not None:
            body = self._take(source, buffer, deadline, length)
        else:
            body, delimited = self._read_to_end(source, buffer, deadline), False
        return (body if encoding is None else _decode(body, encoding)), delimited

    def _read_to_end(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        with contextlib.suppress(_ClosedError):
            while len(buffer) <= MAX_BODY_BYTES:
                self._fill(source, buffer, deadline)
            raise BrokenResponseError(f"the response is larger than {MAX_BODY_BYTES:,} bytes")
        body = bytes(buffer)
        buffer.clear()
        return body

    def _read_chunks(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        body = bytearray()
        while True:
            size = self._take_line(source, buffer, deadline).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size) or len(body) + int(size, 16) > MAX_BODY_BYTES:
                raise BrokenResponseError("the response's chunks are not usable")
            if int(size, 16) == 0:
                while self._take_line(source, buffer, deadline):
                    pass
                return bytes(body)
            body += self._take(source, buffer, deadline, int(size, 16))
            if self._take_line(source, buffer, deadline):
                raise BrokenResponseError("the response's chunks are not usable")

    def _take(self, source: socket.socket, buffer: bytearray, deadline: float, length: int) -> bytes:
        while len(buffer) < length:
            self._fill(source, buffer, deadline)
        body = bytes(buffer[:length])
        del buffer[:length]
        return body

    def _take_line(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise BrokenResponseError("a line of the response does not end")
            self._fill(source, buffer, deadline)
        return self._take(source, buffer, deadline, end + 1).rstrip(b"\r\n")

    def _fill(self, source: socket.socket, buffer: bytearray, deadline: float) -> None:
        if self._answering:
            self._hurry(source, deadline)
        received = source.recv(_RECEIVE_BYTES)
        if not received:
            raise _ClosedError("closed by the server")
        self._answering = True
        buffer += received

    def _hurry(self, source: socket.socket, deadline: float) -> None:
        """Make the rest of a response come now (TCP_QUICKACK), and not after the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if _QUICKACK is not None:
            source.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _ClosedError(ExchangeError):
    """The server closed the connection."""


_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |\r\n)", re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LENGTH = b"\r\ncontent-length:"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def _header(head: bytes, lower: bytes, mark: bytes) -> bytes | None:
    """Return the value of a header that begins with a mark: CRLF, its name in lower case and a colon."""
    start = lower.find(mark)
    if start < 0:
        return None
    start += len(mark)
    return head[start : head.index(b"\r\n", start)].strip()


def _content_length(lower: bytes) -> int | None:
    """Return the length that the headers give, None without one. Raises BrokenResponseError."""
    value = _header(lower, lower, _LENGTH)
    if value is None:
        return None
    if lower.rfind(_LENGTH) != lower.find(_LENGTH):
        values = set(re.findall(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r)", lower))
        if len(values) > 1:
            said = " and ".join(sorted(map(_text, values)))
            raise BrokenResponseError(f"the response has two different lengths, {said}")
    if not value.isdigit() or len(value) > 12 or int(value) > MAX_BODY_BYTES:
        raise BrokenResponseError(f"the response's length is not usable, {_text(value)}")
    return int(value)


def _decode(body: bytes, encoding: bytes) -> bytes:
    """Return a body without its content encoding. Raises BrokenResponseError."""
    if encoding == b"identity" or not body:
        return body
    if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
        raise BrokenResponseError(f"the response has an unknown content encoding, {_text(encoding)}")
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise BrokenResponseError(f"the response is not the {_text(encoding)} that it says: {error}") from error
    if not inflater.eof:
        raise BrokenResponseError(f"the response's {_text(encoding)} is cut off or too large")
    return plain


def _keeps_open(lower: bytes, *, old: bool) -> bool:
    connection = _header(lower, lower, b"\r\nconnection:") or b""
    return b"keep-alive" in connection if old else b"close" not in connection


def _text(value: bytes) -> str:
    return value[:60].decode("latin-1")


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
