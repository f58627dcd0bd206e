"""The Chalice app: routes and schedules are registered here; what they do lives in chalicelib."""

from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib.http.routes import method_problems, routes
from chalicelib.sweep.scheduled import scheduled_sweep

app = Chalice(app_name="day-trading")
app.register_middleware(method_problems, "http")
app.register_blueprint(routes)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(_event: CloudWatchEvent) -> dict[str, Any]:
    """Fire the triggers that are due and give expired orders back; answers what was done."""
    return scheduled_sweep()
