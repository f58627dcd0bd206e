"""Redis, as far as the quotes use it, over a modelled network: keys with expiry, sorted sets, and Lua scripts.

The scripts are executed unchanged, by Lua itself.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Self

from lupa.lua51 import LuaError, LuaRuntime  # type: ignore[import-untyped]  # its stubs are of an older release
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from infra.simulation.network import Answer, NoAnswerError, Weather, ask
from infra.simulation.scheduler import Scheduler

ANSWER_NS = 50_000_000

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

Value = bytes | dict[bytes, float]
"""A string, or the scores of a sorted set."""


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class RedisServer:
    """The contents of Redis, by its own, correct clock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._values: dict[bytes, tuple[Value, int | None]] = {}

    @property
    def now_ms(self) -> int:
        """Return its time."""
        return self._scheduler.now_ns // 1_000_000

    def forget_all(self) -> None:
        """Lose everything, as in a restart."""
        self._values.clear()

    def keys(self) -> list[bytes]:
        """Return the existing keys."""
        return [key for key in list(self._values) if self._there(key) is not None]

    def do(self, name: str, *arguments: Any) -> Any:
        """Execute a command; raises ResponseError."""
        command: Callable[..., Any] = getattr(self, f"_{name.lower()}")
        return command(*(_bytes(argument) for argument in arguments))

    def _there(self, key: bytes) -> Value | None:
        value, ends_ms = self._values.get(key, (None, None))
        if ends_ms is not None and ends_ms <= self.now_ms:
            del self._values[key]
            return None
        return value

    def _get(self, key: bytes) -> bytes | None:
        value = self._there(key)
        if isinstance(value, dict):
            raise ResponseError(WRONG_TYPE)
        return value

    def _set(self, key: bytes, value: bytes, *options: bytes) -> str:
        lifetime_ms = int(options[1]) if options and options[0].upper() == b"PX" else None
        if lifetime_ms is not None and lifetime_ms <= 0:
            raise ResponseError("invalid expire time in 'set' command")
        self._values[key] = value, None if lifetime_ms is None else self.now_ms + lifetime_ms
        return "OK"

    def _pttl(self, key: bytes) -> int:
        if self._there(key) is None:
            return -2
        ends_ms = self._values[key][1]
        return -1 if ends_ms is None else ends_ms - self.now_ms

    def _pexpire(self, key: bytes, lifetime_ms: bytes) -> int:
        value = self._there(key)
        if value is None:
            return 0
        self._values[key] = value, self.now_ms + int(lifetime_ms)
        return 1

    def _del(self, key: bytes) -> int:
        is_there = self._there(key) is not None
        self._values.pop(key, None)
        return int(is_there)

    def _sorted_set(self, key: bytes) -> dict[bytes, float]:
        value = self._there(key)
        if isinstance(value, bytes):
            raise ResponseError(WRONG_TYPE)
        return {} if value is None else value

    def _keep(self, key: bytes, members: dict[bytes, float]) -> None:
        ends_ms = self._values.get(key, (None, None))[1]
        if members:
            self._values[key] = members, ends_ms
        else:
            self._values.pop(key, None)

    def _zadd(self, key: bytes, score: bytes, member: bytes) -> int:
        members = self._sorted_set(key)
        is_new = member not in members
        self._keep(key, members | {member: float(score)})
        return int(is_new)

    def _zremrangebyscore(self, key: bytes, least: bytes, most: bytes) -> int:
        members = self._sorted_set(key)
        kept = {member: score for member, score in members.items() if not float(least) <= score <= float(most)}
        self._keep(key, kept)
        return len(members) - len(kept)

    def _zremrangebyrank(self, key: bytes, first: bytes, last: bytes) -> int:
        members = self._sorted_set(key)
        ranked = sorted(members, key=lambda member: (members[member], member))
        end = int(last) + 1 if int(last) >= 0 else len(ranked) + int(last) + 1
        gone = ranked[int(first) : max(0, end)]
        self._keep(key, {member: score for member, score in members.items() if member not in gone})
        return len(gone)

    def _zrange(self, key: bytes, least: bytes, most: bytes, _byscore: bytes) -> list[bytes]:
        members = self._sorted_set(key)
        ranked = sorted(members, key=lambda member: (members[member], member))
        return [member for member in ranked if float(least) <= members[member] <= float(most)]

    def _eval(self, script: bytes, count: bytes, *arguments: bytes) -> Any:
        keys = int(count)
        return _lua(script)(self._call, arguments[:keys], arguments[keys:])

    def _call(self, *arguments: Any) -> Any:
        """Execute a script's command; errors are returned as messages, and nil as False, as in Redis."""
        name, *rest = arguments
        value = self.do(name.decode(), *(int(one) if isinstance(one, float) else one for one in rest))
        return False if value is None else value


