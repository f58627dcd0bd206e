"""A CloudFormation stack: a preview of a change, the change itself with its events, and its end."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
RELEASE = "Release"
"""The parameter that a deployment sets itself."""

_GOOD_ENDS = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}
_NEVER_MADE = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}
_NOTHING_TO_DO = re.compile(r"didn't contain changes|No updates are to be performed")
_SIGNS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": ">", "Dynamic": "?"}
_A_CONSEQUENCE = re.compile(r"cancelled", re.IGNORECASE)


class StackError(Exception):
    """A stack operation failed.

    Subclasses: ParameterError for a missing or unknown parameter, DeploymentFailedError if CloudFormation failed and
    rolled back.
    """


class ParameterError(StackError):
    """A parameter is missing or unknown."""


class DeploymentFailedError(StackError):
    """CloudFormation failed; has the reasons it gave, the first one first."""

    def __init__(self, name: str, status: str, reasons: list[str]) -> None:
        said = "".join(f"\n  {reason}" for reason in reasons) or " it gave no reason"
        super().__init__(f"the stack {name} is now {status}, because:{said}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A change set that was created and not yet executed."""

    id: str
    stack_id: str
    changes: list[str]


@dataclass(slots=True)
class CloudStack:
    """One stack, by name. `pause` waits between polls; `say` prints messages."""

    client: Any
    name: str
    say: Callable[[str], None] = print
    pause: Callable[[], None] = lambda: time.sleep(2.0)
    _seen: set[str] = field(default_factory=set)

    def find(self, name: str | None = None) -> Mapping[str, Any] | None:
        """Return the stack's description, or None if it does not exist."""
        try:
            stacks = self.client.describe_stacks(StackName=name or self.name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError":
                return None
            raise
        found: Mapping[str, Any] = stacks[0]
        return found

    def plan(
        self, template: Mapping[str, Any], url: str, given: Mapping[str, str], tags: Mapping[str, str]
    ) -> Plan | None:
        """Return what a template would change, or None for nothing. Raises StackError."""
        now = self.find()
        if now is not None and now["StackStatus"].endswith("_IN_PROGRESS") and now["StackStatus"] != _EMPTY:
            self.say(f"the stack {self.name} is {now['StackStatus']}: waiting for its end")
            self._mark_events(now["StackId"])
            self._follow(now["StackId"])
            now = self.find()
        if now is not None and now["StackStatus"] in _NEVER_MADE:
            status = now["StackStatus"]
            raise StackError(f"the stack {self.name} is {status}: it is incomplete; remove it first (make destroy)")
        is_new = now is None or now["StackStatus"] == _EMPTY
        made = self.client.create_change_set(
            StackName=self.name,
            ChangeSetName=f"change-{time.time_ns()}",
            ChangeSetType="CREATE" if is_new else "UPDATE",
            TemplateURL=url,
            Parameters=parameters(template, given, {} if now is None else now),
            Capabilities=CAPABILITIES,
            Tags=[{"Key": name, "Value": value} for name, value in tags.items()],
        )
        return self._planned(made["Id"], made["StackId"])

    def _planned(self, change_set: str, stack_id: str) -> Plan | None:
        while True:
            found = self.client.describe_change_set(ChangeSetName=change_set, StackName=self.name)
            if found["Status"] == "FAILED":
                reason = found.get("StatusReason", "it gave no reason")
                self.drop(Plan(change_set, stack_id, []))
                if _NOTHING_TO_DO.search(reason):
                    return None
                raise DeploymentFailedError(self.name, "as it was", [reason])
            if found["Status"] == "CREATE_COMPLETE":
                break
            self.pause()
        changes = list(found["Changes"])
        while "NextToken" in found:
            found = self.client.describe_change_set(
                ChangeSetName=change_set, StackName=self.name, NextToken=found["NextToken"]
            )
            changes += found["Changes"]
        return Plan(change_set, stack_id, [_shown(change["ResourceChange"]) for change in changes])

    def drop(self, plan: Plan) -> None:
        """Delete a plan, and the empty stack that it has created for a new stack."""
        self.client.delete_change_set(ChangeSetName=plan.id, StackName=self.name)
        now = self.find()
        if now is not None and now["StackStatus"] == _EMPTY:
            self.client.delete_stack(StackName=self.name)

    def apply(self, plan: Plan) -> Mapping[str, str]:
        """Execute a plan, report each event, and return the outputs. Raises DeploymentFailedError."""
        self._mark_events(plan.stack_id)
        self.client.execute_change_set(ChangeSetName=plan.id, StackName=self.name)
        now = self._follow(plan.stack_id)
        return {found["OutputKey"]: found["OutputValue"] for found in now.get("Outputs", ())}

    def protect(self, *, on: bool = True) -> None:
        """Turn the stack's termination protection on or off."""
        self.client.update_termination_protection(StackName=self.name, EnableTerminationProtection=on)

    def delete(self, *, unprotect: bool = False) -> bool:
        """Delete the stack and report each event; return whether it existed.

        Raises StackError for a protected one unless `unprotect`, and DeploymentFailedError.
        """
        now = self.find()
        if now is None:
            return False
        if now.get("EnableTerminationProtection"):
            if not unprotect:
                raise StackError(f"the stack {self.name} is protected: to remove it, give --unprotect")
            self.protect(on=False)
        self._mark_events(now["StackId"])
        self.client.delete_stack(StackName=self.name)
        self._follow(now["StackId"])
        return True

    def _follow(self, stack_id: str) -> Mapping[str, Any]:
        """Report events until the stack is stable, and return its description. Raises DeploymentFailedError."""
        reasons: list[str] = []
        while True:
            now = self.find(stack_id)  # before the events, so that none is missed when it is stable
            for event in self._new_events(stack_id):
                reason = event.get("ResourceStatusReason", "")
                line = f"{event['ResourceStatus']:<32} {event['ResourceType']} {event['LogicalResourceId']}"
                self.say(f"{line}  {reason}".rstrip())
                if event["ResourceStatus"].endswith("_FAILED") and not _A_CONSEQUENCE.search(reason):
                    reasons.append(f"{event['LogicalResourceId']}: {reason}")
            status = "DELETE_COMPLETE" if now is None else now["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                if status not in _GOOD_ENDS:
                    raise DeploymentFailedError(self.name, status, reasons)
                return now or {}
            self.pause()

    def _mark_events(self, stack_id: str) -> None:
        """Skip the events so far, which belong to something else."""
        self._seen.update(event["EventId"] for event in self._events(stack_id))

    def _new_events(self, stack_id: str) -> list[Any]:
        new = [event for event in self._events(stack_id) if event["EventId"] not in self._seen]
        self._seen.update(event["EventId"] for event in new)
        return sorted(new, key=lambda event: event["Timestamp"])

    def _events(self, stack_id: str) -> Iterator[Any]:
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            yield from reversed(page["StackEvents"])


_EMPTY = "REVIEW_IN_PROGRESS"
"""The status of a stack that has a change set and nothing else."""


def parameters(template: Mapping[str, Any], given: Mapping[str, str], now: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the parameters of a change: those given, else the stack's current ones, else the defaults.

    Raises ParameterError.
    """
    known = template.get("Parameters", {})
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ParameterError(f"no such parameter: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    before = {found["ParameterKey"]: found["ParameterValue"] for found in now.get("Parameters", ())}
    values = {name: given.get(name, before.get(name)) for name in known}
    if RELEASE in known:
        values[RELEASE] = _release(template, values | {RELEASE: None})
    missing = sorted(name for name, value in values.items() if value is None and "Default" not in known[name])
    if missing:
        raise ParameterError(f"parameters without a value: {', '.join(missing)}")
    return [
        {"ParameterKey": name, "ParameterValue": value} for name, value in sorted(values.items()) if value is not None
    ]


def _release(template: Mapping[str, Any], values: Mapping[str, str | None]) -> str:
    """Return a digest of what the functions consist of: a version is published only if it changes."""
    made = json.dumps([template["Resources"], dict(values)], sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()


def _shown(change: Mapping[str, Any]) -> str:
    replaced = {"True": "  (made anew)", "Conditional": "  (perhaps made anew)"}.get(change.get("Replacement", ""), "")
    return f"{_SIGNS.get(change['Action'], '?')} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"
