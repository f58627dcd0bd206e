"""The interface as an OpenAPI 3.1 document, generated from the operations that are served and the fields they check.

python -m chalicelib.http.openapi > docs/openapi.json
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from chalicelib.http import schemas
from chalicelib.http.operations import (
    ACCOUNT,
    HEALTH,
    HISTORY,
    JSON,
    OPENAPI,
    OPERATIONS,
    PAGE,
    PRICE_HISTORY,
    PRICES,
    Field,
    Operation,
)
from chalicelib.http.page import asset_names
from chalicelib.http.problems import CONTENT_TYPE, PROBLEM_TYPE, STATUSES, problem
from chalicelib.http.schemas import Schema, an_object

VERSION = "1.0.0"
"""The version of the release; CHANGELOG.md says what stays stable within a major version."""

_ABOUT = """\
Money is a decimal string with two places; amounts in requests may also be JSON numbers. Times are milliseconds since
the Unix epoch, UTC.

Every failure is a problem (RFC 9457) with a stable `code`. After 503 `store_unavailable`, a 500, a 502 or no answer at
all a command may have been done: send it again only with the same `Idempotency-Key`, and it is executed once. After any
other failure nothing was changed. A repeated key gets the first outcome, marked `Idempotent-Replayed`.

A trader acts for itself only, an operator for anyone; a refusal says nothing of whether the account exists.
"""
_DESCRIPTIONS: Mapping[int, str] = {
    400: "The form of the request is wrong; the first thing wrong with it is named. A command that is wrong in a field "
    "stands in the audit log.",
    401: "No token, or one that does not prove who is asking.",
    403: "The token is good, but not for this.",
    404: "There is nothing at this path, or no such file.",
    405: "The path does not take this method.",
    409: "The command was rejected by the rules of trading, and stands in the audit log; but for `account_full`, when "
    "the database can hold no more of the account. After `dump_quota` only the log was not written. To send it "
    "again is in vain.",
    413: "The body is over 64 KiB, or what is asked for is over 5 MiB.",
    414: "The request line is over 8 KiB.",
    415: "The body is not application/json, or it is compressed.",
    422: "The idempotency key was used for another command.",
    429: "More commands, or more DUMPLOGs, than a trader may give in that time; operators have no limit.",
    501: "The body is in a transfer coding other than chunked, or the database cannot do what is asked until an "
    "operator has changed it. To send it again is in vain.",
    503: "A part of the system did not answer. Nothing is changed by reading: send it again.",
}
_OF_A_COMMAND: Mapping[int, str] = {
    503: "After `store_unavailable` the command may have been done: send it again only with the same "
    "`Idempotency-Key`. After any other code nothing was changed: send it again.",
}
_DETAILS: Mapping[str, str] = {
    "invalid_amount": "amount: must be greater than 0 and at most 1000000000.00",
    "unauthorized": "the token is not valid",
    "forbidden": "the token does not allow acting for this user",
    "insufficient_funds": "needs 280.00, has 12.50",
    "no_pending_buy": "there is no pending buy",
}
_NO_DETAIL = "what exactly was wrong"
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which it is worth trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
}
_REPLAYED = {
    "Idempotent-Replayed": {
        "description": "There when this is the first outcome of a key, repeated.",
        "schema": {"const": "true"},
    }
}
_HEADERS: Mapping[int, Mapping[str, Any]] = {
    200: _REPLAYED,
    400: _REPLAYED,
    401: {
        "WWW-Authenticate": {
            "description": "How to prove who is asking.",
            "required": True,
            "schema": {"type": "string", "pattern": "^Bearer "},
        }
    },
    405: {"Allow": {"description": "The methods that the path takes.", "required": True, "schema": {"type": "string"}}},
    409: _REPLAYED,
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}
_WITH_ETAG = (PAGE, ACCOUNT)
_ETAG = {"ETag": {"description": "For `If-None-Match`.", "required": True, "schema": {"type": "string"}}}
_NEXT = {"X-Next-Before": {"description": "Of CSV: `before` of the next page.", "schema": schemas.SEQUENCE}}
_OF_READS = {PAGE.name: _ETAG, ACCOUNT.name: _ETAG, HISTORY.name: _NEXT}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "user": {"name": "user", "in": "path", "required": True, "schema": schemas.USER},
    "symbol": {"name": "symbol", "in": "path", "required": True, "schema": schemas.SYMBOL},
    "version": {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "Of all files of the page together; the page names it.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{12}$", "examples": ["0123456789ab"]},
    },
    "name": {"name": "name", "in": "path", "required": True, "schema": {"enum": asset_names()}},
    **{
        given.name: {"name": given.name, "in": "query", "required": given.required, "schema": given.schema}
        for operation in OPERATIONS
        for given in operation.query
    },
    "key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key with the same command is executed once. A user's last 1,024 are known.",
        "schema": schemas.KEY,
    },
    "transaction": {
        "name": "X-Transaction-Num",
        "in": "header",
        "description": "The number that names the command in the audit log; made by the system when it is not given.",
        "schema": schemas.TRANSACTION,
    },
    "match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of what the client has: 304 if it is still that.",
        "schema": {"type": "string", "examples": ['"17"']},
    },
}


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Day trading", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": ".", "description": "Where this document came from."}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "parameters": _PARAMETERS,
            "responses": _shared_failures(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Claims: the user, its role (`trader` or `operator`), `exp`.",
                }
            },
        },
    }


@cache
def document_text() -> str:
    """Return the document's text, as served and as committed."""
    return json.dumps(document(), indent=1) + "\n"


