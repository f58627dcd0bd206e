"""One kept-alive HTTP/1.1 connection at the cost of two system calls a request.

The load generator shares the machine with what it measures, so its own cost counts: http.client takes 250 us of CPU
a request, most of it in the email package's header parser and in layers of buffering; this takes 70 us. It does what
a client of one JSON interface needs: one request at a time, an answer with a length, in chunks or up to the close.

A request leaves in one send. A server that writes head and body apart, with Nagle's algorithm on (`chalice local`
does), waits for our kernel's delayed acknowledgement, 40 ms, before the second part: TCP_QUICKACK, re-armed when an
answer comes in parts, sends it at once.
"""

import contextlib
import re
import socket
import ssl
import struct
import sys
import time
from typing import NamedTuple

from loadgen.client.encoding import Target

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_KERNEL_TIMEOUTS = sys.platform != "win32"


class ExchangeError(Exception):
    """A request that got no whole answer. `reason` is a stable word for statistics."""

    reason = "connection"


class ConnectError(ExchangeError):
    """No connection could be opened: the request was not sent."""

    reason = "connect"


class StaleConnectionError(ExchangeError):
    """The server closed an idle connection before it read this request: another one may be tried at once."""

    reason = "stale"


class ExchangeTimeoutError(ExchangeError):
    """No whole answer came in time."""

    reason = "timeout"


class BrokenAnswerError(ExchangeError):
    """The answer was cut off, or is not what HTTP or the interface allows."""

    reason = "broken_answer"


class Answer(NamedTuple):
    """One HTTP answer. `head` is its status line and headers in lower case, each line ended by CRLF."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, its name given in lower case; None when it is absent."""
        return _header(self.head, name)


