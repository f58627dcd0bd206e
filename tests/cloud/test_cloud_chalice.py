"""`chalice deploy`, deploy again with a change, and `chalice delete`, by the real command."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from chalicelib.http.operations import OPERATIONS
from infra.cloud.artifact import chalice_command, chalice_environment, copy_sources
from infra.cloud.aws_server import AWS
from tests.cloud.conftest import CREDENTIALS

Chalice = Callable[..., str]
SECRET = "day-trading/prod"
BUCKET, FAR, ELSEWHERE = "day-trading-logs", "day-trading-far", "logs-of-another-app"
GIVEN = {"SECRET_IDS": SECRET, "QUOTE_SOURCE": "simulated:1", "DUMP_PLACE": f"s3://{BUCKET}"}
LEFT_BY_THE_DEPLOYER = {"QUOTE_SOURCE": "fixed:1.00"}
"""What this process has, and the functions will not."""

HELD = {"MONGO_URI": "mongodb+srv://host/", "REDIS_URL": "rediss://host", "AUTH_SECRET": "0" * 32}
FUNCTIONS = {
    "day-trading-prod": (25, 512),
    "day-trading-prod-sweep": (60, 512),
    "day-trading-prod-dump": (900, 512),
    "day-trading-prod-archive": (900, 512),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of what Chalice deploys."""
    folder = tmp_path / "project"
    copy_sources(folder)
    give(folder, GIVEN)
    return folder


def give(project: Path, variables: Mapping[str, str]) -> None:
    """Add to the variables of the stage `prod`."""
    path = project / ".chalice/config.json"
    configuration = json.loads(path.read_text())
    configuration["stages"]["prod"]["environment_variables"] |= variables
    path.write_text(json.dumps(configuration))


@pytest.fixture(scope="module")
def buckets(aws: str) -> None:
    """Have a bucket that will do, one in another region, and one that the functions may not write to."""
    for name, region in ((BUCKET, "us-east-1"), (FAR, "eu-west-3"), (ELSEWHERE, "us-east-1")):
        s3 = boto3.client("s3", endpoint_url=aws, region_name=region, **CREDENTIALS)
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=name, **where)
        s3.close()


@pytest.fixture
def chalice(project: Path, aws: str, buckets: None) -> Iterator[Chalice]:
    """Return what runs `chalice` in the copy, with its secret in place; it must succeed unless told otherwise."""
    environment = {**chalice_environment(), **AWS, "AWS_ENDPOINT_URL": aws, **LEFT_BY_THE_DEPLOYER}
    secrets = boto3.client("secretsmanager", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)
    for name in (SECRET, ELSEWHERE):
        secrets.create_secret(Name=name, SecretString=json.dumps(HELD))

    def run(*arguments: str, status: int = 0) -> str:
        command = [chalice_command(), *arguments, "--stage", "prod"]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    yield run
    for name in (SECRET, ELSEWHERE):
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    secrets.close()


