"""HTTP responses: their heads, content encodings and errors."""

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

MAX_BODY_BYTES = 64 * 1024 * 1024


class ExchangeError(Exception):
    """A request without a complete response. `reason` is a stable word for statistics."""

    reason = "connection"


class ConnectError(ExchangeError):
    """No connection could be opened: the request was not sent."""

    reason = "connect"


class ExchangeTimeoutError(ExchangeError):
    """No complete response came in time."""

    reason = "timeout"


class BrokenResponseError(ExchangeError):
    """The response was cut off or is not valid HTTP."""

    reason = "broken_answer"


class Response(NamedTuple):
    """One HTTP response.

    `head` is its status line and headers as received, each line ended by CRLF; `lower` is the same in lower case.
    """

    status: int
    head: bytes
    body: bytes
    lower: bytes

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, whose name is given in lower case, or None."""
        return _header(self.head, self.lower, b"\r\n" + name + b":")


_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: |\r\n)", re.IGNORECASE)
_LENGTHS = re.compile(rb"\r\ncontent-length:([^\r]*)")
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Head(NamedTuple):
    """A parsed head; `lower` is all of it in lower case."""

    status: int
    keeps_open: bool
    chunked: bool
    length: int | None
    encoding: bytes | None
    lower: bytes


@lru_cache(maxsize=1024)  # many responses have the same head
def parse_head(head: bytes, *, bodiless: bool) -> Head:
    """Parse a head; no body follows a `bodiless` one, whatever it says. Raises BrokenResponseError."""
    match = _STATUS.match(head)
    if match is None:
        raise BrokenResponseError("the response is not HTTP/1.1")
    status, lower = int(match[2]), head.lower()
    if status == 101:
        raise BrokenResponseError("the server switched protocols without being asked to")
    connection = _header(lower, lower, b"\r\nconnection:") or b""
    keeps_open = b"keep-alive" in connection if match[1] == b"0" else b"close" not in connection
    if bodiless or status < 200 or status in {204, 304}:
        return Head(status, keeps_open, chunked=False, length=0, encoding=None, lower=lower)
    coding = _header(lower, lower, b"\r\ntransfer-encoding:")
    if coding not in {None, b"chunked"}:
        raise BrokenResponseError(f"the response has an unknown transfer encoding, {_text(coding or b'')}")
    encoding = _header(lower, lower, b"\r\ncontent-encoding:")
    return Head(status, keeps_open, coding is not None, _content_length(lower), encoding, lower)


def _content_length(lower: bytes) -> int | None:
    """Return the Content-Length, or None. Raises BrokenResponseError."""
    values = [value.strip() for value in _LENGTHS.findall(lower)]
    if not values:
        return None
    if len(set(values)) > 1:
        said = " and ".join(sorted(map(_text, set(values))))
        raise BrokenResponseError(f"the response has two different lengths, {said}")
    value = values[0]
    if not value.isdigit() or len(value) > 12 or int(value) > MAX_BODY_BYTES:
        raise BrokenResponseError(f"the response's length is not usable, {_text(value)}")
    return int(value)


def decode(body: bytes, encoding: bytes) -> bytes:
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


def _text(value: bytes) -> str:
    return value[:60].decode("latin-1")


def _header(head: bytes, lower: bytes, mark: bytes) -> bytes | None:
    """Return the value of a header given by its mark: CRLF, its name in lower case and a colon."""
    start = lower.find(mark)
    if start < 0:
        return None
    start += len(mark)
    return head[start : head.index(b"\r\n", start)].strip()
