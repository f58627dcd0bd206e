"""The sweep as a scheduled function: it reports where the cloud's logs and metrics are made from."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from chalicelib.clock import now_ms
from chalicelib.runtime import runtime
from chalicelib.sweep.report import Report

log = logging.getLogger(__name__)


def scheduled_sweep() -> dict[str, Any]:
    """Sweep once with the parts of this process and return the report.

    Raises UnavailableError: the failed run then shows in the function's own error metric.
    """
    report = runtime().sweeper.sweep()
    publish(report, os.environ.get("AWS_LAMBDA_FUNCTION_NAME"), sys.stdout)
    return asdict(report)


def publish(report: Report, function: str | None, output: TextIO, clock: Callable[[], int] = now_ms) -> None:
    """Log the report; in a function of the cloud also write it to `output` as a metric."""
    log.info("%s", report.line())
    if function is not None:
        output.write(f"{report.metric(function, clock())}\n")
        output.flush()
