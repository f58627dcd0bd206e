"""The response of the health check."""

from chalice.app import Response

from chalicelib.http.answers import json_response
from chalicelib.http.problems import problem_response
from chalicelib.service.health import Health


def health_response(health: Health) -> Response:
    """Return 200, with what is down but dispensable, or 503 with what commands need and is down."""
    if health.code is not None:
        headers = {"Retry-After": str(health.retry_after_seconds)}
        return problem_response(health.code, f"down: {', '.join(health.down)}", headers)
    return json_response({"status": "degraded", "down": list(health.down)} if health.down else {"status": "ok"})
