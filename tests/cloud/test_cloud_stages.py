"""Two stages in one account: both are deployed by the command, and share no name, no metric and no alarm.

The server in AWS's place does not know every kind of resource. It is sent those that it knows; alarms are made by hand
from the same template, under the names that CloudFormation would give them.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from infra.cloud.artifact import Artifact
from infra.cloud.aws_server import AWS
from infra.local.stack import PROJECT
from tests.cloud.conftest import CREDENTIALS
from tests.cloud.expand import Made, expand

STAGES = ("one", "two")
KNOWN = {
    "AWS::CloudWatch::Dashboard",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
}


def known_part(template: Any) -> Any:
    """Return the part of an expanded template that the server knows; what it leads to elsewhere becomes a text."""
    kept = {name: found for name, found in template["Resources"].items() if found["Type"] in KNOWN}
    gone = set(template["Resources"]) - set(kept)

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(part) for part in value]
        if not isinstance(value, dict):
            return (
                re.sub(rf"\$\{{({'|'.join(gone)})(\.\w+)?\}}", "elsewhere", value) if isinstance(value, str) else value
            )
        if len(value) == 1:
            ((kind, arguments),) = value.items()
            named = arguments if isinstance(arguments, str) else arguments[0] if isinstance(arguments, list) else None
            if kind in {"Ref", "Fn::GetAtt"} and isinstance(named, str) and named.partition(".")[0] in gone:
                return "elsewhere"
        return {name: without(part) for name, part in value.items() if name != "DependsOn"}

    return {**template, "Resources": without(kept), "Outputs": {}}


class Account:
    """The services of one account."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self._url, region_name="us-east-1", **CREDENTIALS)

    def names(self) -> Iterator[str]:
        """Yield the names of what there is."""
        for function in self("lambda").list_functions()["Functions"]:
            yield f"function {function['FunctionName']}"
        for group in self("logs").describe_log_groups()["logGroups"]:
            yield f"log group {group['logGroupName']}"
        for role in self("iam").list_roles()["Roles"]:
            yield f"role {role['RoleName']}"
        for bucket in self("s3").list_buckets()["Buckets"]:
            yield f"bucket {bucket['Name']}"
        for topic in self("sns").list_topics()["Topics"]:
            yield f"topic {topic['TopicArn']}"
        for rule in self("events").list_rules()["Rules"]:
            yield f"rule {rule['Name']}"
        for board in self("cloudwatch").list_dashboards()["DashboardEntries"]:
            yield f"dashboard {board['DashboardName']}"


def deploy(stage: str, template: Path, url: str) -> None:
    command = [sys.executable, "-m", "infra.cloud", "deploy", f"--stage={stage}", f"--template={template}"]
    environment = {**AWS, "AWS_ENDPOINT_URL": url, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [*command, "--yes", "--poll=0.05"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def template(artifact: Artifact) -> Any:
    """Return the packaged template, expanded."""
    return expand(json.loads(artifact.template.read_text()), {})


def put_alarms(account: Account, template: Any, stack: str) -> Mapping[str, Any]:
    made = Made(template, {}, stack).of_type("AWS::CloudWatch::Alarm")
    for name, properties in made.items():
        account("cloudwatch").put_metric_alarm(AlarmName=f"{stack}-{name}", **numbers(properties))
    return made


def numbers(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {**properties, "Threshold": float(properties["Threshold"])}


def test_two_stages_side_by_side_share_no_name_no_metric_and_no_alarm(
    template: Any, artifact: Artifact, aws: str, tmp_path: Path
) -> None:
    account = Account(aws)
    account("s3").create_bucket(Bucket="bucket")  # where the expanded template has its code
    account("s3").put_object(Bucket="bucket", Key="code.zip", Body=artifact.code.read_bytes())
    path = tmp_path / "template.json"
    path.write_text(json.dumps(known_part(template)))
    deploy("one", path, aws)
    first = set(account.names())
    deploy("two", path, aws)
    second = set(account.names()) - first
    assert first <= set(account.names()), "the second stage has taken nothing of the first one's"
    ours = {name for name in first if "day-trading-one" in name}
    named = ("function", "log group", "dashboard")  # by the template; the others get a name of CloudFormation's
    assert {name.replace("-two", "-one") for name in second if name.startswith(named)} == {
        name for name in ours if name.startswith(named)
    }
    assert len(second) == len(ours) > 12

    alarms = {stage: put_alarms(account, template, f"day-trading-{stage}") for stage in STAGES}
    there = account("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    assert len(there) == 2 * len(alarms["one"]) > 20
    watched = {
        stage: {
            json.dumps([alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"]])
            for alarm in there
            if alarm["AlarmName"].startswith(f"day-trading-{stage}-")
        }
        for stage in STAGES
    }
    assert len(watched["one"]) == len(watched["two"]) > 10
    assert watched["one"] & watched["two"] == set()
    boards = {
        stage: account("cloudwatch").get_dashboard(DashboardName=f"day-trading-{stage}")["DashboardBody"]
        for stage in STAGES
    }
    assert "day-trading-one-api" in boards["one"]
    assert "day-trading-one" not in boards["two"]
