"""Chalice's own local server, fit to be measured: no 40 ms stall, and a clean stop.

    python -m infra.servers.chalice_server --port 8000

`chalice local` writes an answer's headers and body with two small sends. On a kept-alive connection the second waits
for the acknowledgement of the first (Nagle's algorithm), which the client delays by 40 ms: 23 requests per second. One
buffered write does not wait. Everything else is Chalice's: a thread per connection, its routing, its answers for
unknown paths.

Chalice matches paths as sent; API Gateway, like everybody else, takes `%41` as `A`. So does this server: unreserved
characters are decoded first.

Requests are parsed by `infra/servers/request_parser.py`, not by http.server, Chalice's base: that takes a truncated
head as complete, the first of several lengths or keys, and any length, and does not know chunked bodies.
"""

import argparse
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chalice.app import Chalice
from chalice.cli.factory import CLIFactory
from chalice.local import (
    ChaliceRequestHandler,
    LambdaEventConverter,
    LocalDevServer,
    RouteMatcher,
    ThreadedHTTPServer,
)

from chalicelib.http.headers import SECURITY_HEADERS
from infra.host.arguments import add_examples, port
from infra.host.ports import HOST
from infra.host.signals import STOP_SIGNALS
from infra.host.sockets import has_hung_up
from infra.servers import metrics
from infra.servers.compression import compressed
from infra.servers.gateway.isolation import isolate_requests
from infra.servers.gateway.problems import HttpAnswer, problem
from infra.servers.gateway.requests import HttpRequest
from infra.servers.request_parser import CONTINUE, RequestParser, RequestRefusedError
from infra.servers.shutdown import finish_questions

DEFAULT_STAGE = "local"
DEFAULT_IDLE_SECONDS = 65.0
_GRACE_SECONDS = 10.0
_LINGER_SECONDS = 2.0
"""How long a refused client may go on sending."""

_SHORTEST_SECONDS = 0.001
_RECEIVED_BYTES = 65_536
_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")
"""Characters that mean the same encoded and plain (RFC 3986, section 2.3): letters, digits, `-`, `.`, `_` and `~`."""


class _InFlight:
    """Counts the requests in progress."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait_for_none(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)


_in_flight = _InFlight()


class _Events(LambdaEventConverter):
    """Chalice's events, with a request's arrival time where API Gateway puts it."""

    arrived_ms = 0

    def create_lambda_event(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> dict[str, Any]:
        """Return the event of one request."""
        event: dict[str, Any] = super().create_lambda_event(method, path, headers, body)
        event["requestContext"]["requestTimeEpoch"] = self.arrived_ms
        return event


class _Handler(ChaliceRequestHandler):
    """One connection: passes whole requests from `RequestParser` to Chalice, instead of those of http.server."""

    wbufsize = -1  # buffered: headers and body are sent together, at the flush
    server_version = "chalice"
    sys_version = ""
    idle_seconds: float = DEFAULT_IDLE_SECONDS
    arrival_header: str | None = None
    metrics_page: metrics.Page | None = None
    app: Chalice

    def setup(self) -> None:
        """Set up the connection."""
        super().setup()
        self._parser = RequestParser(self.client_address[0], self.arrival_header)
        self._events = _Events(RouteMatcher(list(self.app.routes)), self.app.api.binary_types)
        self.local_gateway.event_converter = self._events

    def handle_one_request(self) -> None:
        """Answer the next request, or end the connection."""
        self._begin(HttpRequest("GET", "/", "", {}, {}, b"", "", is_last=True))  # for refusals
        try:
            request = self._receive()
            if request is None:
                return
            with _in_flight:
                self._begin(request)
                if not has_hung_up(self.connection):
                    self._answer(request)
                    self.wfile.flush()
        except RequestRefusedError as refused:
            self._refuse(refused.answer)
        except (OSError, UnicodeError):  # the client went, or the answer has a character that no header may have
            self.close_connection = True

    def _begin(self, request: HttpRequest) -> None:
        self._request = request
        self.command, self.request_version = request.method, f"HTTP/{request.version}"
        self.close_connection = request.is_last

    def _receive(self) -> HttpRequest | None:
        """Return the next whole request, or None if the client sends no more.

        A client may be idle for its time-out, and take the same again for each request. Raises RequestRefusedError, and
        TimeoutError.
        """
        deadline = time.monotonic() + self.idle_seconds
        has_begun = self._parser.has_begun
        while (request := self._parser.next_request()) is None:
            if self._parser.asks_for_body():
                self.connection.sendall(CONTINUE)
            self.connection.settimeout(max(_SHORTEST_SECONDS, deadline - time.monotonic()))
            data = self.connection.recv(_RECEIVED_BYTES)
            if not data:
                broken_off = self._parser.end()
                if broken_off is not None:
                    raise RequestRefusedError(broken_off)
                return None
            self._parser.feed(data)
            if not has_begun:
                has_begun, deadline = True, time.monotonic() + self.idle_seconds
        self.connection.settimeout(self.idle_seconds)
        return request

    def _answer(self, request: HttpRequest) -> None:
        answer = self._own_answer(request)
        if answer is not None:
            self._send(answer)
            return
        raw_path = request.path if request.raw_path is None else request.raw_path
        path = _UNRESERVED.sub(lambda match: chr(int(match[1], 16)), raw_path)
        self.path = f"{path}?{request.query}" if request.query else path
        self._events.arrived_ms = request.arrived_ms
        self._generic_handle()

    def _own_answer(self, request: HttpRequest) -> HttpAnswer | None:
        """Return the answers that Chalice does not give."""
        if not request.headers.get("authorization", "").isascii():  # Chalice cannot refuse such a header itself
            return problem("unauthorized", "the Authorization header must be: Bearer TOKEN")
        if self.metrics_page is None or request.path != metrics.PATH:
            return None
        if request.method not in {"GET", "HEAD"}:
            return metrics.REFUSAL
        return self.metrics_page(request.headers.get("authorization"))

    def _parse_payload(self) -> tuple[dict[str, str], bytes | None]:
        """Return headers and body, for Chalice."""
        return dict(self._request.headers), self._request.body or None

    def _send(self, answer: HttpAnswer) -> None:
        self._send_http_response_with_body(answer.status, dict(answer.headers), answer.body)

    def _send_http_response_with_body(self, code: int, headers: Any, body: str | bytes) -> None:
        """Send a whole answer; to HEAD without the body, which Chalice would send."""
        whole = body.encode() if isinstance(body, str) else body or b""
        accepts = self._request.headers.get("accept-encoding", "")
        typed = {"Content-Type": "application/json", **headers}  # Chalice's own default
        _, packed, body = compressed(accepts, HttpAnswer(code, list(typed.items()), whole))
        headers = dict(packed)
        if self.command != "HEAD":
            super()._send_http_response_with_body(code, headers, body)
            return
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self._send_headers(headers)

    def _send_headers(self, headers: Any) -> None:
        """Send an answer's headers; Chalice's own answers, such as to OPTIONS, lack those that all others have."""
        closing = {"Connection": "close"} if self.close_connection else {}
        super()._send_headers({**SECURITY_HEADERS, **headers, **closing})

    def _refuse(self, answer: HttpAnswer) -> None:
        """Send a refusal and wait for the client to close: closing at once would lose the answer."""
        self.close_connection = True
        try:
            self._send(answer)
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + _LINGER_SECONDS
            while (left := end - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(_RECEIVED_BYTES):
                    return
        except OSError:
            return

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: a line per request costs more than the request."""


