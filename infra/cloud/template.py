"""Applies the stack's parameters to the part of the template that Chalice writes."""

from typing import Any

CORS_PLACEHOLDER = "https://origin.invalid"
"""The origin given to Chalice, which the parameter replaces."""

_NOTHING = {"Ref": "AWS::NoValue"}
_SUB = "Fn::Sub"


def finish(template: Any, runtime: str, architecture: str) -> Any:
    """Return Chalice's template with the runtime and, if it has our resources, what depends on their parameters."""
    resources = template["Resources"]
    for resource in resources.values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"] |= {"Runtime": runtime, "Architectures": [architecture]}
    if "Globals" in template:
        for path in resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"].values():
            for method, operation in path.items():
                _call_the_alias(operation["x-amazon-apigateway-integration"])
                path[method] = _for_cors(operation) if method == "options" else operation
        source = resources["APIHandlerInvokePermission"]["Properties"]["SourceArn"][_SUB]
        source[0] = source[0].replace("${RestAPIId}/*", "${RestAPIId}/api/*")
    return template


def _call_the_alias(integration: Any) -> None:
    """Call the version behind the alias, which a rollout changes."""
    uri = integration.get("uri")
    if uri is not None:
        uri[_SUB] = [uri[_SUB].replace("${APIHandler.Arn}", "${Live}"), {"Live": {"Ref": "APIHandler.Alias"}}]


def _for_cors(operation: Any) -> Any:
    """Answer preflight requests for the parameter's origin, or none without one."""
    given = operation["x-amazon-apigateway-integration"]["responses"]["default"]["responseParameters"]
    given["method.response.header.Access-Control-Allow-Origin"] = {_SUB: "'${CorsOrigin}'"}
    return {"Fn::If": ["HasCors", operation, _NOTHING]}
