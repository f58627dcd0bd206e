"""The answers that the gateway gives itself, in the same form as the app's problems (RFC 9457)."""

import json
from http import HTTPStatus
from typing import NamedTuple

PROBLEM_TYPE = "application/problem+json"


class Answer(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def problem(status: HTTPStatus, code: str, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Return a problem document with the stable `code` that clients look at."""
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    return Answer(status, [("Content-Type", PROBLEM_TYPE), *headers], json.dumps(document).encode())
