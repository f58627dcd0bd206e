"""The packaged template as CloudFormation sees it, for each combination of parameters that the manual names."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.cloud.artifact import Artifact
from infra.cloud.stack import RELEASE
from infra.local.stack import PROJECT
from tests.cloud.expand import Made, expand

VPC = {
    "Network": "vpc",
    "VpcId": "vpc-0123456789abcdef0",
    "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
}
SHAPES: Mapping[str, Mapping[str, str]] = {
    "no network": {},
    "no network, an account of ten containers": {"ApiConcurrency": "0", "SweepConcurrency": "0"},
    "a network": VPC,
    "a network with a cache": {**VPC, "Cache": "valkey"},
    "a network without NAT": {
        **VPC,
        "Cache": "valkey",
        "PrivateEndpoints": "yes",
        "RouteTableIds": "rtb-0123456789abcdef0",
    },
    "traces, a page and mail": {
        "Tracing": "yes",
        "CorsOrigin": "https://trade.example.com",
        "AlarmEmail": "ops@example.com",
    },
    "all at once": {"Rollout": "AllAtOnce"},
    "people who sign in": {"LoginDomain": "traders", "PageAddress": "https://trade.example.com/"},
    "everything, and nothing as it comes": {
        **VPC,
        "Cache": "valkey",
        "CacheClass": "cache.t4g.medium",
        "PrivateEndpoints": "yes",
        "RouteTableIds": "rtb-0123456789abcdef0",
        "SettingsSecret": "day-trading/settings",
        "QuoteSource": "tcp://quotes.example.com:4445",
        "QuotePort": "4445",
        "CorsOrigin": "https://trade.example.com",
        "LoginDomain": "traders",
        "PageAddress": "https://trade.example.com/",
        "ApiRate": "200",
        "ApiBurst": "100",
        "ApiConcurrency": "20",
        "SweepConcurrency": "2",
        "MemoryMb": "1769",
        "Rollout": "Linear10PercentEvery1Minute",
        "Restart": "2026-11-29T12:00:00",
        "Tracing": "yes",
        "DumpDays": "7",
        "ArchiveDays": "90",
        "LogDays": "365",
        "SlowMs": "500",
        "AlarmEmail": "ops@example.com",
    },
}
FUNCTIONS = ("APIHandler", "Archive", "Dump", "Sweep")


@pytest.fixture(scope="module")
def template(artifact: Artifact) -> Any:
    """Return the packaged template; nobody changes it."""
    return json.loads(artifact.template.read_text())


def make(template: Any, given: Mapping[str, str], stack: str = "day-trading-prod") -> Made:
    return Made(expand(template, given), given, stack)


@pytest.mark.parametrize("shape", SHAPES)
def test_cfn_lint_finds_nothing_in_either_form(template: Any, tmp_path: Path, shape: str) -> None:
    """As it is sent, and expanded; there a parameter that only the translator reads is used by nobody (W2001)."""
    given = SHAPES[shape]
    for form in (json.loads(json.dumps(template)), expand(template, given)):
        for name, value in given.items():
            parameter = form["Parameters"][name]
            parameter["Default"] = int(value) if parameter["Type"] == "Number" else value
        path = tmp_path / "template.json"
        path.write_text(json.dumps(form))
        command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "informational"]
        command += [] if "Transform" in form else ["--ignore-checks", "W1030", "W2001", "--template"]
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


def test_every_parameter_is_another_than_its_default_in_one_of_the_shapes(template: Any) -> None:
    defaults = {name: str(found["Default"]) for name, found in template["Parameters"].items() if name != RELEASE}
    tried = {name for shape in SHAPES.values() for name, value in shape.items() if value != defaults[name]}
    assert tried == set(defaults)


def test_what_the_manual_sets_together_is_one_of_the_shapes() -> None:
    """Or a part of one."""
    documented = [
        {assignment.partition("=")[0] for assignment in found.split()}
        for path in (PROJECT / "docs").glob("*.md")
        for found in re.findall(r'SET="([^"$]+)"', path.read_text())
    ]
    assert len(documented) > 3
    assert [names for names in documented if not any(names <= set(shape) for shape in SHAPES.values())] == []


def test_there_is_one_stage_and_it_is_throttled_and_watched(template: Any) -> None:
    made = make(template, {})
    ((_, stage),) = made.of_type("AWS::ApiGateway::Stage").items()
    assert stage["StageName"] == "api"
    (settings,) = stage["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["MetricsEnabled"]) == ("500", True)
    (deployment,) = made.of_type("AWS::ApiGateway::Deployment").values()
    assert "StageName" not in deployment


def test_the_api_calls_the_alias_and_may_do_so_from_its_stage_alone(template: Any) -> None:
    made = make(template, {})
    (api,) = made.of_type("AWS::ApiGateway::RestApi").values()
    called = {
        operation["x-amazon-apigateway-integration"]["uri"].partition("functions/")[2]
        for path in api["Body"]["paths"].values()
        for operation in path.values()
    }
    assert called == {"<day-trading-prod:APIHandlerAliaslive>/invocations"}
    allowed = made.resources["APIHandlerInvokePermission"]["Properties"]
    assert allowed["FunctionName"] == "<day-trading-prod:APIHandlerAliaslive>"
    assert allowed["SourceArn"].endswith("/api/*")


def test_new_code_of_the_api_comes_by_and_by_and_alarms_undo_it(template: Any) -> None:
    made = make(template, {})
    update = made.resources["APIHandlerAliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"] == "<day-trading-prod:APIHandlerDeploymentGroup>"
    (group,) = made.of_type("AWS::CodeDeploy::DeploymentGroup").values()
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent10Minutes"
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    watched = {alarm["Name"].strip("<>").partition(":")[2] for alarm in group["AlarmConfiguration"]["Alarms"]}
    assert watched == {"ApiErrorsAlarm", "ApiFailuresAlarm", "ApiSlowAlarm"} <= set(made.resources)


def test_another_parameter_or_a_restart_is_another_version_of_the_api(template: Any) -> None:
    def version(**given: str) -> str:
        (name,) = make(template, given).of_type("AWS::Lambda::Version")
        return name

    assert version() == version()
    assert len({version(), version(QuoteSource="simulated:2"), version(Restart="today")}) == 3


def test_without_a_network_nothing_is_in_one_and_nothing_costs_by_the_hour(template: Any) -> None:
    made = make(template, {})
    kinds = {found["Type"].split("::")[1] for found in made.resources.values()}
    assert not kinds & {"EC2", "ElastiCache", "DocDB", "RDS"}
    for properties in made.of_type("AWS::Lambda::Function").values():
        assert "VpcConfig" not in properties
        assert "REDIS_URL" not in properties["Environment"]["Variables"]
        assert properties["Environment"]["Variables"]["DUMP_BUCKET_OWNER"] == "123456789012"
        assert properties["Environment"]["Variables"]["REQUIRE_TLS"] == "yes"
    for role in made.of_type("AWS::IAM::Role").values():
        assert "ec2:" not in json.dumps(role)


def test_in_a_network_every_function_is_and_the_cache_asks_for_a_password(template: Any) -> None:
    made = make(template, SHAPES["a network with a cache"])
    for properties in made.of_type("AWS::Lambda::Function").values():
        assert properties["Environment"]["Variables"]["REQUIRE_TLS"] == "no"
        assert properties["VpcConfig"]["SecurityGroupIds"] == ["<day-trading-prod:FunctionGroup>"]
        assert "<day-trading-prod:CacheAddress>" in properties["Environment"]["Variables"]["SECRET_IDS"].split(",")
    (cache,) = made.of_type("AWS::ElastiCache::ReplicationGroup").values()
    assert (cache["Engine"], cache["EngineVersion"], cache["ClusterMode"]) == ("valkey", "8.0", "disabled")
    assert (cache["TransitEncryptionEnabled"], "resolve:secretsmanager" in cache["AuthToken"]) == (True, True)
    address = made.resources["CacheAddress"]["Properties"]["SecretString"]
    assert json.loads(address)["REDIS_URL"].startswith("rediss://:{{resolve:secretsmanager:")


def test_the_sweep_keeps_a_container_the_api_has_a_limit_and_a_long_dump_may_go_on(template: Any) -> None:
    made = make(template, {})
    functions = made.of_type("AWS::Lambda::Function")
    assert functions["APIHandler"]["ReservedConcurrentExecutions"] == "50"
    assert functions["Sweep"]["ReservedConcurrentExecutions"] == "1"
    assert functions["Dump"]["RecursiveLoop"] == "Allow"
    assert not any("RecursiveLoop" in functions[name] for name in FUNCTIONS if name != "Dump")
    watched = {alarm["MetricName"] for alarm in made.of_type("AWS::CloudWatch::Alarm").values()}
    assert {"AsyncEventsDropped", "RecursiveInvocationsDropped", "SweepOutdated"} <= watched
    none = make(template, SHAPES["no network, an account of ten containers"]).of_type("AWS::Lambda::Function")
    assert not any("ReservedConcurrentExecutions" in properties for properties in none.values())


@pytest.mark.parametrize(("tracing", "mode"), [("yes", "Active"), ("no", "PassThrough")])
def test_all_functions_are_traced_or_none(template: Any, tracing: str, mode: str) -> None:
    made = make(template, {"Tracing": tracing})
    functions = made.of_type("AWS::Lambda::Function")
    assert {properties["TracingConfig"]["Mode"] for properties in functions.values()} == {mode}
    (stage,) = made.of_type("AWS::ApiGateway::Stage").values()
    assert stage["TracingEnabled"] is (tracing == "yes")
    for name in ("ApiHandlerRole", "SweepRole", "DumpRole", "ArchiveRole"):
        assert ("xray:PutTraceSegments" in json.dumps(made.resources[name])) is (tracing == "yes")


def test_preflights_are_answered_for_the_origin_given_and_for_none_without_one(template: Any) -> None:
    def preflights(made: Made) -> list[Any]:
        (api,) = made.of_type("AWS::ApiGateway::RestApi").values()
        return [path["options"] for path in api["Body"]["paths"].values() if "options" in path]

    without = make(template, {})
    assert preflights(without) == []
    assert "CORS_ORIGIN" not in without.of_type("AWS::Lambda::Function")["APIHandler"]["Environment"]["Variables"]
    made = make(template, {"CorsOrigin": "https://trade.example.com"})
    answered = preflights(made)
    assert len(answered) > 20
    origins = {
        found["x-amazon-apigateway-integration"]["responses"]["default"]["responseParameters"][
            "method.response.header.Access-Control-Allow-Origin"
        ]
        for found in answered
    }
    assert origins == {"'https://trade.example.com'"}
    assert "origin.invalid" not in json.dumps(template)
    variables = made.of_type("AWS::Lambda::Function")["APIHandler"]["Environment"]["Variables"]
    assert variables["CORS_ORIGIN"] == "https://trade.example.com"


@pytest.mark.parametrize("shape", ["no network", "a network without NAT"])
def test_two_stages_share_no_name_no_metric_and_no_alarm(template: Any, shape: str) -> None:
    """What a resource is called, and whose figures an alarm or the dashboard looks at."""
    stages = [make(template, SHAPES[shape], f"day-trading-{stage}") for stage in ("prod", "trial")]
    names, metrics, boards = [], [], []
    for made in stages:
        named = {
            "FunctionName",
            "LogGroupName",
            "DashboardName",
            "Name",
            "ReplicationGroupId",
            "TopicName",
            "BucketName",
        }
        names.append(
            {
                f"{found['Type']} {found['Properties'][key]}"
                for found in made.resources.values()
                for key in named & set(found.get("Properties", ()))
                if found["Type"] != "AWS::Lambda::Alias"  # is one of its function
            }
        )
        metrics.append(
            {
                json.dumps([alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"]])
                for alarm in made.of_type("AWS::CloudWatch::Alarm").values()
            }
        )
        (board,) = made.of_type("AWS::CloudWatch::Dashboard").values()
        boards.append(board["DashboardBody"])
    assert len(names[0]) > 10
    assert names[0] & names[1] == set()
    assert metrics[0] & metrics[1] == set()
    for board, stage in zip(boards, ("prod", "trial"), strict=True):
        for widget in json.loads(board)["widgets"]:
            shown = json.dumps(widget["properties"]["metrics"])
            assert f"day-trading-{stage}-" in shown
    secrets = [made.resources["APIHandler"]["Properties"]["Environment"]["Variables"]["SECRET_IDS"] for made in stages]
    assert [secret.split(",")[1] for secret in secrets] == ["day-trading-prod/settings", "day-trading-trial/settings"]
