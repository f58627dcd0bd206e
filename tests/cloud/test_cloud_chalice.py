"""`chalice deploy`, deploy again with a change, and `chalice delete`, by the real command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from chalicelib.http.operations import OPERATIONS
from infra.cloud.artifact import chalice_command, chalice_environment, copy_sources
from tests.integration.audit_parts import AWS

Chalice = Callable[..., str]
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
    return folder


@pytest.fixture
def chalice(project: Path, aws: str) -> Chalice:
    """Return what runs `chalice` in the copy; it must succeed."""
    environment = {**chalice_environment(), **AWS, "AWS_ENDPOINT_URL": aws}

    def run(*arguments: str) -> str:
        command = [chalice_command(), *arguments, "--stage", "prod"]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


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
