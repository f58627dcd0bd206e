"""Turns requests into commands: checks headers, parameters and body, and names the first wrong one (docs/api.md)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from chalice.app import Request

from chalicelib.domain.commands import MAX_TRANSACTION, Command, Refusal
from chalicelib.domain.errors import FieldError
from chalicelib.domain.money import spell_decimal
from chalicelib.domain.names import MAX_FILENAME_BYTES
from chalicelib.http.errors import (
    InvalidHeaderError,
    InvalidJsonError,
    MissingFieldError,
    TooLargeError,
    UnknownFieldError,
    UnsupportedMediaTypeError,
)
from chalicelib.http.operations import FILENAME, SYMBOL, Field, Operation
from chalicelib.http.schemas import MAX_KEY_LENGTH

MAX_BODY_BYTES = 64 * 1024
ONCE = frozenset({"host", "authorization", "idempotency-key", "x-transaction-num", "content-length", "content-type"})
"""Headers that may be given only once."""

MAX_OFFENDING_LENGTH = 64
"""How much of an offending value an error quotes (docs/rules.md section 6)."""


def read_command(
    request: Request,
    operation: Operation,
    user: str,
    new_transaction: Callable[[], int],
    symbol: str | None = None,
) -> Command:
    """Return a request's command; if a field is wrong, the command has a refusal.

    `user` is already checked; `symbol` is the one in the path, if any. Raises a RequestError if there is no command: a
    bad header, or a body that is not a JSON object (docs/rules.md section 6).
    """
    assert operation.command is not None
    key = read_key(request.headers.get("idempotency-key"))
    transaction = read_transaction(request.headers.get("x-transaction-num"))
    body = read_body(request) if operation.method == "POST" else {}
    parameters, refusal = read_fields(operation, body, symbol)
    return Command(
        name=operation.command,
        user=user,
        transaction=new_transaction() if transaction is None else transaction,
        of_all=operation.of_all,
        key=key,
        refusal=refusal,
        **parameters,
    )


def check_headers(request: Request) -> None:
    """Raise InvalidHeaderError for a header that must be given once and was given more often.

    Of several values API Gateway passes on the last, other servers the first: a key would name two commands.
    """
    given: Mapping[str, list[str]] = request.to_original_event().get("multiValueHeaders") or {}
    if sum(map(len, given.values())) == len(request.headers):  # as many values as names: no header has two
        return
    seen: set[str] = set()
    for name, values in given.items():
        lower = name.lower()
        if lower in ONCE and (len(values) > 1 or lower in seen):
            raise InvalidHeaderError(lower, "given more than once")
        seen.add(lower)


def arrived_ms(request: Request) -> int | None:
    """Return when the first server received the request, in ms since the epoch, or None if that is not known.

    API Gateway and our own servers set it (`requestContext.requestTimeEpoch`); `chalice local` does not.
    """
    arrived = request.context.get("requestTimeEpoch")
    return arrived if isinstance(arrived, int) else None


def read_fields(
    operation: Operation, body: Mapping[str, Any], symbol: str | None
) -> tuple[dict[str, Any], Refusal | None]:
    """Return the valid parameters of a command, and its refusal: the first thing wrong with its fields."""
    given: list[tuple[Field, object]] = [] if symbol is None else [(SYMBOL, symbol)]
    names = {wanted.name for wanted in operation.fields}
    refusals = [
        _refusal(UnknownFieldError(_storable(name[:MAX_OFFENDING_LENGTH]), f"{operation.command} has no such field"))
        for name in body
        if name not in names
    ]
    for wanted in operation.fields:
        if wanted.name in body:
            given.append((wanted, body[wanted.name]))
        elif wanted.required:
            refusals.append(_refusal(MissingFieldError(wanted.name, f"{operation.command} needs this field")))
    parameters: dict[str, Any] = {}
    funds = None
    for wanted, value in given:
        try:
            parameters[wanted.parameter] = wanted.parse(value, wanted.name)
        except FieldError as error:
            refusals.append(_refusal(error, value))
            if wanted is FILENAME and (filename := _recordable(value)):
                parameters[wanted.parameter] = filename
            if wanted.parameter == "amount_cents":
                funds = spell_decimal(value)
    return parameters, replace(refusals[0], funds=funds) if refusals else None


def _refusal(error: FieldError, value: object = None) -> Refusal:
    """Return a refusal that quotes the offending text, truncated."""
    if value is None:
        return Refusal(error.code, str(error))
    if isinstance(value, WrittenNumber):
        text = value.written
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    return Refusal(error.code, f"{error}, got {text[:MAX_OFFENDING_LENGTH]!r}")


def _recordable(filename: object) -> str | None:
    """Return an invalid file name if it can be recorded: it must be a string of a permitted length."""
    if not isinstance(filename, str) or len(filename.encode("utf-8", "replace")) > MAX_FILENAME_BYTES:
        return None
    return _storable(filename)


def _storable(text: str) -> str:
    """Return text that can be written as UTF-8: JSON may have half of a surrogate pair, which becomes a `?`."""
    return text.encode("utf-8", "replace").decode()


def read_query(request: Request, operation: Operation) -> Mapping[str, Any]:
    """Return the query parameters, None for missing ones; raises a RequestError for the first that is wrong."""
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

    Raises InvalidJsonError for anything else: not UTF-8, a duplicate name, NaN, nesting that is too deep.
    """
    try:
        parsed = _decoder.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidJsonError(f"the body is not valid JSON: {reason[:200]}") from error
    if not isinstance(parsed, dict):
        raise InvalidJsonError("the body must be a JSON object")
    return parsed


class WrittenNumber(Decimal):
    """A JSON number that is no int, and how it was written."""

    written: str


def _parse_number(text: str) -> WrittenNumber:
    try:
        number = WrittenNumber(text)
    except ArithmeticError:  # no Decimal has such an exponent: it is too large, or has too many places
        number = WrittenNumber("1e-999" if "e-" in text.lower() else "1e999")
    number.written = text
    return number


def _parse_int(text: str) -> int | Decimal:
    # Python refuses to make an int of more than 4,300 digits; as a Decimal it is just an amount that is too large.
    return int(text) if len(text) < 32 else _parse_number(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    if len(parsed) != len(pairs):
        raise ValueError("a name is given twice")
    return parsed


# One for all requests: creating a decoder costs more than decoding a small body.
_decoder = json.JSONDecoder(
    parse_float=_parse_number,
    parse_int=_parse_int,
    parse_constant=_refuse_constant,
    object_pairs_hook=_refuse_twice,
)
