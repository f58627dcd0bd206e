"""Chalice's own local server, with what it takes to be measured by: no 40 ms stall, several workers, a clean stop.

    python -m infra.servers.chalice_server --port 8000 --workers 2

`chalice local` writes an answer's headers and body with two small sends. On a kept-alive connection the second waits
for the acknowledgement of the first (Nagle's algorithm), which the client delays by 40 ms: 23 requests a second. One
buffered write has nothing to wait for. All else is Chalice's: a thread for each connection, its routing, its answers
for unknown paths.

Chalice looks at paths as they were sent; API Gateway, and the rest of the world, take `%41` for the same as `A`. So
does this server: characters that mean nothing in a path are decoded first.

What Chalice would take at its word is refused before it sees it (`_refusal`): it does not know chunked bodies, so one
would be read as the next request; it believes the first of several lengths; it takes any length.
"""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from chalice.cli.factory import CLIFactory
from chalice.local import ChaliceRequestHandler, LocalDevServer, ThreadedHTTPServer

from infra.host import guard
from infra.host.ports import HOST
from infra.host.signals import STOP_SIGNALS
from infra.servers import metrics
from infra.servers.gateway.isolation import isolate_requests
from infra.servers.gateway.problems import Answer, problem
from infra.servers.gateway.requests import BODY_LIMIT_BYTES
from infra.servers.gateway.server import DEFAULT_IDLE_SECONDS
from infra.servers.workers import run_workers

DEFAULT_STAGE = "local"
_GRACE_SECONDS = 10.0
_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")
"""What RFC 3986, section 2.3, says is the same encoded and plain: letters, digits, `-`, `.`, `_` and `~`."""


class _InFlight:
    """Counts the requests that have begun and are not answered yet."""

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


class _Handler(ChaliceRequestHandler):
    wbufsize = -1  # buffered: headers and body leave together, at the flush
    timeout = DEFAULT_IDLE_SECONDS
    metrics_page: metrics.Page | None = None
    path: str

    def _answer(self) -> None:
        with _in_flight:
            try:
                self.path = _UNRESERVED.sub(lambda match: chr(int(match[1], 16)), self.path)
                answer = self._refusal() or self._metrics()
                if answer is None:
                    self._generic_handle()
                else:
                    self._send(answer)
                self.wfile.flush()
            except (OSError, UnicodeError):  # the client went, or sent half a body, or what no header can hold
                self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = do_OPTIONS = _answer  # noqa: N815 - http.server's names

    def _refusal(self) -> Answer | None:
        """Return why the request cannot be handed on; the connection is then closed: its body is not read."""
        lengths = self.headers.get_all("Content-Length", [])
        if self.request_version == "HTTP/0.9" or self.headers.defects or self.headers.get_payload():
            return self._closing("invalid_header", "the request is not well formed")
        if "Transfer-Encoding" in self.headers:
            return self._closing("invalid_header", "this server takes bodies with a Content-Length only")
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
            return self._closing("invalid_header", "Content-Length must be one whole number")
        if lengths and (len(lengths[0]) > 9 or int(lengths[0]) > BODY_LIMIT_BYTES):
            return self._closing("too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes")
        if not (self.headers.get("Authorization") or "").isascii():
            return self._closing("unauthorized", "the Authorization header must be: Bearer TOKEN")
        return None

    def _parse_payload(self) -> tuple[Any, bytes | None]:
        """Return headers and body; raises ConnectionError when the client went before the announced end."""
        headers, body = super()._parse_payload()
        if body is not None and len(body) < int(self.headers["Content-Length"]):
            raise ConnectionError("the body ended before its announced length")
        return headers, body

    def _closing(self, code: str, detail: str, *headers: tuple[str, str]) -> Answer:
        self.close_connection = True
        return problem(code, detail, ("Connection", "close"), *headers)

    def _metrics(self) -> Answer | None:
        if self.metrics_page is None or self.path.partition("?")[0] != metrics.PATH:
            return None
        if self.command not in {"GET", "HEAD"}:
            return metrics.REFUSAL
        return self.metrics_page(self.headers.get("Authorization"))

    def _send(self, answer: Answer) -> None:
        headers = dict(answer.headers)
        self._send_http_response_with_body(answer.status, headers, answer.body)

    def _send_http_response_with_body(self, code: int, headers: Any, body: str | bytes) -> None:
        """Send a whole answer; to HEAD without the body, which Chalice would send and the client not expect."""
        if self.command != "HEAD":
            super()._send_http_response_with_body(code, headers, body)
            return
        self.send_response(code)
        self.send_header("Content-Length", str(len(body.encode() if isinstance(body, str) else body)))
        self._send_headers(headers)

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: it waits for this."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def send_error(self, code: int, message: str | None = None, _explain: str | None = None) -> None:
        """Refuse what is no request in the form of all problems, and close: where the next one begins is not known."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._send(self._closing("method_not_allowed", "no path takes this method", ("Allow", "GET, POST")))
        else:
            self._send(self._closing("invalid_header", message or HTTPStatus(code).phrase))
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log no line a request: it costs more than the request."""


class _Server(ThreadedHTTPServer):
    request_queue_size = 1024  # the default of 5 drops a load generator's connections
    allow_reuse_port = True  # each worker has its own socket, and Linux deals out the connections


def make_server(project: Path, stage: str, host: str, port: int) -> LocalDevServer:
    """Return a listening server for the Chalice project, with the stage's variables in the environment."""
    factory = CLIFactory(str(project), environ=os.environ)  # by default it sets them in a copy nobody reads
    config = factory.create_config_obj(chalice_stage_name=stage)
    app = config.chalice_app
    isolate_requests(app)
    page = metrics.start(sys.modules["app"])  # Chalice imports the project's app.py under this name
    handler = type("Handler", (_Handler,), {"metrics_page": staticmethod(page) if page is not None else None})
    return LocalDevServer(app, config, host, port, handler_cls=handler, server_cls=_Server)


def serve(options: argparse.Namespace, number: int) -> None:
    """Serve as one worker until a signal to stop, then finish what has begun."""
    os.environ["SERVER_NAME"] = f"{options.name}-{number}"
    server = make_server(options.project, options.stage, options.host, options.port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    signal.sigwait(STOP_SIGNALS)
    server.shutdown()
    if not _in_flight.wait_for_none(_GRACE_SECONDS):
        print(f"gave up on requests that took longer than {_GRACE_SECONDS:g} s", flush=True)
    server.server.socket.close()


def _work(options: argparse.Namespace, parent_pid: int, number: int) -> None:
    guard.die_with_parent(parent_pid)
    serve(options, number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.servers.chalice_server", description="Serve as `chalice local`."
    )
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    parser.add_argument("--name", default=os.environ.get("SERVER_NAME", "chalice"), help="workers are NAME-1...")
    parser.add_argument("--project", type=Path, default=Path.cwd(), help="folder of app.py and .chalice")
    parser.add_argument("--stage", default=DEFAULT_STAGE)
    options = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # they are waited for, in every worker too
    with metrics.folder():
        if options.workers > 1:
            work = partial(_work, options, os.getpid())
            return run_workers(work, options.name, options.workers, _GRACE_SECONDS)
        serve(options, 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
