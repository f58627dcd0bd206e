"""The bill of a stack: its arithmetic, and that it knows what the template makes."""

import json
import subprocess
import sys
from typing import Any

import pytest

from chalicelib.sweep.report import Report
from infra.bench.record import newest
from infra.cloud.artifact import Artifact
from infra.cloud.costs import (
    ALARMS,
    CACHE_NODES,
    GATEWAY_HEADER_BYTES,
    LAMBDA_LOG_BYTES,
    PRICES,
    SECONDS,
    SECRETS,
    SWEEP_METRICS,
    Line,
    Use,
    bill,
    measured,
)
from infra.local.stack import PROJECT
from tests.cloud.expand import Made, expand
from tests.cloud.test_cloud_expanded import SHAPES

ONE = {name: price.dollars for name, price in PRICES.items()}
USE = Use(
    rate=100,
    memory_mb=1024,
    command_ms=10,
    start_ms=1000,
    starts_an_hour=3600,
    log_bytes=1000,
    answer_bytes=500,
    database_bytes=2000,
    metrics=10,
    method_metrics=20,
    sweep_ms=0,
    traced=0.5,
)


def lines(use: Use = USE, *, vpc: bool = False) -> dict[str, Line]:
    return {line.what: line for line in bill(use, ONE, vpc=vpc, mongodb=60, redis=7)}


def test_each_line_is_its_amount_times_its_price() -> None:
    found = {what: line.dollars for what, line in lines().items()}
    commands = 100 * SECONDS
    assert found["Lambda, commands"] == pytest.approx(commands * 0.010 * ONE["gb-second"])
    assert found["Lambda, starts"] == pytest.approx(SECONDS * ONE["gb-second"])
    assert found["logs"] == pytest.approx((commands + SECONDS / 60) * 1e-6 * 0.50)
    assert found["X-Ray"] == pytest.approx(commands / 2 / 1e6 * 5)
    assert found["metrics of methods"] == pytest.approx(6.00)
    assert found["to the database"] == pytest.approx(commands * 2e-6 * 0.09)
    assert (found["Redis"], found["MongoDB"]) == (7, 60)
    assert not any("NAT" in what or "ElastiCache" in what for what in found)


def test_a_network_adds_gateways_their_traffic_and_the_cache() -> None:
    found = {what: line.dollars for what, line in lines(vpc=True).items()}
    hours = SECONDS / 3600
    assert found["NAT gateway, two"] == pytest.approx(2 * hours * 0.045)
    assert found["their public addresses"] == pytest.approx(2 * hours * 0.005)
    assert found["through NAT"] == pytest.approx(100 * SECONDS * 2e-6 * 0.045)
    assert found["ElastiCache, two nodes"] == pytest.approx(2 * hours * 0.0256)
    assert "Redis" not in found


@pytest.mark.parametrize(
    ("millions", "dollars"), [(100, 350.0), (400, 333 * 3.5 + 67 * 2.8), (2000, 1165.5 + 1867.6 + 2380)]
)
def test_requests_of_the_api_become_cheaper(millions: float, dollars: float) -> None:
    use = Use(**{**dict.fromkeys(Use.__dataclass_fields__, 0.0), "rate": millions * 1e6 / SECONDS})
    assert lines(use)["API Gateway"].dollars == pytest.approx(dollars)


def test_what_is_counted_is_what_the_template_makes(artifact: Artifact) -> None:
    template = json.loads(artifact.template.read_text())

    def made(shape: str) -> Made:
        return Made(expand(template, SHAPES[shape]), SHAPES[shape], "day-trading-prod")

    plain, network = made("no network"), made("a network with a cache")
    assert len(plain.of_type("AWS::CloudWatch::Alarm")) == ALARMS
    assert len(plain.of_type("AWS::SecretsManager::Secret")) + 1 == SECRETS  # and the one with the addresses
    assert len(network.of_type("AWS::SecretsManager::Secret")) + 1 == SECRETS + 2
    (cache,) = network.of_type("AWS::ElastiCache::ReplicationGroup").values()
    assert cache["NumCacheClusters"] == CACHE_NODES
    told = json.loads(Report().metric("a-sweep", 0))["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert len(told) == SWEEP_METRICS


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra.cloud.costs", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_the_table_adds_up_and_every_figure_and_price_says_where_it_is_from() -> None:
    done = run("--rate=2", "--mongodb=0", "--price=alarm=2")
    assert done.returncode == 0, done.stderr
    table, figures, prices = (part.splitlines() for part in done.stdout.split("\n\n"))
    head, *lines, total = table
    assert head == "Network=none, 2 commands per second, per month:"
    amounts: list[Any] = [float(line.rpartition("$")[2].replace(",", "")) for line in lines]
    assert float(total.rpartition("$")[2].replace(",", "")) == pytest.approx(sum(amounts), abs=0.1)
    assert next(line for line in lines if line.startswith("alarms")).endswith("24.00")
    sources = {line.split()[0]: line for line in figures[1:]}
    assert set(sources) == {name.replace("_", "-") for name in Use.__dataclass_fields__}
    record = newest().name
    for name in ("command-ms", "start-ms", "log-bytes", "answer-bytes", "database-bytes"):
        assert f"measured, {record}" in sources[name]
    assert (sources["rate"].split()[2], sources["sweep-ms"].split()[2]) == ("given", "assumed")
    assert {line.split()[0] for line in prices[1:]} == set(PRICES)
    assert next(line for line in prices if line.startswith("alarm ")).endswith("an alarm: given")
    assert next(line for line in prices if line.startswith("gb-second")).endswith("aws.amazon.com/lambda/pricing/")


def test_what_was_measured_with_the_memory_is_what_a_command_takes() -> None:
    values = {"billed": 3.5, "import": 1.0, "answer": 0.25, "log": 830.0, "body": 400.0, "wire": 2700.0}
    figures = {f"memory.512.{key}": {"median": value} for key, value in values.items()}
    found = measured({"sections": {"functions": {"figures": figures}}}, "a record", 512, 1.5)
    assert {name: one.value for name, one in found.items()} == {
        "command-ms": 3.5 + 2 * 1.5,
        "start-ms": 1250.0,
        "log-bytes": 830 + LAMBDA_LOG_BYTES,
        "answer-bytes": 400 + GATEWAY_HEADER_BYTES,
        "database-bytes": 2700.0,
    }
    assert "2 round trips of 1.5 ms" in found["command-ms"].source


def test_the_bill_is_of_the_memory_that_the_template_gives(artifact: Artifact) -> None:
    parameters = json.loads(artifact.template.read_text())["Parameters"]
    memory = next(line for line in run().stdout.splitlines() if line.startswith("memory-mb"))
    assert float(memory.split()[1].replace(",", "")) == parameters["MemoryMb"]["Default"]


def test_other_memory_takes_figures_that_are_given() -> None:
    refused = run("--memory-mb=700")
    assert (refused.returncode, "has no figures of a function with 700 MB: give --command-ms" in refused.stderr) == (
        2,
        True,
    )
    given = [f"--{name}=1000" for name in ("command-ms", "start-ms", "log-bytes", "answer-bytes", "database-bytes")]
    taken = run("--memory-mb=700", *given)
    assert taken.returncode == 0
    assert "measured" not in taken.stdout


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--price=gold=1"], "no such price: gold; there are api"), (["--rate=-1"], "--rate")]
)
def test_what_is_wrong_is_said(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True)
