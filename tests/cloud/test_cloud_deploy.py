"""`python -m infra.cloud`: what it shows, what it does, and how it ends when that cannot be done.

The templates are small ones, because the server in AWS's place lacks some of the real one's resources.
"""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from infra.cloud.aws_server import AWS
from infra.local.stack import PROJECT
from tests.cloud.conftest import CREDENTIALS


class Deployer:
    """A stage of the test's own, and what may be asked of it."""

    def __init__(self, aws: str, folder: Path) -> None:
        self.stage = f"t{uuid.uuid4().hex[:10]}"
        self.name = f"day-trading-{self.stage}"
        self.environment = {**AWS, "AWS_ENDPOINT_URL": aws, "PYTHONPATH": str(PROJECT)}
        self.template = folder / "template.json"
        self.cloud = boto3.client("cloudformation", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)

    def command(self, name: str, *more: str) -> list[str]:
        command = [sys.executable, "-m", "infra.cloud", name, f"--stage={self.stage}", "--poll=0.05", *more]
        return [*command, f"--template={self.template}"] if name in {"deploy", "diff"} else command

    def __call__(self, name: str, *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(name, *more),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def write(self, resources: Mapping[str, Any], test: str | None = None) -> None:
        """Write the template that is deployed next."""
        given = {"Size": {"Type": "String"}, "Colour": {"Type": "String", "Default": "red"}}
        outputs = {"Given": {"Value": {"Ref": "Size"}}, "Shade": {"Value": {"Ref": "Colour"}}}
        metadata = {"Metadata": {"Test": test}} if test else {}
        text = {"Parameters": given, "Resources": resources, "Outputs": outputs, **metadata}
        self.template.write_text(json.dumps(text))

    @property
    def stacks(self) -> list[str]:
        """Return the stacks of this stage."""
        found = self.cloud.describe_stacks()["Stacks"]
        return [stack["StackStatus"] for stack in found if stack["StackName"] == self.name]


TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}
QUEUE = {"Queue": {"Type": "AWS::SQS::Queue"}}


@pytest.fixture
def deployer(aws: str, tmp_path: Path) -> Deployer:
    """Return a stage of the test's own, with a template."""
    made = Deployer(aws, tmp_path)
    made.write(TOPIC)
    return made


def test_a_stack_is_deployed_changed_and_removed(deployer: Deployer) -> None:
    first = deployer("deploy", "--set=Size=large", "--yes")
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert "+ AWS::SNS::Topic Topic" in lines
    assert lines.index("+ AWS::SNS::Topic Topic") < next(n for n, line in enumerate(lines) if "CREATE_COMPLETE" in line)
    assert lines[-2:] == ["Given = large", "Shade = red"]

    same = deployer("deploy", "--yes")
    assert (same.returncode, same.stdout) == (0, f"{deployer.name} is already as it should be\n")

    deployer.write({**TOPIC, **QUEUE})
    shown = deployer("diff")
    assert shown.returncode == 0
    assert "+ AWS::SQS::Queue Queue" in shown.stdout
    assert [found["LogicalResourceId"] for found in resources(deployer)] == ["Topic"]

    changed = deployer("deploy", "--set=Colour=blue", "--yes")
    assert changed.returncode == 0, changed.stderr
    assert changed.stdout.splitlines()[-2:] == ["Given = large", "Shade = blue"]
    assert "CREATE_COMPLETE" not in changed.stdout  # the events of the time before are not told again
    assert {found["LogicalResourceId"] for found in resources(deployer)} == {"Topic", "Queue"}

    refused = deployer("destroy", "--yes")
    assert (refused.returncode, deployer.stacks) == (1, ["UPDATE_COMPLETE"])
    assert refused.stderr == f"the stack {deployer.name} is protected: to remove it, give --unprotect\n"
    with pytest.raises(ClientError, match="TerminationProtection"):
        deployer.cloud.delete_stack(StackName=deployer.name)
    removed = deployer("destroy", "--yes", "--unprotect")
    assert (removed.returncode, deployer.stacks) == (0, [])
    assert "DELETE_COMPLETE" in removed.stdout
    assert deployer("destroy", "--yes").stdout == f"there is no stack {deployer.name}\n"


def resources(deployer: Deployer) -> list[Any]:
    found: list[Any] = deployer.cloud.describe_stack_resources(StackName=deployer.name)["StackResources"]
    return found


