"""Whether this server can do its work."""

import logging
from collections.abc import Callable

import pymongo
from chalice.app import Response
from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from chalicelib.clock import Clock
from chalicelib.domain.errors import ClockSkewError
from chalicelib.http.answers import json_response
from chalicelib.http.problems import problem_response
from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
"""How long the database has to answer a health check."""


def health_response(database: Database[Document], redis: Redis, clock: Clock) -> Response:
    """Return 200, or 503 naming what is down.

    Without Redis commands still work, from the quote source: the answer is 200 and says what is missing, so that a load
    balancer does not take all servers out at once.
    """
    if not _answers("mongodb", lambda: _ping_database(database)):
        return problem_response("store_unavailable", "down: mongodb", {"Retry-After": "1"})
    try:
        clock()
    except ClockSkewError as error:
        return problem_response(error.code, f"down: clock: {error}", {"Retry-After": "1"})
    except StoreError as error:
        log.warning("mongodb does not tell the time: %s", error)
        return problem_response("store_unavailable", "down: mongodb", {"Retry-After": "1"})
    if not _answers("redis", redis.ping):
        return json_response({"status": "degraded", "down": ["redis"]})
    return json_response({"status": "ok"})


def _ping_database(database: Database[Document]) -> None:
    with pymongo.timeout(PROBE_SECONDS):
        database.command("ping")


def _answers(name: str, probe: Callable[[], object]) -> bool:
    try:
        probe()
    except (PyMongoError, RedisError) as error:
        log.warning("%s does not answer: %s", name, error)
        return False
    return True