@pytest.fixture
def client(aws: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what makes clients of the services."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    make: Callable[[str], Any] = boto3.client
    return make


def functions(client: Callable[[str], Any]) -> dict[str, Any]:
    """Return what functions there are."""
    return {found["FunctionName"]: found for found in client("lambda").list_functions()["Functions"]}


def methods(client: Callable[[str], Any], api: str) -> set[tuple[str, str]]:
    """Return the methods and paths that an API serves."""
    resources = client("apigateway").get_resources(restApiId=api, limit=500)["items"]
    return {(method, found["path"]) for found in resources for method in found.get("resourceMethods", {})}


def test_chalice_deploys_deploys_a_change_and_deletes(
    chalice: Chalice, client: Callable[[str], Any], project: Path
) -> None:
    said = chalice("deploy")
    deployed = functions(client)
    assert {name: (found["Timeout"], found["MemorySize"]) for name, found in deployed.items()} == FUNCTIONS
    assert {found["Runtime"] for found in deployed.values()} == {f"python3.{sys.version_info.minor}"}
    assert {found["CodeSize"] < 10_000_000 for found in deployed.values()} == {True}
    assert deployed["day-trading-prod"]["Environment"]["Variables"]["MONGO_POOL_SIZE"] == "8"
    (api,) = client("apigateway").get_rest_apis()["items"]
    assert f"{api['id']}.execute-api." in said
    served = methods(client, api["id"])
    assert {("POST", "/users/{user}/buy"), ("GET", "/users/{user}/quote/{symbol}"), ("GET", "/health")} <= served
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}
    assert [stage["stageName"] for stage in client("apigateway").get_stages(restApiId=api["id"])["item"]] == ["api"]
    rules = client("events").list_rules()["Rules"]
    assert {rule["ScheduleExpression"] for rule in rules} == {"rate(1 minute)", "rate(1 day)"}
    targets = [client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"] for rule in rules]
    assert {target["Arn"].rpartition(":")[2] for (target,) in targets} == {
        "day-trading-prod-sweep",
        "day-trading-prod-archive",
    }
    written = json.loads((project / ".chalice/policy.json").read_text())
    for role in {found["Role"].rpartition("/")[2] for found in deployed.values()}:
        (name,) = client("iam").list_role_policies(RoleName=role)["PolicyNames"]
        assert client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] == written

    configuration = project / ".chalice/config.json"
    changed = json.loads(configuration.read_text())
    changed["stages"]["prod"]["lambda_memory_size"] = 1024
    configuration.write_text(json.dumps(changed))
    with (project / "app.py").open("a") as app:
        app.write("\n\n@app.route('/hello')\ndef hello():\n    return 'hello'\n")
    chalice("deploy")
    again = functions(client)
    assert {name: found["FunctionArn"] for name, found in again.items()} == {
        name: found["FunctionArn"] for name, found in deployed.items()
    }
    assert {found["MemorySize"] for found in again.values()} == {1024}
    assert not {found["CodeSha256"] for found in again.values()} & {found["CodeSha256"] for found in deployed.values()}
    assert [found["id"] for found in client("apigateway").get_rest_apis()["items"]] == [api["id"]]
    assert methods(client, api["id"]) == served | {("GET", "/hello")}

    chalice("delete")
    assert functions(client) == {}
    assert client("apigateway").get_rest_apis()["items"] == []
    assert client("events").list_rules()["Rules"] == []
    assert client("iam").list_roles()["Roles"] == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"QUOTE_SOURCE": ""}, "setting QUOTE_SOURCE: got ''"),
        ({"SECRET_IDS": ""}, "setting AUTH_SECRET: got nothing"),
        ({"SECRET_IDS": "day-trading/other"}, "setting SECRET_IDS: got 'day-trading/other'"),
        ({"SECRET_IDS": ELSEWHERE}, "that can be read (the functions' role may not read it: see iam_policy_file)"),
        ({"DUMP_PLACE": "/logs"}, "setting DUMP_PLACE: got '/logs', takes s3://bucket/prefix"),
        ({"DUMP_PLACE": "s3://day-trading-none"}, "that the functions can use (there is none of that name)"),
        (
            {"DUMP_BUCKET_OWNER": "999999999999"},
            "(it is not of account 999999999999 (DUMP_BUCKET_OWNER), or you may not look at it)",
        ),
        ({"DUMP_PLACE": f"s3://{FAR}/logs"}, "(it is in eu-west-3, the functions will be in us-east-1)"),
        ({"DUMP_PLACE": f"s3://{ELSEWHERE}"}, "(the functions' role may not write to it: see iam_policy_file)"),
    ],
)
def test_what_the_functions_would_not_have_is_said_before_anything_is_deployed(
    chalice: Chalice, client: Callable[[str], Any], project: Path, variables: dict[str, str], said: str
) -> None:
    give(project, variables)
    refused = chalice("deploy", status=2)
    assert said in refused
    assert "Nothing was deployed. Set them in environment_variables of the stage prod" in refused
    assert "0" * 32 not in refused
    assert functions(client) == {}


def test_what_the_functions_need_is_looked_for_with_the_profile_that_deploys(chalice: Chalice) -> None:
    refused = chalice("deploy", "--profile", "nobodys", status=2)
    assert "names of secrets that can be read (The config profile (nobodys) could not be found)" in refused
