"""Failures as problem+json (RFC 9457): every error has one status and one stable code (docs/api.md)."""

import json
from collections.abc import Mapping
from typing import Any

from chalice.app import Response

from chalicelib.access.errors import RateLimitedError
from chalicelib.domain.errors import RejectedError, TradingError, UnavailableError
from chalicelib.http.errors import MethodNotAllowedError

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""Returns JSON text; one shared encoder, because making one costs as much as a small answer."""

CONTENT_TYPE = "application/problem+json"
PROBLEM_TYPE = "urn:day-trading:problem:"

STATUSES: Mapping[str, int] = {
    "invalid_amount": 400,
    "invalid_symbol": 400,
    "invalid_user": 400,
    "invalid_filename": 400,
    "invalid_order": 400,
    "invalid_query": 400,
    "invalid_header": 400,
    "invalid_json": 400,
    "missing_field": 400,
    "unknown_field": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    **dict.fromkeys(RejectedError.CODES, 409),
    "account_full": 409,
    "dump_quota": 409,
    "too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "rate_limited": 429,
    "internal_error": 500,
    "index_conflict": 501,
    "not_supported": 501,
    "bad_gateway": 502,
    "server_busy": 503,
    "quote_unavailable": 503,
    "store_unavailable": 503,
    "auth_unavailable": 503,
    "clock_skew": 503,
    "unknown_data_version": 503,
    "too_late": 503,
}
"""The status of every code."""


UNCHANGED = "nothing was changed, send it again"
UNKNOWN = "it may have been done: send it again only with the same Idempotency-Key"
UNKNOWN_CODES = frozenset({"store_unavailable", "internal_error", "bad_gateway"})
"""Failures with which a command may have been executed (docs/rules.md section 3); any other changed nothing."""


def consequence(code: str, *, is_command: bool = True) -> str:
    """Return what a 5xx failure means for the command, or the read, that it answers."""
    if not is_command:
        return "nothing is changed by reading, send it again"
    return UNKNOWN if code in UNKNOWN_CODES else UNCHANGED


_ABBREVIATED: Mapping[str, str] = {"invalid_json": "Invalid JSON", "uri_too_long": "URI too long"}


def problem(code: str, detail: str) -> dict[str, Any]:
    """Return the members of a problem."""
    return {
        "type": f"{PROBLEM_TYPE}{code}",
        "title": _ABBREVIATED.get(code) or code.replace("_", " ").capitalize(),
        "status": STATUSES[code],
        "detail": detail,
        "code": code,
    }


def problem_body(code: str, detail: str) -> str:
    """Return the JSON text of a problem."""
    return encode(problem(code, detail))


def problem_response(code: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a failure; `headers` are added to its Content-Type."""
    return Response(
        body=problem_body(code, detail),
        status_code=STATUSES[code],
        headers={"Content-Type": CONTENT_TYPE, **(headers or {})},
    )


def error_response(error: TradingError, *, is_command: bool = True) -> Response:
    """Return the response for an error, with its headers."""
    headers, detail = {}, str(error)
    if isinstance(error, UnavailableError):
        detail = f"{detail}; {consequence(error.code, is_command=is_command)}"
    if isinstance(error, UnavailableError | RateLimitedError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, MethodNotAllowedError):
        headers["Allow"] = ", ".join(error.allowed)
    if error.code == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer realm="day-trading"'
    return problem_response(error.code, detail, headers)
