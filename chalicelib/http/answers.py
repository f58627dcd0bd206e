"""From an outcome to a response (API.md)."""

import json
from collections.abc import Mapping
from typing import Any

from chalice.app import Response

from chalicelib.domain.journal import OK
from chalicelib.domain.money import format_cents
from chalicelib.http.problems import problem_response
from chalicelib.trading import Answer

_CENTS = "_cents"


def answer_response(answer: Answer) -> Response:
    """Return a command's outcome: 200 with what it did, or 409 with why it was rejected."""
    entry = answer.entry
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else {}
    if entry.outcome != OK:
        return problem_response(entry.outcome, entry.message or entry.outcome, headers)
    body = {
        "transaction": entry.transaction,
        "command": entry.command,
        "user": answer.user,
        "cash_cents": entry.cash_cents,
        **answer.result,
    }
    return json_response(on_the_wire(body), headers)


def json_response(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a success with a JSON body."""
    text = json.dumps(body, separators=(",", ":"))
    return Response(body=text, status_code=200, headers={"Content-Type": "application/json", **(headers or {})})


def on_the_wire(value: Any) -> Any:
    """Return a result as clients see it: `price_cents: 1250` becomes `price: "12.50"`, at every depth."""
    if isinstance(value, Mapping):
        return dict(_member(name, inner) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return [on_the_wire(inner) for inner in value]
    return value


def _member(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith(_CENTS):
        return name.removesuffix(_CENTS), None if value is None else format_cents(value)
    return name, on_the_wire(value)
