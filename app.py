"""The Chalice app: routes and schedules are registered here; what they do lives in chalicelib."""

import os
from dataclasses import asdict
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib.audit.function import go_on
from chalicelib.config.chalice_commands import stop_without_settings
from chalicelib.http.routes import finish_answers, routes, trace_request
from chalicelib.runtime import runtime, start
from chalicelib.sweep.scheduled import scheduled_sweep

app = Chalice(app_name="day-trading", configure_logs=False)  # the log is ours
app.api.binary_types = []  # all that is answered is text; Chalice compares each answer with thirteen types else
if os.environ.get("OTEL_TRACES_EXPORTER", "none") != "none":  # without traces no request pays for them
    app.register_middleware(trace_request, "http")
app.register_middleware(finish_answers, "http")
app.register_blueprint(routes)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(_event: CloudWatchEvent) -> dict[str, Any]:
    """Fire the triggers that are due and give expired orders back; answers what was done."""
    return scheduled_sweep()


@app.lambda_function(name="dump")
def dump(event: Any, context: Any) -> dict[str, Any]:
    """Go on with a DUMPLOG that takes longer than a request may."""
    return go_on(runtime().dumps, event, context.get_remaining_time_in_millis())


@app.schedule(Rate(1, unit=Rate.DAYS), name="archive")
def archive(_event: CloudWatchEvent) -> dict[str, int]:
    """Move what is old in the journals to archives, when a setting says after how many days; answers what was moved."""
    return asdict(runtime().retention.run())


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # the servers call `start` before they listen
    start()
else:
    stop_without_settings()
