"""Workloads of arbitrary HTTP requests: one JSON object per line, `{"stream": "a", "method": "GET", "path": "/"}`.

docs/loadgen.md describes the fields. A line without a stream is a barrier: it waits for all before it, and all after it
wait for it.
"""

import json
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from loadgen.workload.files import MAX_PROBLEMS, Command, Problem, Workload, WorkloadError, load

MAX_LINE_BYTES = 1 << 20

_FIELDS = {"stream", "at_ms", "method", "path", "headers", "body", "expect", "key", "name"}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_PATH = re.compile(r"/[!-~]*", re.ASCII)
_VALUE = re.compile(r"[ -~\t]*", re.ASCII)
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "expect", "host"})


class HttpCall(NamedTuple):
    """One request of a workload.

    `transaction` is its line number, `user` its stream (None: a barrier). `expect` is the set of expected statuses,
    empty for any below 500. `key` names a header that makes it safe to repeat. `at_ms` is when it was recorded.
    """

    transaction: int
    name: str
    user: str | None
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    expect: frozenset[int]
    key: str | None
    at_ms: int | None


class _LineError(ValueError):
    """A line that is not a request."""


def load_any(path: Path, *, strict: bool = False) -> tuple[Workload, bool]:
    """Return the workload in a file, and whether it is HTTP requests. Raises WorkloadError."""
    try:
        with path.open("rb") as file:
            if file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                file.seek(0)
                return parse(file, str(path)), True
    except OSError as error:
        raise WorkloadError(str(path), [Problem(0, error.strerror or str(error))], 1) from error
    return load(path, strict=strict), False


def parse(file: BinaryIO, source: str = "workload") -> Workload:
    """Return the requests in an open file. Raises WorkloadError naming every bad line."""
    calls: list[HttpCall] = []
    problems: list[Problem] = []
    total = number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if not raw.strip():
            continue
        try:
            calls.append(_parse_line(raw, number))
        except _LineError as error:
            total += 1
            problems = [*problems, Problem(number, str(error))][:MAX_PROBLEMS]
            while len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES + 1)
    if problems:
        raise WorkloadError(source, problems, total)
    # The sending code only uses what commands and calls have in common (`client.dialect.Item`).
    return Workload(source, cast("list[Command]", calls))


def _parse_line(raw: bytes, number: int) -> HttpCall:
    if len(raw) > MAX_LINE_BYTES:
        raise _LineError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        line = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _LineError(f"the line is not JSON: {error}") from error
    if not isinstance(line, dict):
        raise _LineError("the line is not a JSON object")
    if unknown := sorted(line.keys() - _FIELDS):
        raise _LineError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    method = _text(line, "method", _TOKEN, "GET").upper()
    path = _text(line, "path", _PATH, None)
    body, is_json = _body(line.get("body"))
    headers = _headers(line.get("headers", {}))
    if is_json and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("Content-Type", "application/json"))
    stream, name = line.get("stream"), line.get("name")
    if not (stream is None or (isinstance(stream, str) and stream)):
        raise _LineError("stream must be a text that is not empty, or absent for a barrier")
    if not (name is None or (isinstance(name, str) and name.strip() and name.isprintable())):
        raise _LineError("name must be a printable text")
    return HttpCall(
        number,
        name or f"{method} /{re.split('[/?]', path)[1]}",
        stream,
        method,
        path,
        headers,
        body,
        _expect(line.get("expect")),
        _text(line, "key", _TOKEN, "") or None,
        _whole(line, "at_ms"),
    )


def _text(line: dict[str, Any], name: str, form: re.Pattern[str], default: str | None) -> str:
    value = line.get(name, default)
    if value is None:
        raise _LineError(f"{name} is missing")
    if not isinstance(value, str) or (value != default and not form.fullmatch(value)):
        raise _LineError(f"{name} is not usable: {value!r}")
    return value


def _whole(line: dict[str, Any], name: str) -> int | None:
    value = line.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53):
        return value
    raise _LineError(f"{name} must be a whole number of milliseconds, not {value!r}")


def _body(value: Any) -> tuple[bytes, bool]:
    """Return a body and whether it is JSON: a string is sent as it is, anything else as JSON."""
    if value is None:
        return b"", False
    return (value.encode(), False) if isinstance(value, str) else (json.dumps(value).encode(), True)


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise _LineError("headers must be an object of names and values")
    for name, text in value.items():
        if not _TOKEN.fullmatch(name) or not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise _LineError(f"header {name!r} is not usable")
        if name.lower() in _OWN_HEADERS:
            raise _LineError(f"header {name} is the load generator's own")
    return tuple(value.items())


def _expect(value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    statuses = value if isinstance(value, list) else [value]
    if not statuses or not all(type(one) is int and 100 <= one <= 599 for one in statuses):
        raise _LineError(f"expect must be a status or a list of them, not {value!r}")
    return frozenset(statuses)
