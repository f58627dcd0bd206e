"""A small Chalice app for tests of the servers, so that nothing depends on our app."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from chalice.app import Chalice, Response

from infra.servers.gateway.problems import HttpAnswer
from infra.servers.gateway.requests import HttpRequest

app = Chalice(app_name="tiny")
_barrier_seconds = 0.02


@app.route("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.route("/echo/{word}", methods=["GET", "POST"])
def echo(word: str) -> dict[str, Any]:
    """Answer with the details of the request, read after other requests have had time to overwrite them."""
    time.sleep(_barrier_seconds)
    request = app.current_request
    assert request is not None
    return {
        "word": word,
        "uri_params": request.uri_params,
        "method": request.method,
        "body": request.raw_body.decode() if isinstance(request.raw_body, bytes) else request.raw_body,
        "request_id": app.lambda_context.aws_request_id,
        "event_id": request.context.get("requestId"),
        "arrived_ms": request.context.get("requestTimeEpoch"),
        "arrived": request.context.get("requestTimeEpoch"),
        "query": dict(request.query_params or {}),
        "header": request.headers.get("x-word"),
        "proxy": request.headers.get("proxy"),
        "thread": threading.get_ident(),
    }


@app.route("/slow/{seconds}")
def slow(seconds: str) -> dict[str, str]:
    """Take some seconds, after recording the start in a file."""
    with Path(os.environ["BEGUN"]).open("a") as begun:
        begun.write(f"{seconds}\n")
    time.sleep(float(seconds))
    return {"slept": seconds}


@app.route("/large/{size}")
def large(size: str) -> Response:
    return Response("x" * int(size), headers={"Content-Type": "text/plain"})


@app.route("/server")
def server() -> dict[str, str]:
    return {"name": os.environ["SERVER_NAME"], "pid": str(os.getpid())}


@app.middleware("http")
def breaks_on_demand(event: Any, get_response: Any) -> Response:
    response: Response = get_response(event)
    if event.headers.get("x-break") == "yes":
        response.headers = None  # type: ignore[assignment]  # fails when Chalice turns the answer into JSON
    return response


class _Bare:
    """Answers without Chalice, with the request in a header."""

    def answer(self, request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, [("X-Path", request.path)], b"{}")


bare = _Bare()
