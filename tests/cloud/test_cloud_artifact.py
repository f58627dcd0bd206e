"""The artifact itself, before it is deployed: run alone, and under Lambda's runtime, against real servers."""

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from pymongo import MongoClient

from chalicelib.domain.commands import CommandName
from chalicelib.http.page import served_text
from infra.cloud.artifact import Artifact, LambdaTarget, package
from infra.cloud.containers import containers
from infra.cloud.runtime_api import Routes, api_gateway
from infra.local.stack import PROJECT
from infra.tokens import operator_token, trader_token
from tests.cloud.conftest import BUCKET, CREDENTIALS, SECRET
from tests.cloud.container import Invoke, isolated, under_lambdas_runtime
from tests.integration.audit_parts import read_log

MOST_BYTES = 10_000_000


def test_the_artifact_is_small(artifact: Artifact) -> None:
    assert artifact.code.stat().st_size < MOST_BYTES


def test_the_artifact_has_no_sdk_and_none_of_the_tools(artifact: Artifact) -> None:
    with zipfile.ZipFile(artifact.code) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert not tops & {"boto3", "botocore", "s3transfer", "infra", "loadgen", "tests", ".chalice"}
    assert {"app.py", "chalicelib", "chalice", "pymongo", "redis", "jwt"} <= tops


def test_the_same_sources_make_the_same_artifact(artifact: Artifact, tmp_path: Path) -> None:
    """Whatever the process that packages has done before: here it has interned every string of one character."""
    for number in range(128):
        sys.intern(chr(number))
    again = package(tmp_path, "prod", target=LambdaTarget.here())
    assert again.code.read_bytes() == artifact.code.read_bytes()
    assert again.template.read_text() == artifact.template.read_text()


def test_a_start_compiles_nothing(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path
) -> None:
    """The bytecode of what a start imports is in the artifact, where this Python, and Lambda's, looks for it."""
    with isolated(code, on_board, function_environment, tmp_path) as alone:
        alone("archive", schedule())
        own = [Path(file) for file in alone.files if file.startswith(str(code)) and file.endswith(".py")]
        assert len(own) > 200
        assert not [file for file in own if not Path(importlib.util.cache_from_source(file)).exists()]


def test_nothing_is_imported_from_elsewhere_and_no_sdk_before_it_is_needed(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path, routes: Routes
) -> None:
    standard = sysconfig.get_paths()["stdlib"]
    with isolated(code, on_board, function_environment, tmp_path) as alone:
        trade = Trader(alone, routes)
        assert trade("add", amount="1.00")["cash"] == "1.00"
        outside = [file for file in alone.files if file and not file.startswith((str(code), standard))]
        assert outside == [str(Path(__file__).with_name("isolated.py"))]


