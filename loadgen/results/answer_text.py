"""An answer as text: the outcome of a command and the fields of its answer, one per line."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from loadgen.client.retry import Outcome, parse_object

_TOLD = {"command", "user"}
"""Fields that the line above the answer already shows."""

_TIMES = {"timestamp", "expires_at", "valid_until"}
_NOT_DONE = frozenset(
    {"connect", "quote_unavailable", "clock_skew", "auth_unavailable", "too_late", "unknown_data_version"}
    | {"rate_limited", "unauthorized", "forbidden", "not_found", "method_not_allowed", "too_large"}
    | {
        "unsupported_media_type",
        "not_supported",
        "index_conflict",
        "http_401",
        "http_403",
        "http_404",
        "http_405",
        "http_429",
    }
)
"""Reasons for no final answer after which nothing was changed for certain."""


def as_text(line: str, outcome: Outcome, key: str) -> Iterator[str]:
    """Yield the lines to print for a command (`line`), sent with a key, and its outcome."""
    if outcome.code == "ok":
        yield f"{line}: ok{_tries(outcome)}"
        body = parse_object(outcome.body) or {}
        for name, value in body.items():
            if name not in _TOLD and value is not None:
                yield from (f"  {shown}" for shown in _shown(name, value))
        return
    what = "rejected" if outcome.final else "no final answer"
    yield f"{line}: {what}, {outcome.code}{_tries(outcome)}"
    detail = (parse_object(outcome.body) or {}).get("detail") or outcome.said
    if detail:
        yield f"  {detail}"
    if not outcome.final and not _NOT_DONE.issuperset((outcome.code, *outcome.reasons)):
        yield f"  it may have been done: send it again only with the same key, --key {key}"


def as_json(line: str, outcome: Outcome, key: str) -> str:
    """Return everything about an outcome as a line of JSON."""
    return json.dumps(
        {
            "sent": line,
            "key": key,
            "final": outcome.final,
            "status": outcome.status,
            "code": outcome.code,
            "tries": outcome.tries,
            "latency_ms": round(outcome.latency_us / 1000, 3),
            "said": outcome.said or None,
            "answer": parse_object(outcome.body),
        }
    )


def _tries(outcome: Outcome) -> str:
    replayed = ", as answered before" if outcome.replayed else ""
    return f" after {outcome.tries} tries{replayed}" if outcome.tries > 1 else replayed


def _shown(name: str, value: Any) -> Iterator[str]:
    """Yield the lines of a field: a list of objects has one line for each, anything else is on one line."""
    if isinstance(value, list):
        yield f"{name}: {'' if value else 'none'}".rstrip()
        yield from (f"  {_inline('', entry)}" for entry in value)
    else:
        yield f"{name}: {_inline(name, value)}"


def _inline(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        parts = (f"{key} {_inline(key, inner)}" for key, inner in value.items() if inner is not None)
        return ", ".join(parts) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _TIMES and isinstance(value, int):
        with suppress(ValueError, OverflowError, OSError):  # a quote server's time may be any number
            moment = datetime.fromtimestamp(value / 1000, UTC)
            return f"{moment:%Y-%m-%d %H:%M:%S}.{value % 1000:03d} UTC"
    return str(value)
