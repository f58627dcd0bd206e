"""One kept-alive HTTP/1.1 connection, at three system calls per request.

The load generator shares the machine with what it measures, so its own cost counts: it takes less than half the CPU of
http.client (`loadgen.selftest.bench client`).

A request is sent with one call. A server that writes head and body separately with Nagle's algorithm on (`chalice
local`) waits 40 ms for our kernel's delayed acknowledgement, unless TCP_QUICKACK is re-armed when a response comes in
parts.

A kept connection is checked before it is reused, and replaced if anything arrived unexpectedly, data or the end of the
stream. So a stray response is not taken for the next request's, unless it arrives after that request was sent: then the
body tells them apart (the dialect's `judge`). The check does not release the interpreter lock, which would cost more
than the check when many threads wait for it.
"""

import contextlib
import re
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

from loadgen.client.encoding import Target
from loadgen.client.response import (
    MAX_BODY_BYTES,
    BrokenResponseError,
    ConnectError,
    ExchangeError,
    ExchangeTimeoutError,
    Head,
    Response,
    decode,
    parse_head,
)

MAX_HEAD_BYTES = 64 * 1024
_RECEIVE_BYTES = 64 * 1024
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_KERNEL_TIMEOUTS = sys.platform != "win32"
_TCP_INFO = struct.Struct("B127xQ")  # linux/tcp.h: the state comes first; the number of bytes received is at offset 128
_TCP_ESTABLISHED = 1


