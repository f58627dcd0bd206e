"""A stack of CloudFormation: what a change would do, the change itself with its events, and its end."""

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
    """A stack that is not what was wished for.

    StackError
      ParameterError     a parameter is missing, or there is none of that name
      StackFailedError   CloudFormation could not do it, and undid what it had done
    """


class ParameterError(StackError):
    """A parameter is missing, or there is none of that name."""


class DeploymentFailedError(StackError):
    """CloudFormation could not do it; carries the reasons it gave, the first one first."""

    def __init__(self, name: str, status: str, reasons: list[str]) -> None:
        said = "".join(f"\n  {reason}" for reason in reasons) or " it gave no reason"
        super().__init__(f"the stack {name} is now {status}, because:{said}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A change set that was made and not yet executed."""

    id: str
    stack_id: str
    changes: list[str]


@dataclass(slots=True)
class CloudStack:
    """One stack, by its name. `pause` waits between two looks; `say` tells the operator."""

    client: Any
    name: str
    say: Callable[[str], None] = print
    pause: Callable[[], None] = lambda: time.sleep(2.0)
    _seen: set[str] = field(default_factory=set)

    def find(self, name: str | None = None) -> Mapping[str, Any] | None:
        """Return what is known of the stack, None when there is none."""
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
        """Return what a template would change, None when that is nothing. Raises StackError."""
        now = self.find()
        if now is not None and now["StackStatus"].endswith("_IN_PROGRESS") and now["StackStatus"] != _EMPTY:
            self.say(f"the stack {self.name} is {now['StackStatus']}: waiting for its end")
            self._mark_events(now["StackId"])
            self._follow(now["StackId"])
            now = self.find()
        if now is not None and now["StackStatus"] in _NEVER_MADE:
            status = now["StackStatus"]
            raise StackError(f"the stack {self.name} is {status}: it is not whole. Remove it first (make destroy)")
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
        """Forget a plan, and the empty stack that one for a new stack has left."""
        self.client.delete_change_set(ChangeSetName=plan.id, StackName=self.name)
        now = self.find()
        if now is not None and now["StackStatus"] == _EMPTY:
            self.client.delete_stack(StackName=self.name)

    def apply(self, plan: Plan) -> Mapping[str, str]:
        """Execute a plan, tell each event, and return the outputs. Raises StackFailedError."""
        self._mark_events(plan.stack_id)
        self.client.execute_change_set(ChangeSetName=plan.id, StackName=self.name)
        now = self._follow(plan.stack_id)
        self.protect()
        return {found["OutputKey"]: found["OutputValue"] for found in now.get("Outputs", ())}

    def protect(self, *, on: bool = True) -> None:
        """Let CloudFormation refuse to delete the stack, or no longer."""
        self.client.update_termination_protection(StackName=self.name, EnableTerminationProtection=on)

    def delete(self, *, unprotect: bool = False) -> bool:
        """Delete the stack and tell each event; return whether there was one.

        Raises StackError for one that is protected, unless that is to be taken from it, and StackFailedError.
        """
        now = self.find()
        if now is None:
            return False
        if now.get("EnableTerminationProtection"):
            if not unprotect:
                raise StackError(f"the stack {self.name} is protected: to remove it all the same, say --unprotect")
            self.protect(on=False)
        self._mark_events(now["StackId"])
        self.client.delete_stack(StackName=self.name)
        self._follow(now["StackId"])
        return True

    def _follow(self, stack_id: str) -> Mapping[str, Any]:
        """Tell events until the stack stands still, and return what it is. Raises StackFailedError."""
        reasons: list[str] = []
        while True:
            now = self.find(stack_id)  # before the events, so that none is missed when it stands still
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
        """Know the events until now, which belong to something else."""
        self._seen.update(event["EventId"] for event in self._events(stack_id))

    def _new_events(self, stack_id: str) -> list[Any]:
        new = [event for event in self._events(stack_id) if event["EventId"] not in self._seen]
        self._seen.update(event["EventId"] for event in new)
        return sorted(new, key=lambda event: event["Timestamp"])

    def _events(self, stack_id: str) -> Iterator[Any]:
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
            yield from reversed(page["StackEvents"])


_EMPTY = "REVIEW_IN_PROGRESS"
"""A stack that has a change set and nothing else."""


def parameters(template: Mapping[str, Any], given: Mapping[str, str], now: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the parameters of a change: those given, else those that the stack has, else the defaults.

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
    """Return a digest of what functions are made of: a version is published only when a text changes."""
    made = json.dumps([template["Resources"], dict(values)], sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()


def _shown(change: Mapping[str, Any]) -> str:
    replaced = {"True": "  (made anew)", "Conditional": "  (perhaps made anew)"}.get(change.get("Replacement", ""), "")
    return f"{_SIGNS.get(change['Action'], '?')} {change['ResourceType']} {change['LogicalResourceId']}{replaced}"
