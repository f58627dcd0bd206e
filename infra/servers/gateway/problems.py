"""The gateway's own answers, in the format of the app's problems."""

from typing import NamedTuple

from chalicelib.http.headers import SECURITY_HEADERS
from chalicelib.http.problems import CONTENT_TYPE, STATUSES, problem_body


class HttpAnswer(NamedTuple):
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def problem(code: str, detail: str, *headers: tuple[str, str]) -> HttpAnswer:
    """Return the problem with one of the stable codes, and `headers` besides those of every problem."""
    always = [("Content-Type", CONTENT_TYPE), *SECURITY_HEADERS.items()]
    return HttpAnswer(STATUSES[code], [*always, *headers], problem_body(code, detail).encode())
