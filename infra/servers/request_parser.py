"""Parses the bytes of a connection into whole requests: what our servers accept and refuse, defined once for both.

It does no I/O: a server feeds what it receives and asks for the next request.

    parser.feed(data)
    while (request := parser.next_request()) is not None: ...

Heads are parsed when they are complete, so a truncated one is no request, and limits apply before anything is parsed.
httptools (llhttp) parses heads and chunks strictly; what docs/api.md does not accept is refused here, so each fault
has the same status and code on every server.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import httptools

from chalicelib.clock import now_ms
from chalicelib.http.requests import ONCE
from infra.servers.gateway.problems import HttpAnswer, problem
from infra.servers.gateway.requests import BODY_LIMIT_BYTES, HttpRequest

HEAD_LIMIT_BYTES = 64 * 1024
REQUEST_LINE_LIMIT_BYTES = 8 * 1024
"""RFC 9112, section 3, asks for at least 8,000."""

MOST_HEADERS = 100
CHUNKED_LIMIT_BYTES = 8 * BODY_LIMIT_BYTES
"""The limit of a chunked body, including the framing of its chunks."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\.[01]\r\n")
_UPGRADE = re.compile(rb"(?i)\r\nupgrade:[^\r\n]*(?=\r\n)")
_MAX_LENGTH_DIGITS = 9


