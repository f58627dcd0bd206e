"""moto's server, which takes what Chalice imports into API Gateway: `python moto_server.py -p PORT`.

API Gateway takes Swagger 2.0, as Chalice writes it; moto takes OpenAPI 3 only, wants a description, and a target
for the mock integrations that answer preflights. Nothing else is changed on the way.

moto's CloudFormation does everything at once and never fails. A template whose metadata has `Test: fails` or
`Test: lasts` is one that CloudFormation rolls back, or is not done with yet.
"""

from functools import wraps
from typing import Any

import yaml  # type: ignore[import-untyped]
from moto import server
from moto.apigateway.models import APIGatewayBackend
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.s3.responses import S3Response

_MOCK = {"uri": "mock", "httpMethod": "POST"}


def as_moto_takes_it(document: dict[str, Any]) -> dict[str, Any]:
    """Return an imported document in the form that moto accepts."""
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


def _may_fail_or_last() -> None:
    original = CloudFormationBackend.execute_change_set

    def execute(self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None) -> None:
        sets = self.change_sets
        change_set = next(
            found for found in sets.values() if change_set_name in {found.change_set_id, found.change_set_name}
        )
        wish = yaml.safe_load(change_set.template).get("Metadata", {}).get("Test")
        stack = self.stacks[change_set.stack_id]
        if wish is None:
            original(self, change_set_name, stack_name)
            stack.template_dict = change_set.template_dict  # moto forgets what a change set has set
            stack.output_map = stack._create_output_map()
            resolved = stack.resource_map.resolved_parameters
            stack.parameters = {name: resolved[name] for name in stack.template_dict.get("Parameters", {})}
            return
        kind = change_set.change_set_type
        rolled_back = "ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
        story: list[tuple[str, str, str | None]] = [(stack.name, f"{kind}_IN_PROGRESS", "User Initiated")]
        if wish == "fails":
            story += [
                ("Logs", f"{kind}_FAILED", "that bucket already exists"),
                ("Topic", f"{kind}_FAILED", "Resource creation cancelled"),
                (
                    stack.name,
                    rolled_back.replace("COMPLETE", "IN_PROGRESS"),
                    "The following resource(s) failed: [Logs]",
                ),
                (stack.name, rolled_back, None),
            ]
        for name, status, reason in story:
            stack._add_stack_event(status, reason)
            stack.events[-1].logical_resource_id = name
        stack.status = story[-1][1]

    CloudFormationBackend.execute_change_set = execute  # type: ignore[method-assign]


def _protect_stacks() -> None:
    """Support the protection of stacks from removal, which moto lacks."""

    def protect(self: CloudFormationResponse) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        stack.enable_termination_protection = self._get_param("EnableTerminationProtection") in {True, "true"}
        return ActionResult({"StackId": stack.stack_id})

    original = CloudFormationBackend.delete_stack

    def delete(self: CloudFormationBackend, name_or_stack_id: str) -> None:
        if getattr(self.get_stack(name_or_stack_id), "enable_termination_protection", False):
            said = f"Stack [{name_or_stack_id}] cannot be deleted while TerminationProtection is enabled"
            raise ValidationError(name_or_stack_id, said)
        original(self, name_or_stack_id)

    CloudFormationResponse.update_termination_protection = protect  # type: ignore[attr-defined]  # moto has none
    CloudFormationBackend.delete_stack = delete  # type: ignore[method-assign]


def _tell_owners_apart() -> None:
    """Answer 403 to a HEAD of a bucket that names another account as owner, as S3 does and moto does not."""
    original = S3Response.head_bucket

    def head(self: S3Response) -> Any:
        if self.headers.get("x-amz-expected-bucket-owner", self.current_account) != self.current_account:
            return 403, {}, ""
        return original(self)

    S3Response.head_bucket = head  # type: ignore[method-assign]


if __name__ == "__main__":
    _tell_owners_apart()
    _may_fail_or_last()
    _protect_stacks()
    _translate("import_rest_api", 1)
    _translate("put_rest_api", 2)
    server.main()
