"""The packaged template as CloudFormation reads it: AWS's own translator, then conditions and references."""

import copy
import re
from collections.abc import Mapping
from typing import Any

import boto3  # type: ignore[import-untyped]
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

from infra.cloud.artifact import CODE
from infra.cloud.stack import parameters

_POLICIES = {"AWSCodeDeployRoleForLambda": "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda"}


def expand(template: Any, given: Mapping[str, str]) -> Any:
    """Return the template without its transform, as AWS's translator writes it for these parameters."""
    sent = copy.deepcopy(template)
    for resource in sent["Resources"].values():
        if resource.get("Properties", {}).get("CodeUri") == f"./{CODE}":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    values = _values(sent, given)
    translator = Translator(_POLICIES, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return translator.translate(sent, values)


def _values(template: Any, given: Mapping[str, str]) -> dict[str, str]:
    defaults = {name: str(found.get("Default", "")) for name, found in template["Parameters"].items()}
    return defaults | {found["ParameterKey"]: found["ParameterValue"] for found in parameters(template, given, {})}


class Made:
    """The resources of a stack with a given name, with conditions, references and texts resolved."""

    def __init__(self, expanded: Any, given: Mapping[str, str], stack: str) -> None:
        self._conditions = expanded["Conditions"]
        self._values = _values(expanded, given) | {
            "AWS::StackName": stack,
            "AWS::Region": "us-east-1",
            "AWS::AccountId": "123456789012",
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
        }
        self._all = expanded["Resources"]
        self.resources: dict[str, Any] = {}
        for name, resource in self._all.items():
            if "Condition" not in resource or self._holds(resource["Condition"]):
                self.resources[name] = self._work_out(resource)

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the properties of the resources of a type, by name."""
        return {name: found["Properties"] for name, found in self.resources.items() if found["Type"] == kind}

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, str):
            condition = self._conditions[condition]
        ((kind, arguments),) = condition.items()
        match kind:
            case "Condition":
                return self._holds(arguments)
            case "Fn::Not":
                return not self._holds(arguments[0])
            case "Fn::And":
                return all(map(self._holds, arguments))
            case _:
                assert kind == "Fn::Equals"
                return str(self._work_out(arguments[0])) == str(self._work_out(arguments[1]))

    def _work_out(self, value: Any) -> Any:  # noqa: PLR0911  # a kind a line
        if isinstance(value, list):
            return [made for made in map(self._work_out, value) if made is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, arguments),) = value.items()
            if kind == "Ref":
                return self._reference(arguments)
            if kind == "Fn::If":
                return self._work_out(arguments[1 if self._holds(arguments[0]) else 2])
            if kind == "Fn::Sub":
                return self._text(arguments)
            if kind == "Fn::Join":
                return arguments[0].join(self._work_out(arguments[1]))
        return {name: made for name, found in value.items() if (made := self._work_out(found)) is not None}

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return None
        if name in self._values:
            return self._values[name]
        kind, named = self._all[name]["Type"], self._all[name].get("Properties", {}).get("FunctionName")
        return (
            self._work_out(named) if kind == "AWS::Lambda::Function" else f"<{self._values['AWS::StackName']}:{name}>"
        )

    def _text(self, arguments: Any) -> str:
        text, more = arguments if isinstance(arguments, list) else (arguments, {})
        given = {name: self._work_out(value) for name, value in more.items()}

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name in given:
                return str(given[name])
            own, _, attribute = name.partition(".")
            return f"{self._reference(own)}{'.' if attribute else ''}{attribute}"

        return re.sub(r"\$\{([\w:.]+)\}", value, text)
