"""Whether this server can do its work. One check answers all requests that come while it runs or just after it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from chalicelib import concurrency
from chalicelib.clock import Clock, monotonic_seconds
from chalicelib.config import logins
from chalicelib.domain.errors import PermanentError, UnavailableError
from chalicelib.store.documents import Document
from chalicelib.store.errors import StoreError
from chalicelib.store.indexes import missing_indexes
from chalicelib.store.registry import Registry

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
"""How long the database may take to answer a check."""

SHARED_SECONDS = 0.05
"""How long after its end a check still answers: a server makes 20 checks a second, however many pages are open."""


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a check: what is `down`, and the problem's code if commands cannot be executed because of it."""

    down: tuple[str, ...] = ()
    code: str | None = None
    retry_after_seconds: int = 1


class HealthCheck:
    """Checks what commands need: a primary, a supported data version, a correct clock. Thread-safe.

    Without Redis commands still work, from the quote source; without the indexes only sweeps fail, until they have
    created them. These are reported without a code, so that a load balancer does not take all servers out at once.
    """

    def __init__(
        self,
        database: Database[Document],
        redis: Redis,
        registry: Registry,
        clock: Clock,
        monotonic: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._database = database
        self._redis = redis
        self._registry = registry
        self._clock = clock
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._found = Health()
        self._ended = float("-inf")

    def __call__(self) -> Health:
        """Return the result of a check that ended after this call began, or just before it, else of a new one."""
        asked = self._monotonic()
        with self._lock:
            if asked >= self._ended + SHARED_SECONDS or self._clock_was_set():
                self._found = self._check()
                self._ended = self._monotonic()
            return self._found

    def _clock_was_set(self) -> bool:
        """Return whether the clock went wrong after a check that found nothing: to look costs no request."""
        if self._found.code is not None:
            return False
        try:
            with pymongo.timeout(PROBE_SECONDS):
                self._clock()
        except (StoreError, UnavailableError):
            return True
        return False

    def _check(self) -> Health:
        try:
            with pymongo.timeout(PROBE_SECONDS):
                self._registry.check()
                self._registry.look()
                self._clock()
                missing = missing_indexes(self._database)
        except (PyMongoError, StoreError) as error:
            log.warning("mongodb does not answer: %s", error)
            return Health(("mongodb",), "store_unavailable")
        except PermanentError as error:
            return Health((f"mongodb: {error}",), "store_unavailable", 30)
        except UnavailableError as error:
            log.warning("cannot execute commands: %s", error)
            what = {"clock_skew": "clock", "unknown_data_version": "data"}.get(error.code, "mongodb")
            return Health((f"{what}: {error}",), error.code, error.retry_after_seconds)
        fault = _redis_fault(self._redis)
        return Health((*(f"index {name}" for name in missing), *([] if fault is None else [fault])))


def _redis_fault(redis: Redis) -> str | None:
    """Return what is wrong with the cache, or None."""
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