def test_the_way_back_is_the_template_before_and_leads_forward_again(deployer: Deployer) -> None:
    deployer.write(TOPIC)
    assert deployer("deploy", "--set=Size=large", "--yes").returncode == 0
    alone = deployer("rollback", "--yes")
    assert (alone.returncode, "no deployment of" in alone.stderr) == (2, True)
    deployer.write({**TOPIC, **QUEUE})
    assert deployer("deploy", "--yes").returncode == 0
    assert deployer("deploy", "--set=Colour=blue", "--yes").returncode == 0  # of the same template

    back = deployer("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert "- AWS::SQS::Queue Queue" in back.stdout
    assert [found["LogicalResourceId"] for found in resources(deployer)] == ["Topic"]
    assert back.stdout.splitlines()[-2:] == ["Given = large", "Shade = blue"], "parameters stay"

    forward = deployer("rollback", "--yes")
    assert forward.returncode == 0, forward.stderr
    assert {found["LogicalResourceId"] for found in resources(deployer)} == {"Topic", "Queue"}


INTERRUPTED = """
import signal, sys
from infra.cloud import cli, stack
stack.CloudStack._follow = lambda *_: signal.raise_signal(signal.SIGINT)
sys.exit(cli.main(sys.argv[1:]))
"""


def test_the_same_command_again_finishes_an_interrupted_deployment(deployer: Deployer) -> None:
    """It protects the stack, and the way back leads to the deployment before."""
    for template in (TOPIC, {**TOPIC, **QUEUE}, QUEUE):
        deployer.write(template)
        command = deployer.command("deploy", "--set=Size=large", "--yes")
        code = [sys.executable, "-c", INTERRUPTED, *command[3:]]
        assert subprocess.run(code, env=deployer.environment, check=False).returncode == 130
        again = deployer("deploy", "--set=Size=large", "--yes")
        assert (again.returncode, again.stdout) == (0, f"{deployer.name} is already as it should be\n")
    assert "is protected" in deployer("destroy", "--yes").stderr
    assert deployer("rollback", "--yes").returncode == 0
    assert {found["LogicalResourceId"] for found in resources(deployer)} == {"Topic", "Queue"}


def test_a_look_at_a_new_stack_leaves_nothing(deployer: Deployer) -> None:
    shown = deployer("diff", "--set=Size=large")
    assert (shown.returncode, deployer.stacks) == (0, [])
    assert "+ AWS::SNS::Topic Topic" in shown.stdout


def test_without_a_terminal_nothing_is_applied_unasked(deployer: Deployer) -> None:
    done = deployer("deploy", "--set=Size=large")
    assert done.returncode == 2
    assert "give --yes" in done.stderr
    assert deployer.stacks in ([], ["REVIEW_IN_PROGRESS"])


def test_missing_credentials_are_said(deployer: Deployer) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del deployer.environment[name]
    done = deployer("deploy", "--set=Size=large", "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith("no usable credentials for AWS")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("region", "said"), [("mars-east-1", "there is no region 'mars-east-1'"), (None, "no region")])
def test_a_wrong_region_is_said(deployer: Deployer, region: str | None, said: str) -> None:
    del deployer.environment["AWS_DEFAULT_REGION"]
    more = [] if region is None else [f"--region={region}"]
    done = deployer("deploy", "--set=Size=large", "--yes", *more)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], "parameters without a value: Size"),
        (["--set=Size=large", "--set=Weight=1"], "no such parameter: Weight; there are Colour, Size"),
        (["--set=Size"], "--set takes NAME=VALUE: Size"),
    ],
)
def test_wrong_parameters_are_said_before_anything_is_begun(deployer: Deployer, settings: list[str], said: str) -> None:
    done = deployer("deploy", "--yes", *settings)
    assert (done.returncode, done.stderr.strip()) == (2, said)
    assert deployer.stacks == []


def test_a_stack_that_fails_tells_the_cause_and_not_its_consequences(deployer: Deployer) -> None:
    deployer.write(TOPIC, test="fails")
    done = deployer("deploy", "--set=Size=large", "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"the stack {deployer.name} is now ROLLBACK_COMPLETE, because:",
        "  Logs: that bucket already exists",
    ]
    assert "cancelled" in done.stdout  # among the events
    again = deployer("deploy", "--set=Size=large", "--yes")
    assert again.returncode == 1
    assert "remove it first" in again.stderr


def test_an_update_that_fails_is_reported_as_undone(deployer: Deployer) -> None:
    assert deployer("deploy", "--set=Size=large", "--yes").returncode == 0
    deployer.write({**TOPIC, **QUEUE}, test="fails")
    done = deployer("deploy", "--yes")
    assert done.returncode == 1
    assert f"the stack {deployer.name} is now UPDATE_ROLLBACK_COMPLETE, because:\n  Logs: that" in done.stderr


def test_an_interrupted_wait_says_that_the_stack_goes_on(deployer: Deployer) -> None:
    deployer.write(TOPIC, test="lasts")
    command = deployer.command("deploy", "--set=Size=large", "--yes")
    with subprocess.Popen(
        command, env=deployer.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("CREATE_IN_PROGRESS"):
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"what was begun in {deployer.name} goes on in AWS" in said
    assert "Traceback" not in said
    assert deployer.stacks == ["CREATE_IN_PROGRESS"]


def test_aws_away_is_a_failure_with_a_message(deployer: Deployer) -> None:
    deployer.environment |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = deployer("deploy", "--set=Size=large", "--yes")
    assert done.returncode == 1
    assert "Could not connect to the endpoint" in done.stderr
    assert "Traceback" not in done.stderr
