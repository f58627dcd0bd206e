"""Turns one HTTP request into one call of the Chalice app, and its answer back."""

import base64
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from chalice.app import Chalice

from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.problems import UNKNOWN
from infra.servers import metrics
from infra.servers.api_gateway_events import Context, RequestIds, make_event
from infra.servers.compression import compressed
from infra.servers.gateway.isolation import isolate_requests
from infra.servers.gateway.problems import HttpAnswer, problem
from infra.servers.gateway.requests import HttpRequest
from infra.servers.gateway.routes import RouteTable

_log = logging.getLogger("gateway")
_NOT_FOUND = problem("not_found", "there is nothing at this path")
_FAILED = problem("bad_gateway", f"the function failed; {UNKNOWN}")


class UnsupportedRouteError(Exception):
    """A route needs a feature that only API Gateway has; serving it without would open it to everyone."""

    def __init__(self, pattern: str, what: str) -> None:
        super().__init__(f"route {pattern} asks for {what}, which this gateway does not run")


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: str
    methods: frozenset[str]
    options: HttpAnswer
    refusal: HttpAnswer


class Gateway:
    """Serves a Chalice app as API Gateway would, any number of requests at a time.

    The result of `metrics_page` for an Authorization header is served at /metrics, beside the app.
    """

    def __init__(self, app: Chalice, metrics_page: Callable[[str | None], HttpAnswer] | None = None) -> None:
        isolate_requests(app)
        self._metrics_page = metrics_page
        self._app = app
        self._function_name = f"{app.app_name}-gateway"
        self._binary_types = frozenset(app.api.binary_types)
        self._routes = RouteTable((pattern, _route(pattern, app)) for pattern in app.routes)
        self._next_id = RequestIds()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request, whatever happens; the answer to HEAD has the body that GET would have."""
        try:
            return compressed(request.headers.get("accept-encoding", ""), self._answer(request))
        except Exception:  # noqa: BLE001 - whatever it is, this request gets an answer and the next one its turn
            # A view's own exceptions are the app's 500; this one was raised outside of a view.
            _log.exception("%s %s failed outside of a view", request.method, request.path)
            return _FAILED

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        found = self._routes.match(request.path if request.raw_path is None else request.raw_path)
        if found is None:
            if request.path == metrics.PATH and self._metrics_page is not None:
                return self._metrics(request, self._metrics_page)
            return _NOT_FOUND
        route, parameters = found
        method = request.method
        if method not in route.methods:
            if method == "OPTIONS":
                return route.options
            if method != "HEAD" or "GET" not in route.methods:
                return route.refusal
            method = "GET"
        request_id = self._next_id()
        event = make_event(request, method, route.pattern, parameters, request_id, self._binary_types)
        return _to_answer(self._app(event, Context(self._function_name, request_id)))

    def _metrics(self, request: HttpRequest, page: Callable[[str | None], HttpAnswer]) -> HttpAnswer:
        if request.method not in {"GET", "HEAD"}:
            return metrics.REFUSAL
        return page(request.headers.get("authorization"))


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
    if cors:  # Chalice ensures that the methods of one route share one configuration
        headers += entries[cors[0]].cors.get_access_control_headers().items()
        headers.append(("Access-Control-Allow-Methods", ",".join([*cors, "OPTIONS"])))
    refusal = problem("method_not_allowed", f"this path takes {allow[1]}", allow)
    options = HttpAnswer(HTTPStatus.OK, [*SECURITY_HEADERS.items(), *headers], b"")
    return _Route(pattern, frozenset(entries), options, refusal)


def _to_answer(response: Mapping[str, Any]) -> HttpAnswer:
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
    return HttpAnswer(response["statusCode"], headers, body or b"")
