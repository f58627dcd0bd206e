"""Reports as files: written, read, and merged over the machines of one run."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadgen.results.latencies import PERCENTILES
from loadgen.results.statistics import Statistics
from loadgen.run.session import BULKY, FORMAT

Report = dict[str, Any]


class ReportError(Exception):
    """A file that is not a report, or reports that do not belong together."""


def as_json(report: Mapping[str, Any]) -> str:
    """Return a report as JSON."""
    return json.dumps(report, indent=2) + "\n"


def as_csv(report: Mapping[str, Any]) -> str:
    """Return a report's figures over time as CSV, one row per interval (docs/loadgen.md)."""
    columns = ["t", "commands", "errors", "retries", "due", "sent", "late_max", "p50", "p90", "p99", "max"]
    names = {"t": "second", **{column: f"{column}_ms" for column in columns[6:]}}
    heads = [names.get(column, column) for column in columns]
    return _csv(heads, ([row[column] for column in columns] for row in report["intervals"]["rows"]))


def as_csv_by_command(report: Mapping[str, Any]) -> str:
    """Return a report's figures by command as CSV; the last row is all commands (docs/loadgen.md)."""
    percentiles = [f"p{percent:g}" for percent in PERCENTILES]
    heads = ["command", "commands", "errors", *(f"{name}_ms" for name in ("mean", *percentiles, "max"))]
    named = [*report["by_command"].items(), ("all", report)]
    return _csv(
        heads,
        (
            [name, figures["commands"], figures["errors"]]
            + [latency(figures).get(column) for column in ("mean", *percentiles, "max")]
            for name, figures in named
        ),
    )


def latency(figures: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the latencies that count: those from the intended start, if the run had one."""
    found: Mapping[str, float] = figures["corrected_ms"] or figures["latency_ms"]
    return found


def _csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(heads)
    for row in rows:
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()


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
    """Return the statistics in a report."""
    return Statistics.read(report, report["run"]["started_at_ms"])


_COMMON = ("id", "workload", "model", "pace", "duration_s", "warm_up_s", "users", "from_transaction", "limit", "repeat")
_SUMMED = ("commands", "users_sent", "threads", "processes")


def merge(reports: Sequence[Report], *, partial: bool = False) -> Report:
    """Return the report of all machines of one run; histograms are summed exactly.

    Raises ReportError unless they are the parts of one run, each once, and all of them unless it may be `partial`.
    """
    ordered = sorted(reports, key=lambda report: int(report["run"]["started_at_ms"]))
    runs = [report["run"] for report in ordered]
    first = runs[0]
    for name in _COMMON:
        if any(run[name] != first[name] for run in runs):
            found = ", ".join(dict.fromkeys(str(run[name]) for run in runs))
            raise ReportError(f"these are not parts of one run: {name} differs ({found})")
    shards = [shard for run in runs for shard in run["shard"].split(", ")]
    _check_shards(shards, partial=partial)
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
            "shard": ", ".join(sorted(shards, key=_shard_number)),
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


def _check_shards(shards: Sequence[str], *, partial: bool) -> None:
    """Raise ReportError unless each shard of one division is present once."""
    if len(set(shards)) < len(shards):
        raise ReportError(f"these are not parts of one run: shard {max(shards, key=shards.count)} is given twice")
    divisions = sorted({int(shard.partition("/")[2]) for shard in shards})
    if len(divisions) > 1:
        raise ReportError(f"these are not parts of one run: shards of different divisions, {', '.join(shards)}")
    missing = [shard for number in range(divisions[0]) if (shard := f"{number + 1}/{divisions[0]}") not in shards]
    if missing and not partial:
        raise ReportError(f"missing shards: {', '.join(missing)}. Give all reports, or --partial for a part of the run")


def _shard_number(shard: str) -> int:
    return int(shard.partition("/")[0])