def codes_of(operation: Operation) -> Mapping[int, tuple[str, ...]]:
    """Return the problem codes that an operation may return, by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(_codes(operation)):
        by_status.setdefault(STATUSES[code], []).append(code)
    return {status: tuple(codes) for status, codes in sorted(by_status.items())}


def _codes(operation: Operation) -> Iterator[str]:
    yield from ("not_found", "method_not_allowed", "too_large", "uri_too_long", "invalid_header")
    yield from ("unsupported_media_type", "not_supported", "server_busy")
    if operation is HEALTH:
        yield from ("store_unavailable", "clock_skew", "unknown_data_version")
    if operation.public:
        return
    if "{user}" in operation.path:
        yield "invalid_user"
    if "{symbol}" in operation.path:
        yield "invalid_symbol"
    if "{user}" in operation.path or operation.of_all:
        yield "forbidden"
    yield from ("unauthorized", "rate_limited")
    yield from (
        "store_unavailable",
        "auth_unavailable",
        "unknown_data_version",
        "index_conflict",
        *(("quote_unavailable",) if operation.is_priced or operation is PRICE_HISTORY else ()),
        *(("clock_skew",) if operation.command is not None or operation is PRICES else ()),
    )
    if any(given.required for given in operation.query):
        yield "missing_field"
    yield from (given.code for given in operation.query)
    if operation.command is None:
        return
    yield from ("idempotency_key_reused", "too_late", "account_full")
    if operation.method == "POST":
        yield from ("invalid_json", "unknown_field")
    if any(given.required for given in operation.fields):
        yield "missing_field"
    yield from (given.code for given in operation.fields)
    yield from operation.rejections


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    names = [name for name in ("user", "symbol", "version", "name") if f"{{{name}}}" in operation.path]
    names += [given.name for given in operation.query]
    if operation.command is not None:
        names += ["key", "transaction"]
    if operation in _WITH_ETAG:
        names.append("match")
    if operation.public:
        described["security"] = []
    if names:
        described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    if operation.method == "POST":
        described["requestBody"] = _request_body(operation.fields)
    unchanged = {"304": {"description": "It is still what the client has.", "headers": _ETAG}}
    described["responses"] = {"200": _success(operation), **(unchanged if operation in _WITH_ETAG else {})} | {
        str(status): {"$ref": f"#/components/responses/{codes[0]}"}
        if len(codes) == 1
        else _failure(status, codes, operation)
        for status, codes in codes_of(operation).items()
    }
    return described


def _shared_failures() -> dict[str, Any]:
    """Return the failures with a single code, which many operations share, by code."""
    answers = [(*item, operation) for operation in OPERATIONS for item in codes_of(operation).items()]
    return {
        codes[0]: _failure(status, codes, operation)
        for status, codes, operation in sorted(answers, key=lambda answer: answer[:2])
        if len(codes) == 1
    }


def _request_body(fields: Iterable[Field]) -> dict[str, Any]:
    properties = {given.name: given.schema for given in fields}
    optional = frozenset(given.name for given in fields if not given.required)
    example = {name: schema["examples"][0] for name, schema in properties.items()}
    content = {JSON: {"schema": an_object(properties, optional), "example": example}}
    return {"required": len(optional) < len(properties), "content": content}


def _success(operation: Operation) -> dict[str, Any]:
    told = _OF_READS.get(operation.name) if operation.command is None else _HEADERS[200]
    headers = {"headers": told} if told else {}
    files: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in operation.media_types if kind != JSON}
    if JSON not in operation.media_types:
        return {"description": "The file.", **headers, "content": files}
    schema = _answer(operation)
    example = {name: _example(inner) for name, inner in schema["properties"].items()}
    content: dict[str, Any] = {"schema": schema}
    if operation is not OPENAPI:
        content["example"] = example
    description = "It is done." if operation.command else "The answer."
    return {"description": description, **headers, "content": {JSON: content, **files}}


def _answer(operation: Operation) -> dict[str, Any]:
    if operation is HEALTH:
        down = {"type": "array", "items": {"type": "string"}, "description": "What commands do without."}
        return an_object({"status": {"enum": ["ok", "degraded"]}, "down": down}, optional=frozenset({"down"}))
    if operation is OPENAPI:
        return {"type": "object", "properties": {"openapi": {"const": "3.1.0"}}, "required": ["openapi"]}
    if operation.command is None:
        return an_object(operation.answer, operation.optional)
    common: dict[str, Schema] = {
        "transaction": schemas.TRANSACTION,
        "command": {"const": str(operation.command)},
        "user": schemas.USER,
        "cash": schemas.MONEY,
    }
    return an_object({**common, **operation.answer}, operation.optional)


def _failure(status: int, codes: tuple[str, ...], operation: Operation) -> dict[str, Any]:
    schema = an_object(
        {
            "type": {"type": "string", "pattern": f"^{PROBLEM_TYPE}[a-z_]+$"},
            "title": {"type": "string"},
            "status": {"const": status},
            "detail": {"type": "string"},
            "code": {"type": "string", "enum": list(codes)},
        }
    )
    shown = next((code for code in codes if code in _DETAILS), codes[0])
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    content = {CONTENT_TYPE: {"schema": schema, "example": problem(shown, _DETAILS.get(shown, _NO_DETAIL))}}
    special = {} if operation.command is None else _OF_A_COMMAND
    return {"description": special.get(status, _DESCRIPTIONS[status]), **headers, "content": content}


def _example(schema: Schema) -> Any:
    """Return an example value of a schema, from the examples of its parts."""
    if "const" in schema:
        return schema["const"]
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "object":
        return {name: _example(inner) for name, inner in schema["properties"].items()}
    if kind == "array":
        return [_example(schema["items"])]
    return None if isinstance(kind, list) else {"boolean": True, "string": "..."}[kind]


if __name__ == "__main__":
    sys.stdout.write(document_text())
