"""The answer that says whether this server can do its work."""

from chalice.app import Response

from chalicelib.http.answers import json_response
from chalicelib.http.problems import problem_response
from chalicelib.service.health import Health


def health_response(health: Health) -> Response:
    """Return 200, with what is down that commands can do without, or 503 naming what they cannot."""
    if health.code is not None:
        headers = {"Retry-After": str(health.retry_after_seconds)}
        return problem_response(health.code, f"down: {', '.join(health.down)}", headers)
    return json_response({"status": "degraded", "down": list(health.down)} if health.down else {"status": "ok"})
