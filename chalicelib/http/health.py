"""Whether this server can do its work."""

import logging

import pymongo
from chalice.app import Response
from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from chalicelib.clock import Clock
from chalicelib.config import logins
from chalicelib.domain.errors import PermanentError, UnavailableError
from chalicelib.http.answers import json_response
from chalicelib.http.problems import problem_response
from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError
from chalicelib.store.indexes import missing_indexes
from chalicelib.store.registry import Registry

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
"""How long the database has to answer a health check."""


def health_response(database: Database[Document], redis: Redis, registry: Registry, clock: Clock) -> Response:
    """Return 200, or 503 naming what is down of what commands need: a primary, data of our form, a clock that is right.

    Without Redis commands still work, from the quote source; without the indexes it is sweeps that fail, until they
    have made them again. The answer is then 200 and says what is missing, so that a load balancer does not take all
    servers out at once.
    """
    try:
        with pymongo.timeout(PROBE_SECONDS):
            registry.check()
            registry.look()
            clock()
            missing = missing_indexes(database)
    except (PyMongoError, StoreError) as error:
        log.warning("mongodb does not answer: %s", error)
        return problem_response("store_unavailable", "down: mongodb", {"Retry-After": "1"})
    except PermanentError as error:
        return problem_response("store_unavailable", f"down: mongodb: {error}", {"Retry-After": "30"})
    except UnavailableError as error:
        log.warning("not well: %s", error)
        what = {"clock_skew": "clock", "unknown_data_version": "data"}.get(error.code, "mongodb")
        return problem_response(error.code, f"down: {what}: {error}", {"Retry-After": str(error.retry_after_seconds)})
    down = [f"index {name}" for name in missing]
    if fault := _redis_fault(redis):
        down.append(fault)
    return json_response({"status": "degraded", "down": down} if down else {"status": "ok"})


def _redis_fault(redis: Redis) -> str | None:
    """Return what is wrong with the cache, None when nothing is."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            pipeline.ping()
            pipeline.info("cluster")
            pong, told = pipeline.execute(raise_on_error=False)
        if isinstance(pong, RedisError):
            raise pong
    except RedisError as error:
        if isinstance(error, AuthenticationError):
            logins.refused.set()
        log.warning("redis does not answer: %s", error)
        return "redis"
    if isinstance(told, dict) and told.get("cluster_enabled"):
        log.error("the cache at REDIS_URL is in cluster mode, in which quotes cannot be kept: it has to be one without")
        return "redis: it is in cluster mode, quotes need one without"
    return None
