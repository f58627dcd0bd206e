"""moto's server, which takes what Chalice imports into API Gateway: `python moto_server.py -p PORT`.

API Gateway takes Swagger 2.0, as Chalice writes it; moto takes OpenAPI 3 only, wants a description, and a target
for the mock integrations that answer preflights. Nothing else is changed on the way.
"""

from functools import wraps
from typing import Any

from moto import server
from moto.apigateway.models import APIGatewayBackend

_MOCK = {"uri": "mock", "httpMethod": "POST"}


def as_moto_takes_it(document: dict[str, Any]) -> dict[str, Any]:
    """Return an imported document in the form that moto knows."""
    document = {name: value for name, value in document.items() if name != "swagger"}
    document |= {"openapi": "3.0.1", "info": {"description": "", **document["info"]}}
    for path in document["paths"].values():
        for method in path.values():
            integration = method.get("x-amazon-apigateway-integration") if isinstance(method, dict) else None
            if integration is not None:
                integration |= {name: value for name, value in _MOCK.items() if name not in integration}
    return document


def _translate(name: str, position: int) -> None:
    original = getattr(APIGatewayBackend, name)

    @wraps(original)
    def method(*arguments: Any, **named: Any) -> Any:
        given = list(arguments)
        if "api_doc" in named:
            named["api_doc"] = as_moto_takes_it(named["api_doc"])
        else:
            given[position] = as_moto_takes_it(given[position])
        return original(*given, **named)

    setattr(APIGatewayBackend, name, method)


if __name__ == "__main__":
    _translate("import_rest_api", 1)
    _translate("put_rest_api", 2)
    server.main()