_PRELUDE = """
local call, keys, argv = ...
local function lua_table(items)
  local made = {}
  for item in python.iter(items) do made[#made + 1] = item end
  return made
end
local KEYS, ARGV = lua_table(keys), lua_table(argv)
local redis = {call = call}
redis.pcall = function(...)
  local well, value = pcall(call, ...)
  if well then return value end
  return {err = tostring(value)}
end
"""


@lru_cache
def _lua(script: bytes) -> Callable[..., Any]:
    runtime = LuaRuntime(encoding=None, unpack_returned_tuples=False)
    chunk = runtime.compile(_PRELUDE.encode() + script)

    def run(call: Callable[..., Any], keys: Sequence[bytes], argv: Sequence[bytes]) -> Any:
        try:
            return chunk(call, keys, argv)
        except LuaError as error:
            raise ResponseError(str(error)) from error

    return run


class ModelledRedis:
    """A client like `redis.Redis`."""

    def __init__(self, scheduler: Scheduler, weather: Weather, server: RedisServer) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._server = server

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        """Begin a pipeline; raises NotImplementedError for a transaction."""
        if transaction:
            raise NotImplementedError("a transaction")
        return Pipeline(self)

    def eval(self, script: str, count: int, *arguments: Any) -> Any:
        """Execute a script."""
        return self._alone("EVAL", script, count, *arguments)

    def zrange(self, key: str, least: object, most: object, *, byscore: bool) -> Any:
        """Return the members of a sorted set between two scores."""
        return self._alone("ZRANGE", key, least, most, byscore)

    def _alone(self, *command: Any) -> Any:
        (result,) = self.carry_out([command])
        if isinstance(result, Exception):
            raise result
        return result

    def carry_out(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands and return each result, a value or an error."""

        def serve(answer: Answer) -> None:
            results = [_result(self._server, command) for command in commands]
            answer(lambda: results)

        try:
            answered: list[Any] = ask(self._scheduler, self._weather, serve, ANSWER_NS)
        except NoAnswerError:
            raise RedisTimeoutError("no answer in time") from None
        return answered


def _result(server: RedisServer, command: Sequence[Any]) -> Any:
    try:
        return server.do(*command)
    except RedisError as error:
        return error


class Pipeline:
    """Commands sent together."""

    def __init__(self, client: ModelledRedis) -> None:
        self._client = client
        self._commands: list[Sequence[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        """Send them."""
        results = self._client.carry_out(self._commands)
        if raise_on_error and (error := next((one for one in results if isinstance(one, Exception)), None)):
            raise error
        return results

    def get(self, key: str) -> None:
        """Add GET."""
        self._commands.append(("GET", key))

    def pttl(self, key: str) -> None:
        """Add PTTL."""
        self._commands.append(("PTTL", key))

    def set(self, key: str, value: bytes, *, px: int) -> None:
        """Add SET with an expiry."""
        self._commands.append(("SET", key, value, "PX", px))

    def eval(self, script: str, count: int, *arguments: Any) -> None:
        """Add EVAL."""
        self._commands.append(("EVAL", script, count, *arguments))

    def zadd(self, key: str, scores: dict[str, float]) -> None:
        """Add ZADD."""
        for member, score in scores.items():
            self._commands.append(("ZADD", key, score, member))

    def zremrangebyscore(self, key: str, least: float, most: float) -> None:
        """Add ZREMRANGEBYSCORE."""
        self._commands.append(("ZREMRANGEBYSCORE", key, least, most))

    def zremrangebyrank(self, key: str, first: int, last: int) -> None:
        """Add ZREMRANGEBYRANK."""
        self._commands.append(("ZREMRANGEBYRANK", key, first, last))

    def pexpire(self, key: str, lifetime_ms: int) -> None:
        """Add PEXPIRE."""
        self._commands.append(("PEXPIRE", key, lifetime_ms))
