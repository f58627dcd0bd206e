"""Rate limits per user, counted in Redis for all servers together."""

import logging
import math

from redis import Redis
from redis.exceptions import RedisError

from chalicelib.access.errors import RateLimitedError
from chalicelib.circuit_breaker import CircuitBreaker, SeldomLog

log = logging.getLogger(__name__)

# The generic cell rate algorithm: one key per user holds the time at which everything taken is paid for at the steady
# rate, in microseconds of Redis's own clock, so servers need not agree on theirs. A value more than a window ahead, or
# of another type, is not ours and blocks nobody. Returns how long to wait.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = redis.pcall('GET', KEYS[1])
local held = type(stored) == 'string' and tonumber(stored) or 0
if not (held <= now + ARGV[2]) then
  held = 0
end
local paid = math.max(now, held) + ARGV[1]
local wait = paid - now - ARGV[2]
if wait > 0 then
  return wait
end
redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000))
return 0
"""


class RateLimit:
    """At most `commands` at once, and then one every `seconds / commands`; thread-safe.

    Limits of different kinds count separately; all servers share those of one `kind`. If Redis is down, nobody is
    limited, after one time-out per pause of the breaker: a limit protects the service and must not take it down.
    """

    def __init__(
        self, redis: Redis, namespace: str, commands: int, seconds: int, breaker: CircuitBreaker, kind: str = ""
    ) -> None:
        self._redis = redis
        self._keys = f"{namespace}:rate:{kind}:" if kind else f"{namespace}:rate:"
        self._window_us = seconds * 1_000_000
        self._interval_us = max(1, self._window_us // commands)
        self._breaker = breaker
        self._outage_log = SeldomLog(log)

    def take(self, user: str) -> None:
        """Count a command of a user, or raise RateLimitedError without counting it."""
        if (began := self._breaker.begin()) is None:
            return
        try:
            wait_us = self._wait_us(user)
        except RedisError as error:
            self._breaker.failed(began)
            self._outage_log.warning("commands are not rate limited while Redis is failing: %s", error)
            return
        if self._breaker.succeeded():
            log.warning("commands are rate limited again")
        if wait_us > 0:
            raise RateLimitedError(math.ceil(wait_us / 1_000_000))

    def _wait_us(self, user: str) -> int:
        return int(self._redis.eval(_TAKE, 1, self._keys + user, self._interval_us, self._window_us))
