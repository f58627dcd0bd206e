"""Reports as files: written, read again, and added up over the machines of one run."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadgen.results.statistics import Statistics
from loadgen.run.session import BULKY, FORMAT

Report = dict[str, Any]


class ReportError(Exception):
    """A file that is not a report, or reports that do not belong together."""


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON. Raises OSError."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def write_csv(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report's figures over time as CSV, a row an interval (docs/loadgen.md). Raises OSError."""
    columns = ["t", "commands", "errors", "retries", "p50", "p90", "p99", "max"]
    names = {"t": "second", **{column: f"{column}_ms" for column in columns[4:]}}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([names.get(column, column) for column in columns])
        for row in report["intervals"]["rows"]:
            writer.writerow(["" if row[column] is None else row[column] for column in columns])


def read_report(path: Path) -> Report:
    """Return the report in a file. Raises ReportError."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} is not a report: it is not JSON ({error})") from error
    if not isinstance(report, dict) or report.get("loadgen") != FORMAT:
        raise ReportError(f"{path} is not a report of this version of the load generator")
    try:
        statistics_of(report)
        _ = [report[key] for key in ("interrupted", "stopped", "machines", "cost", "latency_ms", "first_try_ms")]
    except Exception as error:  # whatever is wrong in it, also inside the encoded histograms
        raise ReportError(f"{path} is not a whole report: {type(error).__name__} {error}") from error
    return report


def statistics_of(report: Mapping[str, Any]) -> Statistics:
    """Return the statistics with which a report was written."""
    return Statistics.read(report, report["run"]["started_at_ms"])


_COMMON = ("id", "workload", "model", "rate", "users", "from_transaction", "limit")
_SUMMED = ("commands", "users_sent", "threads", "processes")


def merge(reports: Sequence[Report]) -> Report:
    """Return the report of all machines of one run; histograms are added exactly. Raises ReportError."""
    ordered = sorted(reports, key=lambda report: int(report["run"]["started_at_ms"]))
    runs = [report["run"] for report in ordered]
    first = runs[0]
    for name in _COMMON:
        if any(run[name] != first[name] for run in runs):
            found = ", ".join(dict.fromkeys(str(run[name]) for run in runs))
            raise ReportError(f"these are not parts of one run: {name} differs ({found})")
    shards = [run["shard"] for run in runs]
    if len(set(shards)) < len(shards):
        raise ReportError(f"these are not parts of one run: shard {max(shards, key=shards.count)} is there twice")
    statistics = Statistics()
    for report in ordered:
        statistics.add(statistics_of(report))
    figures = statistics.figures()
    top = {key: figures.pop(key) for key in ("commands", "seconds", "rate", "errors")}
    bulky = {name: figures.pop(name) for name in BULKY}
    cpu_s = sum(report["cost"]["cpu_s"] for report in ordered)
    merged = {
        "loadgen": FORMAT,
        **top,
        "interrupted": any(report["interrupted"] for report in ordered),
        "stopped": next((report["stopped"] for report in ordered if report["stopped"] is not None), None),
        "resume": None,
        "run": {
            **first,
            **{name: sum(run[name] for run in runs) for name in _SUMMED},
            "url": ", ".join(dict.fromkeys(run["url"] for run in runs)),
            "shard": ", ".join(shards),
        },
        **figures,
        "cost": {
            "cpu_s": round(cpu_s, 3),
            "cpu_us_per_command": round(cpu_s * 1e6 / top["commands"], 1) if top["commands"] else None,
        },
        "machines": list(
            {json.dumps(machine): machine for report in ordered for machine in report["machines"]}.values()
        ),
        **bulky,
    }
    verifications = [report["verification"] for report in ordered if "verification" in report]
    if verifications:
        merged["verification"] = {"passed": all(found["passed"] for found in verifications), "parts": verifications}
    return merged
