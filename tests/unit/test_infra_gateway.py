"""The adapter between WSGI and the app, without a server: requests in, events and answers out."""

import base64
import io
import json
from http import HTTPStatus
from typing import Any

import pytest
from chalice.app import Chalice, CORSConfig, CustomAuthorizer, Response

from infra.gateway.adapter import BODY_LIMIT_BYTES, Gateway, UnsupportedRouteError


class Caller:
    """Sends requests to a gateway as a WSGI server would."""

    def __init__(self, app: Chalice) -> None:
        self._gateway = Gateway(app)

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: str = "",
        unread: io.BytesIO | None = None,
        **environ: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (names in lower case) and body."""
        request: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": "10.1.2.3",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "PATH": "/usr/bin",
            "wsgi.input": unread or io.BytesIO(body or b""),
        }
        if body is not None:
            request["CONTENT_LENGTH"] = str(len(body))
        started: list[tuple[str, list[tuple[str, str]]]] = []
        answer = self._gateway(request | environ, lambda status, headers: started.append((status, headers)))
        [(status, headers)] = started
        return int(status.split()[0]), {name.lower(): value for name, value in headers}, b"".join(answer)


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
        HTTP_X_TRANSACTION_NUM="7",
        HTTP_USER_AGENT="test",
        CONTENT_TYPE="application/json",
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
        "content-length": "8",
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


def test_a_parameter_arrives_as_the_text_that_was_meant() -> None:
    """A WSGI server decodes the percent signs and hands over the bytes as Latin-1."""
    app, events = make_app()
    Caller(app)("GET", "/things/\N{EURO SIGN} 1%41".encode().decode("latin-1"))
    assert events[0]["pathParameters"] == {"thing": "\N{EURO SIGN} 1%41"}


def test_a_body_that_is_not_text_comes_in_base_64() -> None:
    app, events = make_app()
    Caller(app)("POST", "/things/one", b"\xff\xfe", CONTENT_TYPE="application/json")
    assert events[0]["isBase64Encoded"]
    assert base64.b64decode(events[0]["body"]) == b"\xff\xfe"


def test_a_binary_media_type_comes_in_base_64() -> None:
    app, events = make_app()
    Caller(app)("POST", "/things/one", b"text", CONTENT_TYPE="application/zip")
    assert (events[0]["isBase64Encoded"], events[0]["body"]) == (True, "dGV4dA==")


def test_head_is_answered_as_get_without_the_body() -> None:
    app, events = make_app()
    call = Caller(app)
    _, _, expected = call("GET", "/things/one")
    status, headers, body = call("HEAD", "/things/one")
    assert (status, body) == (HTTPStatus.OK, b"")
    assert int(headers["content-length"]) == len(expected)
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
    if method != "HEAD":
        problem = json.loads(body)
        assert (problem["status"], problem["code"]) == (status, code)
        assert set(problem) == {"type", "title", "status", "detail", "code"}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        assert headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_the_largest_body_is_taken_and_one_byte_more_is_refused_unread() -> None:
    app, events = make_app()
    call = Caller(app)
    assert call("POST", "/things/one", b"x" * BODY_LIMIT_BYTES)[0] == HTTPStatus.OK
    unread = io.BytesIO(b"x" * (BODY_LIMIT_BYTES + 1))
    status, headers, body = call("POST", "/things/one", unread=unread, CONTENT_LENGTH=str(BODY_LIMIT_BYTES + 1))
    assert (status, json.loads(body)["code"]) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large")
    assert headers["connection"] == "close"
    assert unread.tell() == 0
    assert len(events) == 1


@pytest.mark.parametrize(("size", "status"), [(BODY_LIMIT_BYTES, 200), (10 * BODY_LIMIT_BYTES, 413)])
def test_a_chunked_body_is_read_no_further_than_the_limit(size: int, status: int) -> None:
    body = io.BytesIO(b"x" * size)
    call = Caller(make_app()[0])
    assert call("POST", "/things/one", unread=body, HTTP_TRANSFER_ENCODING="chunked")[0] == status
    assert body.tell() <= BODY_LIMIT_BYTES + 1


def test_a_body_that_was_cut_off_is_not_a_command() -> None:
    app, events = make_app()
    status, _, _ = Caller(app)("POST", "/things/one", b"half", CONTENT_LENGTH="8")
    assert status == HTTPStatus.BAD_REQUEST
    assert events == []


def test_what_fails_outside_of_a_view_is_a_bad_gateway_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = Caller(make_app()[0])
    status, headers, body = gateway("GET", "/things/one", HTTP_X_BREAK="yes")
    assert (status, json.loads(body)["code"]) == (HTTPStatus.BAD_GATEWAY, "bad_gateway")
    assert headers["content-type"] == "application/problem+json"
    assert gateway("GET", "/things/one")[0] == HTTPStatus.OK
    assert "GET /things/{thing} failed outside of a view" in caplog.text


def test_a_header_may_have_several_values_and_a_body_be_binary() -> None:
    app, _ = make_app()
    sent: list[list[tuple[str, str]]] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/cookies", "wsgi.input": io.BytesIO()}
    Gateway(app)(environ, lambda _, headers: sent.append(headers))
    assert [value for name, value in sent[0] if name == "Set-Cookie"] == ["a=1", "b=2"]
    status, headers, body = Caller(app)("GET", "/binary", HTTP_ACCEPT="image/png")
    assert (status, headers["content-type"], body) == (HTTPStatus.OK, "image/png", b"\x00\xff")


def test_a_route_with_an_authorizer_is_not_served_at_all() -> None:
    """The gateway runs none, so it would let everybody in."""
    app = Chalice(app_name="guarded", configure_logs=False)
    authorizer = CustomAuthorizer("jwt", header="Authorization", authorizer_uri="arn:example")
    app.route("/guarded", authorizer=authorizer)(dict)
    with pytest.raises(UnsupportedRouteError, match="/guarded asks for an authorizer"):
        Gateway(app)
