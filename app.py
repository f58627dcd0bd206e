"""The Chalice app: registers routes, functions and schedules; the code they run is in chalicelib."""

import os
import sys
from dataclasses import asdict
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib.audit.function import go_on
from chalicelib.config.chalice_commands import stop_without_settings
from chalicelib.http.routes import finish_answers, routes, trace_request
from chalicelib.runtime import runtime, start
from chalicelib.sweep.report import publish

app = Chalice(app_name="day-trading", configure_logs=False)  # the log is ours
app.api.binary_types = []  # every response is text; otherwise Chalice checks each against thirteen types
if os.environ.get("OTEL_TRACES_EXPORTER", "none") != "none":  # without traces no request pays for them
    app.register_middleware(trace_request, "http")
app.register_middleware(finish_answers, "http")
app.register_blueprint(routes)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(_event: CloudWatchEvent) -> dict[str, Any]:
    """Fire due triggers and release expired orders; return a report. A failed sweep is an error of the function."""
    report = runtime().sweeper.sweep()
    publish(report, os.environ.get("AWS_LAMBDA_FUNCTION_NAME"), sys.stdout)
    return asdict(report)


@app.lambda_function(name="dump")
def dump(event: Any, context: Any) -> dict[str, Any]:
    """Continue a DUMPLOG that takes longer than a request may."""
    return go_on(runtime().dumps, event, context.get_remaining_time_in_millis())


@app.schedule(Rate(1, unit=Rate.DAYS), name="archive")
def archive(_event: CloudWatchEvent) -> dict[str, int]:
    """Move old journal entries to archives if ARCHIVE_DAYS is set; return what was moved."""
    return asdict(runtime().retention.run())


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # the servers call `start` before they listen
    start()
else:
    stop_without_settings()
