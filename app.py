"""The Chalice app: routes and schedules are registered here; what they do lives in chalicelib."""

import os
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib.http.routes import finish_answers, routes
from chalicelib.runtime import start
from chalicelib.sweep.scheduled import scheduled_sweep

app = Chalice(app_name="day-trading", configure_logs=False)  # the log is ours
app.register_middleware(finish_answers, "http")
app.register_blueprint(routes)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(_event: CloudWatchEvent) -> dict[str, Any]:
    """Fire the triggers that are due and give expired orders back; answers what was done."""
    return scheduled_sweep()


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # the servers call `start` before they listen
    start()
