"""What a client sends, to requests: llhttp finds their parts, and what is refused is refused here."""

from collections import deque

import httptools

from infra.servers.gateway.problems import Answer, problem
from infra.servers.gateway.requests import BODY_LIMIT_BYTES, HttpRequest, split_target

HEAD_LIMIT_BYTES = 64 * 1024
MOST_HEADERS = 100
MESSAGE_LIMIT_BYTES = HEAD_LIMIT_BYTES + 8 * BODY_LIMIT_BYTES
"""Of a whole request, with what a chunked body has around its bytes."""

_TOO_LARGE = problem("too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes")
_HEAD_TOO_LARGE = problem("invalid_header", f"the head of a request has at most {HEAD_LIMIT_BYTES} bytes")
_TOO_MANY_HEADERS = problem("invalid_header", f"a request has at most {MOST_HEADERS} headers")
_CUT_OFF = problem("invalid_json", "the body ended before its announced length")
_MALFORMED = problem("invalid_header", "the request is not well formed")


class RequestParser:
    """Turns what is fed into `ready` requests, in their order; after `refusal`, or the last request, comes no more."""

    def __init__(self, client: str) -> None:
        self.ready: deque[HttpRequest] = deque()
        self.refusal: Answer | None = None
        self.is_over = False
        self.has_begun = False  # a request that is not whole
        self.awaits_continue = False
        self._client = client
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = False
        self._received = 0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._repeated: dict[str, list[str]] = {}
        self._header_lines = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def feed(self, data: bytes) -> None:
        """Read on."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded: the request is answered, and what follows it is in no language we know.
            self._end()
        except httptools.HttpParserError:
            self._refuse(_MALFORMED)
        if self.is_over:
            return
        if self._in_head and self._received > HEAD_LIMIT_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._received > MESSAGE_LIMIT_BYTES + len(data):
            self._refuse(_TOO_LARGE)

    def end(self) -> None:
        """Note that nothing more will come; a body that is not whole is refused."""
        if self.has_begun and not self._in_head and not self.is_over:
            self._refuse(_CUT_OFF)
        self._end()

    def stop(self) -> None:
        """Take no notice of what else has come."""
        self.is_over = True
        self.refusal = None
        self.ready.clear()

    def _refuse(self, refusal: Answer) -> None:
        if not self.is_over:
            self.refusal = refusal
            self.is_over = True

    def _end(self) -> None:
        self.is_over = True
        if self.ready and self.refusal is None:
            self.ready[-1].is_last = True

    # what llhttp calls: none of it may fail

    def on_message_begin(self) -> None:
        """Begin with the next request."""
        self.has_begun = self._in_head = True
        self._target = b""
        self._headers = {}
        self._repeated = {}
        self._header_lines = 0
        self._body = []
        self._body_bytes = 0

    def on_url(self, piece: bytes) -> None:
        """Take the target, or a piece of it."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """Take a header; those that follow a chunked body are not for us (RFC 9110, section 6.5.1)."""
        if not self._in_head:
            return
        self._header_lines += 1
        if self._header_lines > MOST_HEADERS:
            self._refuse(_TOO_MANY_HEADERS)
            return
        key = name.decode("latin-1").lower()
        text = (value or b"").decode("latin-1")
        if key in self._headers:
            self._repeated.setdefault(key, [self._headers[key]]).append(text)
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """Look whether the body may come."""
        self._in_head = False
        length = self._headers.get("content-length", "0")
        if len(length) > 9 or int(length) > BODY_LIMIT_BYTES:
            self._refuse(_TOO_LARGE)
        elif not self.is_over:
            self.awaits_continue = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(piece)
        if self._body_bytes > BODY_LIMIT_BYTES:
            self._refuse(_TOO_LARGE)
        if not self.is_over:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """Put the request with those that are ready."""
        self.has_begun = self.awaits_continue = False
        self._received = 0
        if self.is_over:
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
        self.is_over = request.is_last
        self.ready.append(request)
