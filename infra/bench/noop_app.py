"""An app with the real routes that does nothing: the cost of the server and the framework, and their limit."""

from typing import Any

from chalice.app import Chalice

from chalicelib.http.operations import OPERATIONS
from infra.servers.gateway.problems import HttpAnswer
from infra.servers.gateway.requests import HttpRequest

_ANSWER = {
    "command": "ADD",
    "user": "somebody",
    "cash": "63511.53",
    "symbol": "ABC",
    "shares": 12,
    "price": "10.00",
    "cost": "120.00",
    "expires_at": 1_790_000_000_000,
}
_BYTES = (
    b'{"command":"ADD","user":"somebody","cash":"63511.53","symbol":"ABC","shares":12,"price":"10.00",'
    b'"cost":"120.00","expires_at":1790000000000}'
)
_WHOLE = HttpAnswer(200, [("Content-Type", "application/json")], _BYTES)

app = Chalice(app_name="nothing", configure_logs=False)


def _nothing(**_parameters: str) -> dict[str, Any]:
    return dict(_ANSWER)


for _operation in OPERATIONS:
    app.route(_operation.path, methods=[_operation.method], name=_operation.name)(_nothing)


class _Bare:
    def answer(self, request: HttpRequest) -> HttpAnswer:  # noqa: ARG002  # the same for all
        """Answer at once, without adapter and framework."""
        return _WHOLE


bare = _Bare()