class Connection:
    """A connection to one server, opened when first needed and again after each failure."""

    def __init__(
        self, target: Target, timeout_s: float, tls: ssl.SSLContext | None = None, *, kernel_timeouts: bool = True
    ) -> None:
        """`kernel_timeouts` False leaves time-outs to Python's sockets: for gevent, whose sockets never block."""
        self._kernel_timeouts = kernel_timeouts and _KERNEL_TIMEOUTS and tls is None
        self._target = target
        self._default_timeout_s = self._timeout_s = timeout_s
        self._tls = tls
        self._socket: socket.socket | None = None
        self._used = False
        self._answering = False

    def open(self) -> None:
        """Open the connection, unless it is open. Raises ConnectError."""
        if self._socket is None:
            self._socket = self._connect()
            self._used = False

    def exchange(self, request: bytes, timeout_s: float | None = None) -> Answer:
        """Send a request and return its answer. Raises ExchangeError; the connection is closed then.

        The time-out, in seconds, is that for connecting, for sending and for the whole answer; `timeout_s` is another
        one for this request only.
        """
        self._allow(self._default_timeout_s if timeout_s is None else timeout_s)
        self.open()
        assert self._socket is not None
        deadline = time.monotonic() + self._timeout_s
        buffer = bytearray()
        self._answering = keep = False
        try:
            self._socket.sendall(request)
            answer, keep = self._receive(self._socket, buffer, deadline)
        except (OSError, ExchangeError) as error:
            raise self._explain(error) from error
        finally:
            if not keep:
                self.close()
        self._used = True
        return answer

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _allow(self, timeout_s: float) -> None:
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            if self._socket is not None:
                self._set_timeouts(self._socket)

    def _explain(self, error: OSError | ExchangeError) -> ExchangeError:
        """Return what an error means for the request."""
        if isinstance(error, TimeoutError | BlockingIOError | ssl.SSLWantReadError | ssl.SSLWantWriteError):
            return ExchangeTimeoutError(f"no answer within {self._timeout_s:g} s")
        if isinstance(error, ExchangeError) and not isinstance(error, _ClosedError):
            return error
        if self._answering:
            return BrokenAnswerError("the answer was cut off")
        if self._used:
            return StaleConnectionError("the server closed the idle connection")
        return ExchangeError(f"the connection was lost: {_said(error)}")

    def _connect(self) -> socket.socket:
        target = self._target
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection((target.host, target.port), timeout=self._timeout_s)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                return self._tls.wrap_socket(raw, server_hostname=target.host)
            self._set_timeouts(raw)
        except (OSError, UnicodeError) as error:
            if raw is not None:
                raw.close()
            raise ConnectError(f"cannot connect to {target.url}: {_said(error)}") from error
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

    def _receive(self, source: socket.socket, buffer: bytearray, deadline: float) -> tuple[Answer, bool]:
        """Return the answer and whether the connection may be used again."""
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                if len(buffer) > MAX_HEAD_BYTES:
                    raise BrokenAnswerError("the answer's headers do not end")
                self._fill(source, buffer, deadline)
            head = bytes(buffer[: end + 2]).lower()
            match = _STATUS.match(head)
            if match is None:
                raise BrokenAnswerError("the answer is not HTTP/1.1")
            del buffer[: end + 4]
            status = int(match[2])
            if status >= 200:
                break
        keep = _keeps_open(head, old=match[1] == b"0")
        body, delimited = self._read_body(source, buffer, deadline, status, head)
        return Answer(status, head, body), keep and delimited and not buffer

    def _read_body(
        self, source: socket.socket, buffer: bytearray, deadline: float, status: int, head: bytes
    ) -> tuple[bytes, bool]:
        """Return the body and whether its end was marked; what follows it stays in the buffer."""
        if status in {204, 304}:
            return b"", True
        length = _header(head, b"content-length")
        coding = _header(head, b"transfer-encoding")
        if coding is not None:
            if coding != b"chunked":
                raise BrokenAnswerError("the answer has an unknown transfer encoding")
            return self._read_chunks(source, buffer, deadline), True
        if length is not None:
            if not length.isdigit() or len(length) > 12 or int(length) > MAX_BODY_BYTES:
                raise BrokenAnswerError("the answer's length is not usable")
            return self._take(source, buffer, deadline, int(length)), True
        with contextlib.suppress(_ClosedError):
            while len(buffer) <= MAX_BODY_BYTES:
                self._fill(source, buffer, deadline)
            raise BrokenAnswerError("the answer is too large")
        body = bytes(buffer)
        buffer.clear()
        return body, False

    def _read_chunks(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        body = bytearray()
        while True:
            size = self._take_line(source, buffer, deadline).split(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size) or len(body) + int(size, 16) > MAX_BODY_BYTES:
                raise BrokenAnswerError("the answer's chunks are not usable")
            if int(size, 16) == 0:
                while self._take_line(source, buffer, deadline):
                    pass
                return bytes(body)
            body += self._take(source, buffer, deadline, int(size, 16))
            if self._take_line(source, buffer, deadline):
                raise BrokenAnswerError("the answer's chunks are not usable")

    def _take(self, source: socket.socket, buffer: bytearray, deadline: float, length: int) -> bytes:
        while len(buffer) < length:
            self._fill(source, buffer, deadline)
        body = bytes(buffer[:length])
        del buffer[:length]
        return body

    def _take_line(self, source: socket.socket, buffer: bytearray, deadline: float) -> bytes:
        while (end := buffer.find(b"\r\n")) < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise BrokenAnswerError("a line of the answer does not end")
            self._fill(source, buffer, deadline)
        return self._take(source, buffer, deadline, end + 2)[:-2]

    def _fill(self, source: socket.socket, buffer: bytearray, deadline: float) -> None:
        if self._answering:
            self._hurry(source, deadline)
        received = source.recv(_RECEIVE_BYTES)
        if not received:
            raise _ClosedError("closed by the server")
        self._answering = True
        buffer += received

    def _hurry(self, source: socket.socket, deadline: float) -> None:
        """Make the rest of an answer come now (TCP_QUICKACK), and not after the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if _QUICKACK is not None:
            source.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _ClosedError(ExchangeError):
    """The server closed the connection."""


_STATUS = re.compile(rb"http/1\.([01]) ([1-5][0-9]{2})(?: |\r\n)")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : head.index(b"\r\n", start)].strip()


def _keeps_open(head: bytes, *, old: bool) -> bool:
    connection = _header(head, b"connection") or b""
    return b"keep-alive" in connection if old else b"close" not in connection


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
