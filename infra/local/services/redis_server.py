"""valkey-server or redis-server as a cache on this machine: bounded, without persistence."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import redis

from infra.host.binaries import find_redis_server
from infra.host.ports import HOST
from infra.local.process import Part

DEFAULT_MEMORY_MB = 128
_PROBE_SECONDS = 2.0


def redis_url(port: int) -> str:
    """Return the address of the redis-server on `port`."""
    return f"redis://{HOST}:{port}/0"


def redis_part(folder: Path, port: int, environment: Mapping[str, str], *, memory_mb: int = DEFAULT_MEMORY_MB) -> Part:
    """Return a valkey-server or redis-server with at most `memory_mb` megabytes, ready when it answers a PING.

    Its values live for a minute, so nothing is saved; when it is full, the least recently used values are evicted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(find_redis_server().path),
        *("--port", str(port)),
        *("--bind", HOST),
        *("--dir", str(folder)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", f"{memory_mb}mb"),
        *("--maxmemory-policy", "allkeys-lru"),
    ]
    return Part("redis", command, environment, partial(_why_no_answer, port), stop_seconds=10.0)


def _why_no_answer(port: int) -> str | None:
    client = redis.Redis(HOST, port, socket_timeout=_PROBE_SECONDS, socket_connect_timeout=_PROBE_SECONDS)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()
    return None