class _Server(ThreadedHTTPServer):
    request_queue_size = 1024  # the default of 5 drops a load generator's connections
    allow_reuse_port = True  # somebody may keep the port for it (`infra.host.ports.reserve`)


def make_server(options: argparse.Namespace) -> LocalDevServer:
    """Return a listening server for the Chalice project, with the stage's variables in the environment."""
    factory = CLIFactory(str(options.project), environ=os.environ)  # by default it sets them in an unused copy
    config = factory.create_config_obj(chalice_stage_name=options.stage)
    app = config.chalice_app
    isolate_requests(app)
    page = metrics.start(sys.modules["app"])  # the name under which Chalice imports the project's app.py
    of_this_server = {
        "app": app,
        "metrics_page": None if page is None else staticmethod(page),
        "idle_seconds": options.idle_seconds,
        "arrival_header": options.arrival_header,
    }
    handler = type("Handler", (_Handler,), of_this_server)
    return LocalDevServer(app, config, options.host, options.port, handler_cls=handler, server_cls=_Server)


def serve(options: argparse.Namespace) -> None:
    """Serve until a signal to stop, then finish what has begun."""
    os.environ["SERVER_NAME"] = options.name
    server = make_server(options)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    signal.sigwait(STOP_SIGNALS)
    server.shutdown()
    if not _in_flight.wait_for_none(_GRACE_SECONDS):
        print(f"gave up on requests that took longer than {_GRACE_SECONDS:g} s", flush=True)
    server.server.socket.close()
    finish_questions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.servers.chalice_server", description="Serve as `chalice local`."
    )
    add_examples(parser, "python -m infra.servers.chalice_server --port 8000")
    parser.add_argument("--host", default=HOST, help="(%(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="(%(default)s)")
    parser.add_argument("--name", default=os.environ.get("SERVER_NAME", "chalice"), help="(%(default)s)")
    parser.add_argument("--project", type=Path, default=Path.cwd(), help="folder of app.py and .chalice")
    parser.add_argument("--stage", default=DEFAULT_STAGE)
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=DEFAULT_IDLE_SECONDS,
        help="how long a connection may be idle, or take to send one request (%(default)g)",
    )
    parser.add_argument(
        "--arrival-header",
        type=str.lower,
        metavar="NAME",
        help="header in which the proxy in front says when a request arrived, in milliseconds since the epoch; by "
        "default a request arrives with its first byte",
    )
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # they are waited for
    serve(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
