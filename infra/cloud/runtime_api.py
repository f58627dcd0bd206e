"""Lambda's Runtime API (2018-06-01) for local containers, and an API Gateway in front of it.

A container asks for its next invocation and waits; an idle one takes the invocation that has waited longest. So a
container serves one request at a time, as in Lambda.
"""

import http.server
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

from infra.servers.api_gateway_events import make_event
from infra.servers.gateway.requests import HttpRequest

TIMEOUT_SECONDS = 25.0
_INVOCATION = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
_DEADLINE_MS = 4_000_000_000_000


class FunctionError(Exception):
    """A function, or its start, failed; has what Lambda would report."""


class RuntimeApi:
    """The invocations of one function, and the containers that serve them."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[str, bytes, Future[Any]]] = SimpleQueue()
        self._running: dict[str, Future[Any]] = {}
        self._failed_start: Future[str] = Future()
        self.closed = False

    def invoke(self, event: Any) -> Any:
        """Return what the function returns; raises FunctionError."""
        answer: Future[Any] = Future()
        self._waiting.put((str(uuid.uuid4()), json.dumps(event).encode(), answer))
        return answer.result(TIMEOUT_SECONDS)

    def next(self) -> tuple[str, bytes]:
        """Wait for the next invocation and return its id and event."""
        while not self.closed:
            try:
                name, event, answer = self._waiting.get(timeout=0.2)
            except Empty:
                continue
            self._running[name] = answer
            return name, event
        raise FunctionError("closed")

    def fail_start(self, said: str) -> None:
        """Record that a container could not start."""
        if not self._failed_start.done():
            self._failed_start.set_result(said)

    def wait_for_failed_start(self) -> str:
        """Return the message of a container that could not start."""
        return self._failed_start.result(TIMEOUT_SECONDS)

    def end(self, name: str, kind: str, body: bytes) -> None:
        """Record the result of an invocation."""
        answer = self._running.pop(name)
        if kind == "response":
            answer.set_result(json.loads(body))
        else:
            answer.set_exception(FunctionError(body.decode()))


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _containers_side(api: RuntimeApi) -> type[_Handler]:
    class Handler(_Handler):
        def do_GET(self) -> None:
            try:
                name, event = api.next()
            except FunctionError:
                self.close_connection = True
                return
            headers = {"Lambda-Runtime-Aws-Request-Id": name, "Lambda-Runtime-Deadline-Ms": str(_DEADLINE_MS)}
            headers |= {"Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:1:function:day-trading"}
            self.answer(200, {**headers, "Content-Type": "application/json"}, event)

        def do_POST(self) -> None:
            body = self.body()
            found = _INVOCATION.fullmatch(self.path)
            if found is None:
                api.fail_start(body.decode())
            else:
                api.end(found[1], found[2], body)
            self.answer(202, {}, b"")

    return Handler


class Routes:
    """The paths of a deployed template, and the events that API Gateway makes of requests for them."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._paths = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
        self._patterns = [(re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), path) for path in self._paths]

    def event(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
        """Return the event of a request, or None if API Gateway would refuse it itself."""
        address = urlsplit(url)
        for pattern, resource in self._patterns:
            match = pattern.fullmatch(address.path)
            if match and method.lower() in self._paths[resource]:
                names = {name: unquote(value) for name, value in match.groupdict().items()}
                given = {name.lower(): value for name, value in headers.items()}
                request = HttpRequest(method, address.path, address.query, given, {}, body, "127.0.0.1")
                return make_event(request, method, resource, names, str(uuid.uuid4()), frozenset())
        return None


def _clients_side(api: RuntimeApi, routes: Routes) -> type[_Handler]:
    class Handler(_Handler):
        def serve(self) -> None:
            event = routes.event(self.command, self.path, dict(self.headers), self.body())
            if event is None:
                self.answer(403, {}, b'{"message":"Missing Authentication Token"}')
                return
            try:
                answer = api.invoke(event)
            except FunctionError as error:
                self.answer(502, {}, str(error).encode())
                return
            self.answer(answer["statusCode"], answer["headers"], answer["body"].encode())

        do_GET = do_POST = serve  # noqa: N815  # names of the standard library

    return Handler


@contextmanager
def serving(handler: type[_Handler]) -> Iterator[str]:
    """Serve on a local port; yields `host:port`."""
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def runtime_api() -> Iterator[tuple[RuntimeApi, str]]:
    """Run a Runtime API; yields it and its address."""
    api = RuntimeApi()
    with serving(_containers_side(api)) as address:
        try:
            yield api, address
        finally:
            api.closed = True


@contextmanager
def api_gateway(api: RuntimeApi, routes: Routes) -> Iterator[str]:
    """Run an API Gateway in front of a function; yields its URL."""
    with serving(_clients_side(api, routes)) as address:
        yield f"http://{address}"
