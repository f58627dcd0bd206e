"""Turns outcomes into responses (docs/api.md)."""

from collections.abc import Mapping
from typing import Any

from chalice.app import Response

from chalicelib.domain.journal import OK
from chalicelib.domain.money import format_cents
from chalicelib.http.problems import encode, problem_response
from chalicelib.service.trading import Answer

_CENTS = "_cents"


def answer_response(answer: Answer) -> Response:
    """Return a command's outcome: 200 with its result, or why it was rejected (409) or refused (400)."""
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
    return Response(body=encode(body), status_code=200, headers={"Content-Type": "application/json", **(headers or {})})


def on_the_wire(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as clients see it: `price_cents: 1250` becomes `price: "12.50"`, at every depth."""
    shown: dict[str, Any] = {}
    for name, value in result.items():
        if name.endswith(_CENTS):
            shown[name[: -len(_CENTS)]] = None if value is None else format_cents(value)
        elif isinstance(value, dict):
            shown[name] = on_the_wire(value)
        elif isinstance(value, list):
            shown[name] = [on_the_wire(inner) if isinstance(inner, dict) else inner for inner in value]
        else:
            shown[name] = value
    return shown
