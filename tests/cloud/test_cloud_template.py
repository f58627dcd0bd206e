"""The packaged template: clean for CloudFormation, and what a team relies on is in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chalicelib.http.problems import PROBLEM_TYPE, STATUSES
from infra.cloud.artifact import Artifact
from infra.cloud.security import explanations, remarks

FUNCTIONS = ("APIHandler", "Archive", "Dump", "Sweep")


@pytest.fixture
def template(artifact: Artifact) -> Any:
    """Return the packaged template, of the test's own."""
    return json.loads(artifact.template.read_text())


def lint(template: Any, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Return what cfn-lint says of a template; every kind of finding counts."""
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "informational", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_cfn_lint_finds_nothing(template: Any, tmp_path: Path) -> None:
    done = lint(template, tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_cfn_lint_would_find_an_alarm_on_a_resource_that_is_not_there(template: Any, tmp_path: Path) -> None:
    template["Resources"]["ApiSlowAlarm"]["Properties"]["AlarmActions"] = [{"Ref": "NoSuchTopic"}]
    assert "NoSuchTopic" in lint(template, tmp_path).stdout


def test_every_remark_of_the_security_linter_is_explained_and_nothing_else_is(template: Any) -> None:
    assert remarks(template) == set(explanations())


def weaken(template: Any, resource: str, name: str, value: Any) -> None:
    template["Resources"][resource]["Properties"][name] = value


@pytest.mark.parametrize(
    ("resource", "name", "value", "remark"),
    [
        ("DumpBucket", "BucketEncryption", {}, "bucket-not-encrypted DumpBucket"),
        ("DumpBucket", "PublicAccessBlockConfiguration", {"BlockPublicAcls": True}, "bucket-not-private DumpBucket"),
        ("OwnedCache", "TransitEncryptionEnabled", False, "cache-without-TransitEncryptionEnabled OwnedCache"),
        ("TokenSecret", "SecretString", "hunter2", "secret-in-the-template TokenSecret"),
        (
            "APIHandler",
            "Environment",
            {"Variables": {"MONGO_URI": "mongodb://..."}},
            "secret-in-the-environment:MONGO_URI APIHandler",
        ),
        (
            "CacheGroup",
            "SecurityGroupIngress",
            [{"CidrIp": "0.0.0.0/0", "FromPort": 6379}],
            "group-open-to-everyone:6379 CacheGroup",
        ),
        ("LoginPool", "AdminCreateUserConfig", {}, "pool-that-anybody-may-join LoginPool"),
        ("LoginPool", "MfaConfiguration", "OPTIONAL", "pool-without-a-second-factor LoginPool"),
        ("LoginPool", "Policies", {}, "pool-with-short-passwords LoginPool"),
        ("LoginClient", "AllowedOAuthFlows", ["implicit"], "client-with-other-flows-than-code LoginClient"),
        ("LoginClient", "EnableTokenRevocation", False, "client-without-revocation LoginClient"),
        (
            "SweepRole",
            "Policies",
            [{"PolicyDocument": {"Statement": [{"Action": "s3:*", "Resource": "*"}]}}],
            "role-with-any-action SweepRole",
        ),
    ],
)
def test_the_security_linter_sees_what_is_weak(
    template: Any, resource: str, name: str, value: Any, remark: str
) -> None:
    assert remark not in remarks(template)
    weaken(template, resource, name, value)
    assert remark in remarks(template)


def test_secrets_reach_the_functions_by_name_only(template: Any) -> None:
    for name in FUNCTIONS:
        variables = template["Resources"][name]["Properties"]["Environment"]["Variables"]
        assert "SECRET_IDS" in variables
        assert not {"MONGO_URI", "AUTH_SECRET"} & set(variables)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_keeps_what_chalice_says_of_it(template: Any, name: str) -> None:
    properties = template["Resources"][name]["Properties"]
    assert properties["Environment"]["Variables"]["MONGO_POOL_SIZE"] == "8"
    assert (properties["Runtime"], properties["CodeUri"]) == (f"python3.{sys.version_info.minor}", "./deployment.zip")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_command_ends_within_the_time_of_its_function(template: Any, name: str) -> None:
    properties = template["Resources"][name]["Properties"]
    assert int(properties["Environment"]["Variables"]["COMMAND_TIMEOUT_MS"]) < properties["Timeout"] * 1000


def test_what_api_gateway_answers_itself_is_a_problem_of_the_interface(template: Any) -> None:
    document = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    given = document["x-amazon-apigateway-gateway-responses"]
    for kind, answer in given.items():
        assert answer["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        if kind == "DEFAULT_4XX":  # many statuses: API Gateway puts its message in, in quotes of its own
            continue
        problem = json.loads(answer["responseTemplates"]["application/json"])
        assert problem["type"] == f"{PROBLEM_TYPE}{problem['code']}"
        if "statusCode" in answer:
            assert problem["status"] == int(answer["statusCode"]) == STATUSES[problem["code"]]
    assert {"THROTTLED", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_TOO_LARGE", "INTEGRATION_TIMEOUT"} <= set(given)


def test_every_alarm_tells_somebody_and_is_in_the_manual(template: Any) -> None:
    manual = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    alarms = {name: found for name, found in template["Resources"].items() if found["Type"] == "AWS::CloudWatch::Alarm"}
    assert len(alarms) >= 8
    for name, alarm in alarms.items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert f"`{name}`" in manual


def test_every_parameter_is_in_the_manual(template: Any) -> None:
    manual = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    assert [name for name in template["Parameters"] if f"`{name}`" not in manual] == []
