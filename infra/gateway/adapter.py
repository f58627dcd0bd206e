"""The WSGI application: one HTTP request to one call of the Chalice app, and its answer back."""

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chalice.app import Chalice

from infra import metrics
from infra.gateway.events import Context, HeaderNames, RequestIds, make_event, path_of
from infra.gateway.isolation import isolate_threads
from infra.gateway.problems import Answer, problem
from infra.gateway.routes import RouteTable

BODY_LIMIT_BYTES = 64 * 1024

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_log = logging.getLogger("gateway")
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_CLOSE = ("Connection", "close")  # what is still on its way is not read
_NOT_FOUND = problem("not_found", "there is nothing at this path")
_TOO_LARGE = problem("too_large", f"a body has at most {BODY_LIMIT_BYTES} bytes", _CLOSE)
_CUT_OFF = problem("invalid_json", "the body ended before its announced length", _CLOSE)
_FAILED = problem("bad_gateway", "the function failed")


class UnsupportedRouteError(Exception):
    """A route asks for something that only API Gateway does; serving it without would open it to everyone."""

    def __init__(self, pattern: str, what: str) -> None:
        super().__init__(f"route {pattern} asks for {what}, which this gateway does not run")


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: str
    methods: frozenset[str]
    options: Answer
    refusal: Answer


class Gateway:
    """Serves a Chalice app over WSGI, as API Gateway would, from any number of threads.

    What `metrics_page` returns for an Authorization header is served at /metrics, beside the app.
    """

    def __init__(self, app: Chalice, metrics_page: Callable[[str | None], Answer] | None = None) -> None:
        isolate_threads(app)
        self._metrics_page = metrics_page
        self._app = app
        self._function_name = f"{app.app_name}-gateway"
        self._binary_types = frozenset(app.api.binary_types)
        self._routes = RouteTable((pattern, _route(pattern, app)) for pattern in app.routes)
        self._header_names = HeaderNames()
        self._next_id = RequestIds()

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one request (PEP 3333)."""
        status, headers, body = self._answer(environ)
        if environ["REQUEST_METHOD"] == "HEAD":
            headers = [*headers, ("Content-Length", str(len(body)))]
            body = b""
        start_response(_STATUS_LINES.get(status) or f"{status} Status", headers)
        return [body]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        path = path_of(environ)
        found = self._routes.match(path)
        if found is None:
            if path == metrics.PATH and self._metrics_page is not None:
                return self._metrics(environ, self._metrics_page)
            return _NOT_FOUND
        route, parameters = found
        method = environ["REQUEST_METHOD"]
        if method not in route.methods:
            if method == "OPTIONS":
                return route.options
            if method != "HEAD" or "GET" not in route.methods:
                return route.refusal
            method = "GET"
        body = _read_body(environ)
        if isinstance(body, Answer):
            return body
        request_id = self._next_id()
        event = make_event(
            environ,
            method,
            path,
            route.pattern,
            parameters,
            self._header_names.headers(environ),
            body,
            request_id,
            self._binary_types,
        )
        return self._call(event, Context(self._function_name, request_id))

    def _metrics(self, environ: Mapping[str, Any], page: Callable[[str | None], Answer]) -> Answer:
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return metrics.REFUSAL
        return page(environ.get("HTTP_AUTHORIZATION"))

    def _call(self, event: dict[str, Any], context: Context) -> Answer:
        try:
            return _to_answer(self._app(event, context))
        except Exception:  # noqa: BLE001 - whatever it is, this request gets an answer and the next one its turn
            # A view's own exceptions are the app's 500; this is what broke outside of one.
            _log.exception("%s %s failed outside of a view", event["httpMethod"], event["resource"])
            return _FAILED


def _route(pattern: str, app: Chalice) -> _Route:
    entries = app.routes[pattern]
    for entry in entries.values():
        if entry.authorizer is not None:
            raise UnsupportedRouteError(pattern, "an authorizer")
        if entry.api_key_required:
            raise UnsupportedRouteError(pattern, "an API key")
    allowed = {*entries, "OPTIONS"} | ({"HEAD"} if "GET" in entries else set())
    allow = ("Allow", ", ".join(sorted(allowed)))
    cors = [method for method, entry in entries.items() if entry.cors is not None]
    headers = [allow]
    if cors:  # Chalice sees to it that the methods of one route share one configuration
        headers += entries[cors[0]].cors.get_access_control_headers().items()
        headers.append(("Access-Control-Allow-Methods", ",".join([*cors, "OPTIONS"])))
    refusal = problem("method_not_allowed", f"this path takes {allow[1]}", allow)
    return _Route(pattern, frozenset(entries), Answer(HTTPStatus.OK, headers, b""), refusal)


def _read_body(environ: Mapping[str, Any]) -> bytes | Answer:
    announced = environ.get("CONTENT_LENGTH")
    if announced:
        length = int(announced)  # a server refuses what is not a number
        if length > BODY_LIMIT_BYTES:
            return _TOO_LARGE
        if length == 0:
            return b""
        body: bytes = environ["wsgi.input"].read(length)
        return body if len(body) == length else _CUT_OFF
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    body = environ["wsgi.input"].read(BODY_LIMIT_BYTES + 1)
    return body if len(body) <= BODY_LIMIT_BYTES else _TOO_LARGE


def _to_answer(response: Mapping[str, Any]) -> Answer:
    body = response["body"]
    if response.get("isBase64Encoded"):
        body = base64.b64decode(body)
    elif isinstance(body, str):
        body = body.encode()
    headers = list(response["headers"].items())
    for name, values in response["multiValueHeaders"].items():
        headers += [(name, value) for value in values]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return Answer(response["statusCode"], headers, body or b"")
