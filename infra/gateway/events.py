"""What API Gateway (REST, payload version 1) would hand to a function for a request, made from a WSGI environ."""

import base64
import itertools
import os
import time
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

_NAMES_KEPT = 4_096
_MAX_SECONDS = 29.0  # how long API Gateway waits for a function


class Context:
    """The function's view of its invocation: the attributes and the one method of Lambda's context object."""

    __slots__ = ("_deadline", "aws_request_id", "function_name")

    function_version = "$LATEST"
    invoked_function_arn = ""
    memory_limit_in_mb = 512
    log_group_name = ""
    log_stream_name = ""
    identity = None
    client_context = None

    def __init__(self, function_name: str, request_id: str) -> None:
        self.function_name = function_name
        self.aws_request_id = request_id
        self._deadline = time.monotonic() + _MAX_SECONDS

    def get_remaining_time_in_millis(self) -> int:
        """Return how many milliseconds the function has left."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class RequestIds:
    """Unique ids in the form of a UUID: a random half for the process, a counter for the request."""

    def __init__(self) -> None:
        # Before the worker processes part, they would all get the same half: make one after.
        self._process = os.urandom(8).hex()
        self._next = itertools.count(1).__next__

    def __call__(self) -> str:
        """Return the next id."""
        half = self._process
        count = f"{self._next():016x}"
        return f"{half[:8]}-{half[8:12]}-{half[12:]}-{count[:4]}-{count[4:]}"


class HeaderNames:
    """Maps `HTTP_X_FORWARDED_FOR` to `x-forwarded-for`, remembering the names it has seen."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}

    def headers(self, environ: Mapping[str, Any]) -> dict[str, str]:
        """Return the request's headers, with lower-case names."""
        names = self._names
        found = {}
        for key, value in environ.items():
            name = names.get(key)
            if name is None:
                name = self._learn(key)
            if name:
                found[name] = value
        return found

    def _learn(self, key: str) -> str:
        name = key[5:].replace("_", "-").lower() if key.startswith("HTTP_") else ""
        if len(self._names) < _NAMES_KEPT:  # clients make up names without end
            self._names[key] = name
        return name


def path_of(environ: Mapping[str, Any]) -> str:
    """Return the path, percent-decoded: WSGI hands over its bytes as if they were Latin-1."""
    path: str = environ["PATH_INFO"]
    return path if path.isascii() else path.encode("latin-1").decode(errors="replace")


def make_event(
    environ: Mapping[str, Any],
    method: str,
    path: str,
    resource: str,
    parameters: dict[str, str],
    headers: dict[str, str],
    body: bytes,
    request_id: str,
    binary_types: Collection[str],
) -> dict[str, Any]:
    """Return the event. A body that is not text arrives in base 64, as a binary media type always does."""
    text, is_base64 = _body_text(body, headers.get("content-type", ""), binary_types)
    query = environ.get("QUERY_STRING")
    lists = parse_qs(query, keep_blank_values=True) if query else None
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in lists.items()} if lists else None,
        "multiValueQueryStringParameters": lists or None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": path,
            "protocol": environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
            "stage": "api",
            "requestId": request_id,
            "requestTimeEpoch": int(time.time() * 1000),
            "identity": {
                "sourceIp": environ.get("REMOTE_ADDR", ""),
                "userAgent": headers.get("user-agent", ""),
            },
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _body_text(body: bytes, content_type: str, binary_types: Collection[str]) -> tuple[str | None, bool]:
    if not body:
        return None, False
    if content_type.partition(";")[0].strip() not in binary_types:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode("ascii"), True
