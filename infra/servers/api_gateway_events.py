"""Makes the event that API Gateway (REST, payload version 1) would pass to a function for a request."""

import base64
import itertools
import os
import time
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs

from infra.servers.gateway.requests import HttpRequest

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
    """Unique ids in the format of a UUID: a random half for the process, a counter for the request."""

    def __init__(self) -> None:
        self._process = os.urandom(8).hex()
        self._next = itertools.count(1).__next__

    def __call__(self) -> str:
        """Return the next id."""
        half = self._process
        count = f"{self._next():016x}"
        return f"{half[:8]}-{half[8:12]}-{half[12:]}-{count[:4]}-{count[4:]}"


def make_event(
    request: HttpRequest,
    method: str,
    resource: str,
    parameters: dict[str, str],
    request_id: str,
    binary_types: Collection[str],
) -> dict[str, Any]:
    """Return the event. A body that is not text is base64-encoded, as a binary media type always is."""
    headers = request.headers
    text, is_base64 = _body_text(request.body, headers.get("content-type", ""), binary_types)
    lists = parse_qs(request.query, keep_blank_values=True) if request.query else None
    return {
        "resource": resource,
        "path": request.path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()} | request.repeated,
        "queryStringParameters": {name: values[-1] for name, values in lists.items()} if lists else None,
        "multiValueQueryStringParameters": lists or None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "httpMethod": method,
            "path": request.path,
            "protocol": f"HTTP/{request.version}",
            "stage": "api",
            "requestId": request_id,
            "requestTimeEpoch": request.arrived_ms or int(time.time() * 1000),
            "identity": {"sourceIp": request.client, "userAgent": headers.get("user-agent", "")},
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
