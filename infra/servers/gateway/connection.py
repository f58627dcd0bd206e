"""One client connection: its requests are read and answered one after the other, in one greenlet."""

import logging
import math
from contextlib import closing, suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from socket import SHUT_RDWR, SHUT_WR
from time import monotonic
from typing import Protocol

from gevent.socket import socket

from chalicelib.http.problems import UNKNOWN
from infra.host.sockets import has_hung_up
from infra.servers.gateway.problems import HttpAnswer, problem
from infra.servers.gateway.requests import HttpRequest
from infra.servers.request_parser import CONTINUE, RequestParser, RequestRefusedError

LINGER_SECONDS = 2.0
"""How long a refused client may go on sending: closing at once would lose the answer."""

_READ_BYTES = 64 * 1024
_log = logging.getLogger("gateway")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_FAILED = problem("bad_gateway", f"the answer cannot be sent; {UNKNOWN}")


class Handler(Protocol):
    """Answers requests; see `infra.servers.gateway.adapter.Gateway`."""

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request, whatever happens; the answer to HEAD has the body that GET would have."""


class Service:
    """Shared by the connections of a server.

    A request's arrival time is what the proxy in front says in `arrival_header`; without that name it is when its first
    byte is read, and such a header is ignored.
    """

    def __init__(self, handler: Handler, idle_seconds: float, arrival_header: str | None = None) -> None:
        self.handler = handler
        self.idle_seconds = idle_seconds
        self.arrival_header = arrival_header
        self.stopping = False
        self.date = ""
        self.tick()

    def tick(self) -> None:
        """Update the date, once a second."""
        self.date = formatdate(usegmt=True)


class ServerConnection:
    """Reads requests and writes their answers, in order.

    It may be idle, send one request, or read nothing of an answer, until `deadline`; then it is closed from outside
    (`close`), which ends its greenlet. A request in progress has no deadline here: it ends by its own limits.
    """

    def __init__(self, sock: socket, client: str, service: Service) -> None:
        self._socket = sock
        self._service = service
        self._parser = RequestParser(client, service.arrival_header)
        self.deadline = 0.0
        self._rest()

    def serve(self) -> None:
        """Serve until either side closes the connection."""
        with closing(self._socket), suppress(OSError):  # the client went, or timed out
            refusal = self._serve()
            if refusal is not None:
                self._refuse(refusal)

    def refuse(self, refusal: HttpAnswer) -> None:
        """Answer before anything was read, and close."""
        with closing(self._socket), suppress(OSError):
            self._refuse(refusal)

    @property
    def is_idle(self) -> bool:
        """Return whether no request is in progress."""
        return self.deadline < math.inf and not self._parser.has_begun

    def close(self) -> None:
        """Close at once, from another greenlet."""
        self.deadline = math.inf
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)

    def stop(self) -> None:
        """Close after the answer to a request in progress."""
        if self.is_idle:
            self.close()

    def _serve(self) -> HttpAnswer | None:
        """Serve until the end; return the refusal that ended it, or None."""
        parser = self._parser
        try:
            while data := self._socket.recv(_READ_BYTES):
                if not parser.has_begun:
                    self._rest()  # from its first byte on a request has its own deadline
                parser.feed(data)
                while (request := parser.next_request()) is not None:
                    if has_hung_up(self._socket):
                        return None  # nobody would read the answer
                    if not self._answer(request):
                        return None
                if parser.asks_for_body():
                    self._send(CONTINUE)
            return parser.end()
        except RequestRefusedError as refused:
            return refused.answer

    def _answer(self, request: HttpRequest) -> bool:
        """Answer a request; return whether another one may follow."""
        self.deadline = math.inf
        answer = self._service.handler.answer(request)
        is_last = request.is_last or self._service.stopping
        self._rest()
        self._write(answer, is_head=request.method == "HEAD", is_last=is_last)
        return not is_last

    def _rest(self) -> None:
        self.deadline = monotonic() + self._service.idle_seconds

    def _write(self, answer: HttpAnswer, *, is_head: bool, is_last: bool) -> None:
        status, headers, body = answer
        lines = _head(status, tuple(headers))
        if lines is None:
            self._write(_FAILED, is_head=is_head, is_last=is_last)
            return
        length = "" if status in _WITHOUT_BODY else f"content-length: {len(body)}\r\n"
        closing = "connection: close\r\n" if is_last else ""
        head = f"{lines}date: {self._service.date}\r\n{length}{closing}\r\n".encode("ascii")
        self._send(head if is_head or not length else head + body)

    def _send(self, data: bytes) -> None:
        """Send everything; a client that has read some gets a new deadline."""
        sent = self._socket.send(data)
        left = memoryview(data)[sent:]
        while left:
            self._rest()
            left = left[self._socket.send(left) :]

    def _refuse(self, refusal: HttpAnswer) -> None:
        """Answer, and close when the client does, or after a while in which its data are discarded."""
        self._write(refusal, is_head=False, is_last=True)
        self.deadline = monotonic() + LINGER_SECONDS
        self._socket.shutdown(SHUT_WR)
        while self._socket.recv(_READ_BYTES):
            pass


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...]) -> str | None:
    """Return the common lines of an answer's head, or None if they cannot be sent."""
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers)]
    text = "\r\n".join([*lines, ""])
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or not text.isascii():
        return None  # a line break in a header would allow response splitting
    return text