def test_the_page_and_what_it_loads_are_in_the_artifact(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path, routes: Routes
) -> None:
    with isolated(code, on_board, function_environment, tmp_path) as alone:
        page = alone("app", routes.event("GET", "/", {}, b""))
        assert (page["statusCode"], page["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
        names = set(re.findall(r'"(assets/[^"]+)"', page["body"]))
        assert len(names) > 10
        for name in names:
            asset = alone("app", routes.event("GET", f"/{name}", {}, b""))
            assert asset["statusCode"] == 200, name
            assert asset["body"] == served_text(name.rpartition("/")[2])
    assert (code / "chalicelib/web/LICENCES.txt").exists()


class Trader:
    """A client that speaks in events of API Gateway."""

    def __init__(self, invoke: Invoke, routes: Routes, user: str = "jane") -> None:
        self._invoke = invoke
        self._routes = routes
        self._user = user
        self.headers = {"Authorization": f"Bearer {trader_token(SECRET, user)}", "Content-Type": "application/json"}
        self.given: set[str] = set()

    def __call__(self, name: str, **fields: str) -> dict[str, Any]:
        """Give a command and return the answer, which must be a success."""
        method = "GET" if name.partition("/")[0] in {"quote", "summary"} else "POST"
        body = json.dumps(fields).encode() if fields else b""
        event = self._routes.event(method, f"/users/{self._user}/{name}", self.headers, body)
        answer = self._invoke("app", event)
        assert answer["statusCode"] == 200, answer
        given: dict[str, Any] = json.loads(answer["body"])
        self.given.add(given["command"])
        return given


@pytest.fixture
def routes(artifact: Artifact) -> Routes:
    """Return what API Gateway knows."""
    return Routes(json.loads(artifact.template.read_text()))


@pytest.fixture(params=["alone", "under Lambda's runtime"])
def invoke(
    request: pytest.FixtureRequest, code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path
) -> Iterator[Invoke]:
    """Return what calls a function of the artifact."""
    way = isolated if request.param == "alone" else under_lambdas_runtime
    with way(code, on_board, function_environment, tmp_path) as called:
        yield called


def test_all_sixteen_commands_the_schedules_and_a_dump_to_s3(
    invoke: Invoke, routes: Routes, aws: str, mongo_uri: str, mongo_database: str
) -> None:
    trade = Trader(invoke, routes)
    assert trade("add", amount="1000.00")["cash"] == "1000.00"
    assert trade("quote/ABC")["price"] == "10.00"
    assert trade("buy", symbol="ABC", amount="100.00")["shares"] == 10
    assert trade("commit-buy")["cash"] == "900.00"
    trade("buy", symbol="ABC", amount="50.00")
    assert trade("cancel-buy")["cash"] == "900.00"
    trade("sell", symbol="ABC", amount="20.00")
    assert trade("commit-sell")["cash"] == "920.00"
    trade("sell", symbol="ABC", amount="20.00")
    assert trade("cancel-sell")["cash"] == "920.00"
    assert trade("set-buy-amount", symbol="ABC", amount="20.00")["cash"] == "900.00"
    trade("set-buy-trigger", symbol="ABC", price="5.00")
    assert trade("cancel-set-buy", symbol="ABC")["cash"] == "920.00"
    trade("set-sell-amount", symbol="ABC", amount="30.00")
    trade("set-sell-trigger", symbol="ABC", price="15.00")
    trade("cancel-set-sell", symbol="ABC")
    trade("set-buy-amount", symbol="XYZ", amount="30.00")
    trade("set-buy-trigger", symbol="XYZ", price="10.00")
    swept = invoke("sweep", schedule())
    assert (swept["fired"], swept["failed"], swept["complete"]) == (1, 0, True)
    assert trade("summary")["holdings"] == {"ABC": 8, "XYZ": 3}
    dumped = trade("dumplog", filename="log.xml")
    assert trade.given == {str(name) for name in CommandName}
    place = boto3.client("s3", endpoint_url=aws, region_name="us-east-1", **CREDENTIALS)
    key = dumped["location"].removeprefix(f"s3://{BUCKET}/")
    assert key.startswith(mongo_database)
    log = place.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    place.delete_object(Bucket=BUCKET, Key=key)
    with MongoClient[dict[str, Any]](mongo_uri) as client:  # as a request leaves a log that it had no time for
        dumps = client[mongo_database]["dumps"]
        (dump,) = dumps.find({"done": True})
        dumps.update_one({"_id": dump["_id"]}, {"$unset": {"done": 1, "events": 1}})
    assert invoke("dump", {"dump": dump["_id"]}) == {"dump": dump["_id"], "done": True}
    again = place.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert again == log
    place.close()
    events = read_log(log)
    assert len(events) == dumped["events"]
    assert {fields["command"] for kind, fields in events if kind == "userCommand"} == trade.given
    assert [fields["stockSymbol"] for kind, fields in events if kind == "systemEvent"] == ["XYZ"]
    assert invoke("archive", schedule()) == {"archives": 0, "parts": 0, "entries": 0}


def schedule() -> Mapping[str, Any]:
    """Return the event of a schedule, as EventBridge makes it."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/sweep"],
        "detail": {},
    }


def test_a_container_without_its_settings_says_which_and_does_not_start(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path
) -> None:
    without = {name: value for name, value in function_environment.items() if name != "MONGO_URI"}
    with containers("app.app", 1, code, on_board, without, tmp_path) as api:
        assert "setting MONGO_URI: got nothing" in api.wait_for_failed_start()


def test_a_replay_of_a_thousand_commands_through_three_containers_is_clean(
    code: Path, on_board: Path, function_environment: dict[str, str], tmp_path: Path, routes: Routes
) -> None:
    def loadgen(*arguments: str) -> str:
        command = [sys.executable, "-m", "loadgen", *arguments]
        environment = {"PATH": function_environment["PATH"], "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("app-*.log"))
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{logs}"
        return done.stdout

    loadgen("generate", "--users=10", "--commands=1000", "--symbols=10", "--seed=7", "--out=workload")
    with (
        containers("app.app", 3, code, on_board, function_environment, tmp_path) as api,
        api_gateway(api, routes) as url,
    ):
        token = operator_token(SECRET)
        loadgen("replay", "workload", f"--url={url}", f"--token={token}", "--json=report.json", "--verify")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["commands"], report["errors"], report["verification"]["passed"]) == (1000, 0, True)
    assert all((tmp_path / f"app-{number}.log").read_text().count('"outcome"') > 50 for number in range(3))
