"""The adapter between HTTP and the app, without a server: requests in, events and answers out."""

import base64
import json
from http import HTTPStatus
from typing import Any

import pytest
from chalice.app import Chalice, CORSConfig, CustomAuthorizer, Response

from infra.servers.gateway.adapter import Gateway, UnsupportedRouteError
from infra.servers.gateway.requests import HttpRequest


class Caller:
    """Sends requests to a gateway as a connection would."""

    def __init__(self, app: Chalice) -> None:
        self._gateway = Gateway(app)

    def __call__(
        self, method: str, path: str, body: bytes = b"", query: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body; `x_break` is the header x-break."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(method, path, query, named, {}, body, "10.1.2.3")
        answer = self._gateway.answer(request)
        return answer.status, {name.lower(): value for name, value in answer.headers}, answer.body


def make_app() -> tuple[Chalice, list[dict[str, Any]]]:
    """Return an app and the list into which it puts the events that it sees."""
    app = Chalice(app_name="unit", configure_logs=False)
    events: list[dict[str, Any]] = []

    @app.route("/things/{thing}", methods=["GET", "POST"], content_types=["*/*"])
    def things(thing: str) -> Any:
        assert app.current_request is not None
        events.append(app.current_request.to_original_event())
        return {"thing": thing, "ms": app.lambda_context.get_remaining_time_in_millis()}

    @app.route("/shared", cors=CORSConfig(allow_origin="https://example.org"))
    def shared() -> Any:
        return {}

    @app.route("/cookies")
    def cookies() -> Any:
        return Response("x", headers={"Content-Type": "text/plain", "Set-Cookie": ["a=1", "b=2"]})

    @app.route("/binary")
    def binary() -> Any:
        return Response(b"\x00\xff", headers={"content-type": "image/png"})

    @app.middleware("http")
    def breaks(event: Any, get_response: Any) -> Any:
        response = get_response(event)
        return None if event.headers.get("x-break") else response

    return app, events


def test_the_event_is_the_one_of_api_gateway() -> None:
    app, events = make_app()
    status, headers, body = Caller(app)(
        "POST",
        "/things/one",
        b'{"a": 1}',
        "x=1&x=2&y=",
        x_transaction_num="7",
        user_agent="test",
        content_type="application/json",
    )
    assert (status, json.loads(body)["thing"]) == (HTTPStatus.OK, "one")
    assert headers["content-type"] == "application/json"
    [event] = events
    assert event["httpMethod"] == "POST"
    assert event["resource"] == "/things/{thing}"
    assert event["path"] == "/things/one"
    assert event["pathParameters"] == {"thing": "one"}
    assert event["headers"] == {
        "content-type": "application/json",
        "x-transaction-num": "7",
        "user-agent": "test",
    }
    assert event["multiValueHeaders"]["x-transaction-num"] == ["7"]
    assert event["queryStringParameters"] == {"x": "2", "y": ""}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": [""]}
    assert (event["body"], event["isBase64Encoded"]) == ('{"a": 1}', False)
    context = event["requestContext"]
    assert context["resourcePath"] == "/things/{thing}"
    assert context["httpMethod"] == "POST"
    assert context["identity"]["sourceIp"] == "10.1.2.3"


def test_a_request_without_query_and_body_has_none_of_them() -> None:
    app, events = make_app()
    Caller(app)("GET", "/things/one")
    assert events[0]["multiValueQueryStringParameters"] is None
    assert events[0]["queryStringParameters"] is None
    assert events[0]["body"] is None


def test_request_ids_differ() -> None:
    app, events = make_app()
    call = Caller(app)
    for _ in range(3):
        call("GET", "/things/one")
    assert len({event["requestContext"]["requestId"] for event in events}) == 3


def test_a_header_that_came_twice_is_there_once_and_whole() -> None:
    """As API Gateway has it: the last one for those who look for one, and all."""
    app, events = make_app()
    request = HttpRequest("GET", "/things/one", "", {"x-a": "2", "x-b": "3"}, {"x-a": ["1", "2"]}, b"", "10.1.2.3")
    assert Gateway(app).answer(request).status == HTTPStatus.OK
    assert events[0]["headers"] == {"x-a": "2", "x-b": "3"}
    assert events[0]["multiValueHeaders"] == {"x-a": ["1", "2"], "x-b": ["3"]}


def test_a_body_that_is_not_text_comes_in_base_64() -> None:
    app, events = make_app()
    Caller(app)("POST", "/things/one", b"\xff\xfe", content_type="application/json")
    assert events[0]["isBase64Encoded"]
    assert base64.b64decode(events[0]["body"]) == b"\xff\xfe"


def test_a_binary_media_type_comes_in_base_64() -> None:
    app, events = make_app()
    Caller(app)("POST", "/things/one", b"text", content_type="application/zip")
    assert (events[0]["isBase64Encoded"], events[0]["body"]) == (True, "dGV4dA==")


def test_head_is_answered_as_get() -> None:
    app, events = make_app()
    call = Caller(app)
    status, headers, _ = call("GET", "/things/one")
    assert call("HEAD", "/things/one")[:2] == (status, headers)
    assert events[1]["httpMethod"] == "GET"


def test_options_says_what_a_path_takes_without_asking_the_app() -> None:
    app, events = make_app()
    status, headers, body = Caller(app)("OPTIONS", "/things/one")
    assert (status, headers["allow"], body) == (HTTPStatus.OK, "GET, HEAD, OPTIONS, POST", b"")
    assert "access-control-allow-methods" not in headers
    assert events == []


def test_options_carries_the_cors_headers_of_a_route_that_has_them() -> None:
    status, headers, _ = Caller(make_app()[0])("OPTIONS", "/shared")
    assert status == HTTPStatus.OK
    assert headers["access-control-allow-origin"] == "https://example.org"
    assert headers["access-control-allow-methods"] == "GET,OPTIONS"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("HEAD", "/nothing", 404, "not_found"),
        ("OPTIONS", "/nothing", 404, "not_found"),
        ("DELETE", "/things/one", 405, "method_not_allowed"),
        ("BREW", "/things/one", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_a_problem(method: str, path: str, status: int, code: str) -> None:
    found, headers, body = Caller(make_app()[0])(method, path)
    assert found == status
    assert headers["content-type"] == "application/problem+json"
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_what_fails_outside_of_a_view_is_a_bad_gateway_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = Caller(make_app()[0])
    status, headers, body = gateway("GET", "/things/one", x_break="yes")
    assert (status, json.loads(body)["code"]) == (HTTPStatus.BAD_GATEWAY, "bad_gateway")
    assert headers["content-type"] == "application/problem+json"
    assert gateway("GET", "/things/one")[0] == HTTPStatus.OK
    assert "GET /things/one failed outside of a view" in caplog.text


def test_a_header_may_have_several_values_and_a_body_be_binary() -> None:
    app, _ = make_app()
    sent = Gateway(app).answer(HttpRequest("GET", "/cookies", "", {}, {}, b"", "10.1.2.3")).headers
    assert [value for name, value in sent if name == "Set-Cookie"] == ["a=1", "b=2"]
    status, headers, body = Caller(app)("GET", "/binary", accept="image/png")
    assert (status, headers["content-type"], body) == (HTTPStatus.OK, "image/png", b"\x00\xff")


def test_a_route_with_an_authorizer_is_not_served_at_all() -> None:
    """The gateway runs none, so it would let everybody in."""
    app = Chalice(app_name="guarded", configure_logs=False)
    authorizer = CustomAuthorizer("jwt", header="Authorization", authorizer_uri="arn:example")
    app.route("/guarded", authorizer=authorizer)(dict)
    with pytest.raises(UnsupportedRouteError, match="/guarded asks for an authorizer"):
        Gateway(app)
