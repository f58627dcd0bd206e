"""Prometheus, Grafana and Jaeger of the compose profile: their files are held against the metrics that there are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry

from chalicelib.observe.commands import QuotedFrom, SeenCommand
from chalicelib.sweep.report import Report
from infra.local.stack import PROJECT
from infra.servers.counters import Counters, GatewayCounters, SweepCounters

FOLDER = PROJECT / "infra" / "observing"
COMPOSE: Any = yaml.safe_load((PROJECT / "infra" / "compose.yaml").read_text())
DASHBOARDS = sorted(FOLDER.glob("*.json"))
PAGE = (PROJECT / "docs" / "observing.md").read_text()
FUNCTIONS = {"histogram_quantile", "sum", "max", "rate", "increase", "scalar", "time", "by"}
SERIES = re.compile(r"\b((?:trading|gateway)_\w+)(\{[^}]*\})?")


def metrics() -> dict[str, set[str]]:
    """Return the series that servers tell once everything was seen, each with its labels."""
    registry = CollectorRegistry()
    commands, gateway, sweeps = Counters(registry), GatewayCounters(registry), SweepCounters(registry)
    quoted = QuotedFrom.CACHE
    commands(
        SeenCommand("", None, "BUY", None, "ok", False, 0, 0, 0, 0, quoted, kept=False, lost_races=1, late_seconds=0.1)
    )
    commands.group_sent("update", 1)
    gateway.connected(1, 1)
    sweeps(Report())
    return {sample.name: set(sample.labels) for metric in registry.collect() for sample in metric.samples}


def queries() -> Iterator[Any]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield pytest.param(target["expr"], target["legendFormat"], id=f"{path.stem} {panel['title']}")
    for line in re.findall(r"^    (\(?(?:sum|time|histogram_quantile)\b.*)$", PAGE, re.MULTILINE):
        yield pytest.param(line, "", id=f"page {line[:60]}")


@pytest.mark.parametrize(("query", "legend"), list(queries()))
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: str, legend: str) -> None:
    there = metrics()
    assert query.count("(") == query.count(")")
    series = SERIES.findall(query)
    assert series
    for name, matchers in series:
        assert name in there, name
        assert set(re.findall(r"(\w+)=", matchers)) <= there[name]
    labels = set.union(*(there[name] for name, _ in series)) | {"instance"}
    grouped = {label.strip() for found in re.findall(r"by \(([^)]*)\)", query) for label in found.split(",")}
    assert grouped <= labels
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= grouped
    assert set(re.findall(r"\b([a-z_]+)(?= ?\()", query)) <= FUNCTIONS


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_has_what_grafana_asks_of_one(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["title"]
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    assert dashboard["schemaVersion"] >= 36
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)
    known = {one["uid"] for one in yaml.safe_load((FOLDER / "datasources.yaml").read_text())["datasources"]}
    for panel in panels:
        assert panel["description"]
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} <= known


def test_every_question_of_the_page_that_a_metric_answers_has_a_panel() -> None:
    titles = [panel["title"] for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]]
    asked = {int(title.partition(".")[0]) for title in titles if title[0].isdigit()}
    assert asked == set(range(1, 11)) - {2}, "users are no label"


def test_what_observes_comes_with_the_profile_alone_and_its_files_are_there() -> None:
    services = COMPOSE["services"]
    profiled = {name for name, service in services.items() if "profiles" in service}
    assert profiled == {"jaeger", "token", "prometheus", "grafana"}
    for name in services.keys() - profiled:
        assert not profiled & set(services[name].get("depends_on", ()))
    assert all(port.startswith("127.0.0.1:") for name in profiled for port in services[name].get("ports", ()))
    files = [config["file"] for config in COMPOSE["configs"].values() if "file" in config]
    assert sorted(PROJECT / "infra" / file for file in files) == sorted(FOLDER.iterdir())
    sources = {one["url"] for one in yaml.safe_load((FOLDER / "datasources.yaml").read_text())["datasources"]}
    assert {url.split("//")[1].partition(":")[0] for url in sources} == {"prometheus", "jaeger"}


def test_prometheus_asks_every_server_where_it_listens_as_an_operator() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    command = COMPOSE["services"]["app"]["command"]
    assert names["names"] == ["app"]
    assert str(names["port"]) == command[command.index("--port") + 1]
    written = COMPOSE["services"]["token"]["command"][-1].rpartition("> ")[2]
    assert job["authorization"]["credentials_file"] == written
    assert COMPOSE["services"]["token"]["volumes"] == ["token:/token"]


def test_servers_tell_of_the_sweeps_of_the_ticker_beside_them() -> None:
    services = COMPOSE["services"]
    for name in ("app", "ticker"):
        assert services[name]["environment"]["TICKER_METRICS_FILE"] == "/metrics/sweeps.prom"
        assert "metrics:/metrics" in services[name]["volumes"]
    assert "/metrics" in services["logs"]["command"]
