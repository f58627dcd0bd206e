"""A real HTTP server in a thread that serves an exchange in memory, and misbehaves on demand."""

import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from loadgen.workload.commands import COMMANDS
from loadgen.workload.files import Command
from tests.unit.loadgen.exchange import Exchange

_NAMES = {name.lower().replace("_", "-"): name for name in COMMANDS} | {"summary": "DISPLAY_SUMMARY"}

READS = {"ACCOUNT", "HISTORY"}
"""The command name of requests that are not commands."""


@dataclass(frozen=True)
class Request:
    """A request as it arrived. `attempt` counts requests with the same key, from 1; `done` those answered before it."""

    command: Command
    key: str | None
    token: str
    attempt: int
    answered: int


Misbehaviour = Callable[["Handler", Request], bool]
"""Gets a request before it is executed; returns whether it has handled it."""


class StubServer(ThreadingHTTPServer):
    """The server. `requests` has everything that arrived, in order; `misbehave` may be set by a test."""

    daemon_threads = True
    request_queue_size = 2048

    def __init__(self, exchange: Exchange, dumps: Path, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.exchange = exchange
        self.dumps = dumps
        self.requests: list[Request] = []
        self.answered = 0
        self.connections = 0
        self.misbehave: Misbehaviour | None = None
        self.tamper: Callable[[Request, int, dict[str, Any]], tuple[int, dict[str, Any]]] | None = None
        self.links = False
        self.slow_handshake_s = 0.0
        self.lock = threading.Lock()
        self.attempts: Counter[str | None] = Counter()
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def commands(self) -> list[Request]:
        """Return the requests that carry a command of a workload."""
        return [request for request in self.requests if request.key is not None]

    def get_request(self) -> Any:
        time.sleep(self.slow_handshake_s)
        return super().get_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.lock:
            self.connections += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that were reset on purpose."""

    def close_connections(self) -> None:
        """Close all connections, as a server does with idle ones."""
        with self.lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: StubServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name in the base class)
        """Write no log."""

    def do_GET(self) -> None:
        if self.path == "/openapi.json":
            with self.server.lock:
                self.server.connections -= 1  # it is none of the run's, nor is its answer
                self.server.answered -= 1
            self.send(200, b'{"info": {"version": "7.1"}}')
        elif self.path == "/link":
            self.send(200, self.server.exchange.log_xml().encode())
        else:
            self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        server = self.server
        key = self.headers.get("Idempotency-Key")
        command = _command(self.path, json.loads(body) if body else {}, self.headers.get("X-Transaction-Num"))
        with server.lock:
            server.attempts[key] += 1
            token = self.headers["Authorization"].removeprefix("Bearer ")
            request = Request(command, key, token, server.attempts[key], server.answered)
            server.requests.append(request)
        if server.misbehave is not None and server.misbehave(self, request):
            return
        self.carry_out(request)

    def carry_out(self, request: Request) -> None:
        """Execute the request and answer it."""
        if request.command.name in READS:
            answer = self._read(request.command)
            status, replayed = 200, False
        else:
            status, answer, replayed = self.server.exchange.execute(request.command, request.key)
        if self.server.tamper is not None:
            status, answer = self.server.tamper(request, status, dict(answer))
        if request.command.name == "DUMPLOG" and status == 200:
            path = self.server.dumps / f"{request.command.transaction}-{Path(request.command.value or '').name}"
            text = self.server.exchange.log_xml()
            path.write_text(text)
            answer = {**answer, "location": str(path), "events": text.count("<timestamp>")}
            if self.server.links:
                answer.update(location="s3://bucket/log", url=f"{self.server.url}/link")
        self.answer(status, answer, {"Idempotent-Replayed": "true"} if replayed else {})

    def _read(self, command: Command) -> dict[str, Any]:
        user = command.user or ""
        if command.name == "ACCOUNT":
            return self.server.exchange.read_account(user)
        query = parse_qs(command.value or "")
        return self.server.exchange.read_history(user, int(query["before"][0]), int(query["limit"][0]))

    def answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send(status, json.dumps(body).encode(), headers)

    def send(self, status: int, payload: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer of any content."""
        with self.server.lock:
            self.server.answered += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def cut(self, payload: bytes = b"") -> None:
        """Send raw bytes and close the connection."""
        self.wfile.write(payload)
        self.wfile.flush()
        self.close_connection = True

    def reset(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def _command(path: str, body: dict[str, Any], number: str | None) -> Command:
    transaction = int(number or 0)
    path, _, query = path.partition("?")
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts == ["dumplog"]:
        return Command(transaction, "DUMPLOG", None, None, body["filename"])
    if parts[2] == "quote":
        return Command(transaction, "QUOTE", parts[1], parts[3], None)
    if parts[2].upper() in READS:
        return Command(0, parts[2].upper(), parts[1], None, query)
    value = body.get("amount") or body.get("price") or body.get("filename")
    return Command(transaction, _NAMES[parts[2]], parts[1], body.get("symbol"), value)


@contextmanager
def running(dumps: Path, certificate: Path | None = None) -> Iterator[StubServer]:
    """Run a stub server while the block runs; with a certificate it speaks TLS."""
    server = StubServer(Exchange(), dumps, certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="stub")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.close_connections()
        server.server_close()
        thread.join()


def answer(handler: Handler, status: int, **headers: str) -> bool:
    """Misbehave: answer with a status and headers; `_` in a name stands for `-`."""
    handler.answer(status, {"code": "store_unavailable"}, {name.replace("_", "-"): headers[name] for name in headers})
    return True


def silent(handler: Handler, _request: Request) -> bool:
    """Misbehave: never answer."""
    handler.connection.settimeout(20)
    handler.rfile.read(1)  # until the client is gone
    handler.close_connection = True
    return True


def silent_after_the_commands(handler: Handler, request: Request) -> bool:
    """Misbehave: after the first command, never answer the reads of the verification."""
    return request.key is None and bool(handler.server.commands()) and silent(handler, request)


def be_late_at_first(_handler: Handler, request: Request) -> bool:
    """Misbehave: execute the first attempt of each command, and answer too late."""
    if request.attempt == 1:
        time.sleep(0.3)
    return False
