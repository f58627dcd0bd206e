"""What a sweep did, as a line of the log and as a CloudWatch metric."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from chalicelib.clock import now_ms

log = logging.getLogger(__name__)

NAMESPACE = "DayTrading"
"""The namespace of the metrics in CloudWatch."""


@dataclass(slots=True)
class Report:
    """What a sweep did.

    symbols           visited symbols with an active trigger
    quotes, unpriced  symbols whose quote could be had, and those whose could not
    due               accounts found with a due trigger
    fired             triggers
    expired           orders released
    lost_races        writes that lost a race and were decided again
    outdated          due accounts left for the next sweep because their quotes expired first
    failed            accounts left for the next sweep because of an error: the log says why
    complete          whether all symbols and all due accounts were visited in time
    """

    symbols: int = 0
    quotes: int = 0
    unpriced: int = 0
    due: int = 0
    fired: int = 0
    expired: int = 0
    lost_races: int = 0
    outdated: int = 0
    failed: int = 0
    complete: bool = True
    seconds: float = 0.0

    def line(self) -> str:
        """Return the report as one line, `sweep name=value ...`."""
        return " ".join(["sweep", *(f"{name}={_shown(value)}" for name, value in asdict(self).items())])

    def metric(self, function: str, at_ms: int) -> str:
        """Return the report as one line in CloudWatch's embedded metric format."""
        values: dict[str, Any] = {f"Sweep{_camel(name)}": _number(value) for name, value in asdict(self).items()}
        metrics = [{"Name": name, "Unit": "Seconds" if name == "SweepSeconds" else "Count"} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": metrics}
        root = {"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}, "FunctionName": function}
        return json.dumps(root | values)


def publish(report: Report, function: str | None, output: TextIO, clock: Callable[[], int] = now_ms) -> None:
    """Log the report; in a Lambda function also write it to `output` as a metric."""
    log.info("%s", report.line())
    if function is not None:
        output.write(f"{report.metric(function, clock())}\n")
        output.flush()


def _shown(value: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _number(value: float) -> float:
    return round(value, 3) if isinstance(value, float) else int(value)


def _camel(name: str) -> str:
    return name.title().replace("_", "")