class RequestRefusedError(Exception):
    """A request that cannot be executed; after `answer` the connection ends."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _refused(code: str, detail: str, *headers: tuple[str, str]) -> RequestRefusedError:
    return RequestRefusedError(problem(code, detail, *headers))


@dataclass(slots=True)
class _Head:
    request: HttpRequest
    length: int | None
    """Bytes of the body, None for a chunked one."""

    must_ask: bool
    """Whether the client waits for `100 Continue`."""


class RequestParser:
    """The requests of one connection from `client`, in order.

    A request's arrival time is when its first byte was fed, or what the proxy in front says in the header
    `arrival_header` (milliseconds since the epoch); without that name such a header is the client's and is ignored.
    """

    def __init__(self, client: str, arrival_header: str | None = None, clock: Callable[[], int] = now_ms) -> None:
        self._client = client
        self._arrival_header = arrival_header
        self._clock = clock
        self._buffer = bytearray()
        self._scanned = 0  # bytes of an incomplete head that were searched for its end
        self._is_line_good = False
        self._arrived_ms: int | None = None
        self._fed_ms = 0
        self._head: _Head | None = None
        self._chunked_bytes = 0
        self._body = bytearray()
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        self._header_lines = 0
        self._is_head_parsed = False
        self._is_complete = False
        self._keeps_alive = False

    # what a server calls

    def feed(self, data: bytes) -> None:
        """Add received data."""
        self._fed_ms = self._clock()
        if self._arrived_ms is None:
            self._arrived_ms = self._fed_ms
        self._buffer += data

    @property
    def has_begun(self) -> bool:
        """Return whether the next request is there in part."""
        return self._head is not None or bool(self._buffer)

    def next_request(self) -> HttpRequest | None:
        """Return the next whole request, None if more must be fed first; raises RequestRefusedError."""
        if self._head is None:
            self._head = self._parse_head() if self._buffer else None
            if self._head is None:
                return None
        if not self._take_body(self._head.length):
            return None
        request = self._head.request
        request.body = bytes(self._body)
        request.is_last = not self._keeps_alive
        self._head = None
        self._body.clear()
        self._chunked_bytes = 0
        self._arrived_ms = self._fed_ms if self._buffer else None
        return request

    def asks_for_body(self) -> bool:
        """Return, once per request, whether its client waits for `100 Continue` before it sends the body."""
        if self._head is None or not self._head.must_ask or self._buffer or self._body:
            return False
        self._head.must_ask = False
        return True

    def end(self) -> HttpAnswer | None:
        """Return the answer to a client that sends no more: None unless it broke off within a request."""
        if self._head is not None:
            return problem("invalid_json", "the body ends before its announced length")
        return problem("invalid_header", "the head of the request is incomplete") if self._buffer else None

    # heads

    def _parse_head(self) -> _Head | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2: empty lines before a request do not count
            del buffer[:2]
        if not self._is_line_good and not self._is_request_line(buffer):
            return None
        end = buffer.find(_HEAD_END, max(0, self._scanned - len(_HEAD_END) + 1))
        self._scanned = len(buffer)
        if end + len(_HEAD_END) > HEAD_LIMIT_BYTES or (end < 0 and len(buffer) > HEAD_LIMIT_BYTES):
            raise _refused("invalid_header", f"the head of a request has at most {HEAD_LIMIT_BYTES} bytes")
        if end < 0:
            return None
        head = bytes(buffer[: end + len(_HEAD_END)])
        del buffer[: len(head)]
        self._scanned, self._is_line_good = 0, False
        self._begin()
        self._feed_parser(_without_upgrade(head))
        return self._checked()

    def _is_request_line(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\n", 0, REQUEST_LINE_LIMIT_BYTES)
        if end < 0:
            if len(buffer) >= REQUEST_LINE_LIMIT_BYTES:
                raise _refused("uri_too_long", f"a request line has at most {REQUEST_LINE_LIMIT_BYTES} bytes")
            if buffer and not buffer[:1].isalpha() and buffer != b"\r":
                raise _malformed_line()
            return False
        if _REQUEST_LINE.match(buffer) is None:
            raise _malformed_line()
        self._is_line_good = True
        return True

    def _begin(self) -> None:
        self._target = b""
        self._headers = {}
        self._repeated = {}
        self._header_lines = 0
        self._is_head_parsed = False
        self._is_complete = False

    def _feed_parser(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:  # only CONNECT is left
            raise _refused("method_not_allowed", "CONNECT is not supported", ("Allow", "GET, POST")) from error
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, RequestRefusedError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            raise _refused("invalid_header", f"the request is not well formed: {error}") from error

    def _checked(self) -> _Head:
        """Return the parsed head if it is valid; raises RequestRefusedError."""
        headers, version = self._headers, self._parser.get_http_version()
        if self._header_lines > MOST_HEADERS:
            raise _refused("invalid_header", f"a request has at most {MOST_HEADERS} headers")
        for name in self._repeated:
            if name in ONCE:
                raise _refused("invalid_header", f"{name}: given more than once")
        if version == "1.1" and "host" not in headers:
            raise _refused("invalid_header", "host: missing")
        length = self._length(headers, version)
        if "content-encoding" in headers:
            raise _refused("unsupported_media_type", "content-encoding: not supported, send the body as it is")
        path, query, raw_path = split_target(self._target)
        request = HttpRequest(
            self._parser.get_method().decode("ascii"),
            path,
            query,
            headers,
            self._repeated,
            b"",
            self._client,
            version,
            raw_path=raw_path,
            arrived_ms=self._arrival_ms(headers),
        )
        must_ask = version == "1.1" and headers.get("expect", "").lower() == "100-continue" and length != 0
        return _Head(request, length, must_ask)

    def _length(self, headers: dict[str, str], version: str) -> int | None:
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if version == "1.0":
                raise _refused("invalid_header", "transfer-encoding: not known to HTTP/1.0")
            if coding.lower() != "chunked" or "transfer-encoding" in self._repeated:
                raise _refused("not_supported", "transfer-encoding: only chunked is supported")
            return None
        text = headers.get("content-length", "0")  # digits only: llhttp checks that
        if len(text) > _MAX_LENGTH_DIGITS or int(text) > BODY_LIMIT_BYTES:
            raise _too_large()
        return int(text)

    def _arrival_ms(self, headers: dict[str, str]) -> int:
        assert self._arrived_ms is not None
        told = headers.get(self._arrival_header, "") if self._arrival_header else ""
        if told.isascii() and told.isdigit() and len(told) <= len(str(self._arrived_ms)):
            return min(int(told), self._arrived_ms)
        return self._arrived_ms

    # bodies

    def _take_body(self, length: int | None) -> bool:
        """Move available body data out of the buffer; return whether the body is complete."""
        if length is None:
            return self._take_chunks()
        if len(self._buffer) < length:
            return False
        if length:
            self._feed_parser(bytes(self._buffer[:length]))
            del self._buffer[:length]
        return True

    def _take_chunks(self) -> bool:
        # A chunked body ends with an empty line, so feeding piece by piece, up to each empty line, never reaches into
        # the next request.
        buffer = self._buffer
        while not self._is_complete and buffer:
            found = buffer.find(_HEAD_END)
            end = found + len(_HEAD_END) if found >= 0 else len(buffer) - len(_HEAD_END) + 1
            if end <= 0:
                break
            self._chunked_bytes += end
            if self._chunked_bytes > CHUNKED_LIMIT_BYTES:
                raise _too_large()
            self._feed_parser(bytes(buffer[:end]))
            del buffer[:end]
            if found < 0:
                break
        return self._is_complete

    # what httptools calls

    def on_url(self, piece: bytes) -> None:
        """Take the target, or a piece of it."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header; trailers of a chunked body are ignored (RFC 9110, section 6.5.1)."""
        if self._is_head_parsed:
            return
        self._header_lines += 1
        key = name.decode("latin-1").lower()
        text = "" if value is None else value.decode("latin-1").rstrip(" \t")
        if key in self._headers:
            self._repeated.setdefault(key, [self._headers[key]]).append(text)
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._is_head_parsed = True

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if len(self._body) + len(piece) > BODY_LIMIT_BYTES:
            raise _too_large()
        self._body += piece

    def on_message_complete(self) -> None:
        """Record that the request is complete, and what it says of the connection: llhttp forgets that afterwards."""
        self._is_complete = True
        self._keeps_alive = self._parser.should_keep_alive()


def split_target(target: bytes) -> tuple[str, str, str]:
    """Return the path, decoded, the query and the path as sent; a target may also name the server.

    RFC 9112, section 3.2.2.
    """
    path, _, query = target.partition(b"#")[0].partition(b"?")
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    decoded = unquote_to_bytes(path) if b"%" in path else path
    return decoded.decode(errors="replace"), query.decode("latin-1"), path.decode("latin-1")


def _without_upgrade(head: bytes) -> bytes:
    """Return a head without its offer of another protocol (RFC 9110, 7.8), which llhttp would treat as accepted."""
    return _UPGRADE.sub(b"", head) if b"\r\nupgrade:" in head.lower() else head


def _malformed_line() -> RequestRefusedError:
    return _refused("invalid_header", "the request line must be: METHOD path HTTP/1.1")


def _too_large() -> RequestRefusedError:
    return _refused("too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes")
