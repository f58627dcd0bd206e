"""From a request to a command: headers, parameters and body are checked, the first bad one is named (API.md)."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from chalice.app import Request

from chalicelib.domain.commands import MAX_TRANSACTION, Command
from chalicelib.domain.names import parse_symbol
from chalicelib.http.errors import (
    InvalidHeaderError,
    InvalidJsonError,
    MissingFieldError,
    TooLargeError,
    UnknownFieldError,
    UnsupportedMediaTypeError,
)
from chalicelib.http.operations import Operation
from chalicelib.http.schemas import MAX_KEY_LENGTH

MAX_BODY_BYTES = 64 * 1024
ONCE = frozenset({"host", "authorization", "idempotency-key", "x-transaction-num", "content-length", "content-type"})
"""Headers that a request may have once."""


def read_command(
    request: Request,
    operation: Operation,
    user: str,
    new_transaction: Callable[[], int],
    symbol: str | None = None,
) -> Command:
    """Return the command that a request gives; raises a RequestError that names the first thing wrong with it.

    `user` is checked already; `symbol` is that of the path, where there is one.
    """
    assert operation.command is not None
    key = read_key(request.headers.get("idempotency-key"))
    transaction = read_transaction(request.headers.get("x-transaction-num"))
    parameters: dict[str, Any] = {} if symbol is None else {"symbol": parse_symbol(symbol)}
    body = read_body(request) if operation.method == "POST" else {}
    for given in body:
        if all(given != wanted.name for wanted in operation.fields):
            raise UnknownFieldError(str(given)[:64], f"{operation.command} has no such field")
    for wanted in operation.fields:
        if wanted.name not in body:
            if not wanted.required:
                continue
            raise MissingFieldError(wanted.name, f"{operation.command} needs this field")
        parameters[wanted.parameter] = wanted.parse(body[wanted.name], wanted.name)
    return Command(
        name=operation.command,
        user=user,
        transaction=new_transaction() if transaction is None else transaction,
        of_all=operation.of_all,
        key=key,
        **parameters,
    )


def check_headers(request: Request) -> None:
    """Raise InvalidHeaderError for a header that may be given once and was given more often.

    Of several values API Gateway hands on the last one, and other servers the first: a key would name two commands.
    """
    seen: set[str] = set()
    given: Mapping[str, list[str]] = request.to_original_event().get("multiValueHeaders") or {}
    for name, values in given.items():
        lower = name.lower()
        if lower in ONCE and (len(values) > 1 or lower in seen):
            raise InvalidHeaderError(lower, "given more than once")
        seen.add(lower)


def arrived_ms(request: Request) -> int | None:
    """Return when whoever received the request first did so, in ms since the epoch; None where nobody says.

    API Gateway and our own servers do (`requestContext.requestTimeEpoch`), `chalice local` does not.
    """
    arrived = request.context.get("requestTimeEpoch")
    return arrived if isinstance(arrived, int) else None


def read_query(request: Request, operation: Operation) -> Mapping[str, Any]:
    """Return the query parameters, None for one left out; raises a RequestError that names the first thing wrong."""
    given: Mapping[str, str] = request.query_params or {}
    for wanted in operation.query:
        if wanted.required and wanted.name not in given:
            raise MissingFieldError(wanted.name, "missing query parameter")
    return {
        wanted.parameter: wanted.parse(given[wanted.name], wanted.name) if wanted.name in given else None
        for wanted in operation.query
    }


def read_key(value: str | None) -> str | None:
    """Return an idempotency key; raises InvalidHeaderError unless it is 1 to 128 printable ASCII characters."""
    if value is None:
        return None
    if not 1 <= len(value) <= MAX_KEY_LENGTH or not (value.isascii() and value.isprintable()):
        raise InvalidHeaderError("Idempotency-Key", "must be 1 to 128 printable ASCII characters")
    return value


def read_transaction(value: str | None) -> int | None:
    """Return a transaction number; raises InvalidHeaderError unless it is a positive integer of 63 bits."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 19 and 0 < int(value) <= MAX_TRANSACTION):
        raise InvalidHeaderError("X-Transaction-Num", f"must be a whole number from 1 to {MAX_TRANSACTION}")
    return int(value)


def read_body(request: Request) -> Mapping[str, Any]:
    """Return the JSON object of a body, numbers as int or Decimal; an empty body is an empty object."""
    raw = request.raw_body
    body = raw.encode() if isinstance(raw, str) else raw
    if len(body) > MAX_BODY_BYTES:
        raise TooLargeError(f"the body is over {MAX_BODY_BYTES} bytes")
    if not body:
        return {}
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("the body must be application/json")
    return parse_object(body)


def parse_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in `body`.

    Raises InvalidJsonError for anything else: not UTF-8, a name given twice, NaN, nesting that is too deep, a number
    that no amount could be.
    """
    try:
        parsed = _decoder.decode(body.decode("utf-8"))
    except (ValueError, ArithmeticError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidJsonError(f"the body is not valid JSON: {reason[:200]}") from error
    if not isinstance(parsed, dict):
        raise InvalidJsonError("the body must be a JSON object")
    return parsed


def _parse_int(text: str) -> int | Decimal:
    # Python refuses to make an int of more than 4,300 digits; as a Decimal it is simply an amount that is too large.
    return int(text) if len(text) < 32 else Decimal(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ValueError("a name is given twice")
    return parsed


# One for all requests: making a decoder costs more than reading a small body with it.
_decoder = json.JSONDecoder(
    parse_float=Decimal,
    parse_int=_parse_int,
    parse_constant=_refuse_constant,
    object_pairs_hook=_refuse_twice,
)