class ClientConnection:
    """A connection to one server, opened when first needed and reopened when it is no longer usable."""

    def __init__(
        self,
        target: Target,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        on_connect: Callable[[int], None] | None = None,
        *,
        kernel_timeouts: bool = True,
    ) -> None:
        """`on_connect` is called with the duration of each connect in us, including name lookup and TLS.

        With `kernel_timeouts` False, time-outs are left to Python's sockets: for gevent, whose sockets never block.
        """
        self._kernel_timeouts = kernel_timeouts and _KERNEL_TIMEOUTS and tls is None
        self._target = target
        self._default_timeout_s = self._timeout_s = timeout_s
        self._tls = tls
        self._on_connect = on_connect
        self._socket: socket.socket | None = None
        self._received = 0
        """How many bytes were read from the socket."""
        self._has_kernel_state = False
        self._unread = b""
        self.opened_us = 0
        """How long the last `prepare` took to open a connection, 0 if there was one."""
        self._prepared = False
        self._answering = False
        self._deadline = 0.0

    def prepare(self, timeout_s: float | None = None) -> bool:
        """Make the connection ready for a request, within `timeout_s` seconds (default: the connection's time-out).

        Return whether a kept connection had to be replaced. Raises ConnectError.
        """
        if timeout_s is None:
            timeout_s = self._default_timeout_s
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            if self._socket is not None:
                self._set_timeouts(self._socket)
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
        """Send a request and return its response. Raises ExchangeError; the connection is then closed.

        `timeout_s`, in seconds, applies to sending and to the whole response, and to connecting if that is necessary.
        """
        if not self._prepared:
            self.prepare(timeout_s)
        self._prepared = False
        assert self._socket is not None
        self._deadline = time.monotonic() + self._timeout_s
        self._unread = b""
        self._answering = keep = False
        try:
            self._socket.sendall(request)
            response, keep = self._receive(self._socket, bodiless=request.startswith(b"HEAD "))
        except (OSError, ExchangeError) as error:
            raise self._explain(error) from error
        finally:
            if not keep:
                self.close()
        return response

    def close(self) -> None:
        """Close the connection if it is open."""
        self._prepared = False
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _is_quiet(self, connection: socket.socket) -> bool:
        """Return whether nothing has arrived since the last response: neither data nor the end of the stream."""
        try:
            if self._has_kernel_state:
                return _kernel_state(connection) == (_TCP_ESTABLISHED, self._received)
            connection.settimeout(0.0)
            try:
                connection.recv(1)  # under TLS this may not be the server's data, but for example a session ticket
            finally:
                connection.settimeout(self._timeout_s)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

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
        self._received = 0
        self._has_kernel_state = self._tls is None and _kernel_state(raw) is not None
        self.opened_us = (time.perf_counter_ns() - started_ns) // 1000
        if self._on_connect is not None:
            self._on_connect(self.opened_us)
        return raw

    def _set_timeouts(self, connection: socket.socket) -> None:
        """Set the time-outs of sends and receives. The kernel's save a poll() before each, but TLS needs Python's."""
        if not self._kernel_timeouts:
            connection.settimeout(self._timeout_s)
            return
        connection.settimeout(None)
        whole = int(self._timeout_s)
        value = struct.pack("ll", whole, int((self._timeout_s - whole) * 1_000_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def _receive(self, source: socket.socket, *, bodiless: bool) -> tuple[Response, bool]:
        """Return the response, and whether the connection may be reused."""
        while True:
            raw = self._take_head(source)
            head = parse_head(raw, bodiless=bodiless)
            if head.status >= 200:
                break
        body, delimited = self._read_body(source, head)
        return Response(head.status, raw, body, head.lower), head.keeps_open and delimited and not self._unread

    def _take_head(self, source: socket.socket) -> bytes:
        """Read the status line and headers; lines that end in a bare LF are returned with CRLF."""
        while (blank := _BLANK_LINE.search(self._unread)) is None:
            if len(self._unread) > MAX_HEAD_BYTES:
                raise BrokenResponseError("the response's headers are too long")
            self._unread += self._more(source)
        head, self._unread = self._unread[: blank.start() + 1], self._unread[blank.end() :]
        return head if head.count(b"\n") == head.count(b"\r\n") else _LINE_END.sub(b"\r\n", head)

    def _read_body(self, source: socket.socket, head: Head) -> tuple[bytes, bool]:
        """Return the body and whether its end was marked; data after it stays unread."""
        delimited = True
        if head.chunked:
            body = self._read_chunks(source)
        elif head.length is not None:
            body = self._take(source, head.length)
        else:
            body, delimited = self._read_to_end(source), False
        return (body if head.encoding is None else decode(body, head.encoding)), delimited

    def _read_to_end(self, source: socket.socket) -> bytes:
        body, self._unread = bytearray(self._unread), b""
        with contextlib.suppress(_ClosedError):
            while len(body) <= MAX_BODY_BYTES:
                body += self._more(source)
            raise BrokenResponseError(f"the response is larger than {MAX_BODY_BYTES:,} bytes")
        return bytes(body)

    def _read_chunks(self, source: socket.socket) -> bytes:
        body = bytearray()
        while True:
            size = self._take_line(source).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size) or len(body) + int(size, 16) > MAX_BODY_BYTES:
                raise BrokenResponseError("the response's chunks are not usable")
            if int(size, 16) == 0:
                while self._take_line(source):
                    pass
                return bytes(body)
            body += self._take(source, int(size, 16))
            if self._take_line(source):
                raise BrokenResponseError("the response's chunks are not usable")

    def _take(self, source: socket.socket, length: int) -> bytes:
        if len(self._unread) < length:
            body = bytearray(self._unread)
            while len(body) < length:
                body += self._more(source)
            self._unread = bytes(body)
        taken, self._unread = self._unread[:length], self._unread[length:]
        return taken

    def _take_line(self, source: socket.socket) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_HEAD_BYTES:
                raise BrokenResponseError("a line of the response does not end")
            self._unread += self._more(source)
        return self._take(source, end + 1).rstrip(b"\r\n")

    def _more(self, source: socket.socket) -> bytes:
        """Return the next data of the response."""
        if self._answering:
            self._hurry(source)
        received = source.recv(_RECEIVE_BYTES)
        if not received:
            raise _ClosedError("closed by the server")
        self._answering = True
        self._received += len(received)
        return received

    def _hurry(self, source: socket.socket) -> None:
        """Make the rest of a response come now (TCP_QUICKACK), not after the deadline."""
        if time.monotonic() >= self._deadline:
            raise TimeoutError
        if _QUICKACK is not None:
            source.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _ClosedError(ExchangeError):
    """The server closed the connection."""


_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


def _kernel_state(connection: socket.socket) -> tuple[Any, ...] | None:
    """Return a connection's state and how many bytes it received, or None if the kernel does not report them."""
    if sys.platform != "linux":
        return None
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return _TCP_INFO.unpack(info) if len(info) == _TCP_INFO.size else None


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
