"""The settings: one frozen object, read from the environment and checked before anything starts."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

MIN_SECRET_BYTES = 32
"""HS256 wants a key at least as long as its hash (RFC 7518 section 3.2)."""


class SettingError(Exception):
    """A setting that cannot be used: names it, what it got and what it takes."""

    def __init__(self, name: str, got: str | None, takes: str) -> None:
        shown = "nothing" if got is None else repr(got)
        super().__init__(f"setting {name}: got {shown}, takes {takes}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Settings:
    """What the functions need to know of their surroundings; `docs/operations.md` describes each."""

    mongo_uri: str
    mongo_database: str
    mongo_pool_size: int
    mongo_timeout_ms: int
    command_timeout_ms: int
    recent_accounts: int
    group_commit: int
    redis_url: str
    redis_timeout_ms: int
    quote_source: str
    quote_try_ms: int
    quote_limit_ms: int
    quote_first_pause_ms: int
    quote_longest_pause_ms: int
    quote_lock_spare_ms: int
    quote_poll_ms: int
    quote_cache_pause_ms: int
    sweep_limit_ms: int
    sweep_quotes_at_once: int
    sweep_writes_at_once: int
    sweep_batch: int
    trigger_seconds: int
    auth_secret: str
    dump_folder: str
    server_name: str


def _text(name: str, env: Mapping[str, str], default: str | None = None) -> str:
    value = env.get(name, default)
    if value is None or not value.strip():
        raise SettingError(name, value, "a value; it has no default")
    return value


def _number(name: str, env: Mapping[str, str], default: int, low: int, high: int) -> int:
    raw = env.get(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise SettingError(name, raw, f"a whole number from {low} to {high}")
    return value


def _checked(name: str, env: Mapping[str, str], takes: str, accepts: Callable[[str], bool]) -> str:
    value = env.get(name)
    if value is None or not accepts(value):
        raise SettingError(name, value, takes)
    return value


def _secret(env: Mapping[str, str]) -> str:
    value = env.get("AUTH_SECRET")
    takes = f"a random secret of at least {MIN_SECRET_BYTES} bytes"
    if value is None or len(value.encode()) < MIN_SECRET_BYTES:
        # The value itself is never shown: a short secret is still a secret.
        raise SettingError("AUTH_SECRET", None if value is None else f"{len(value.encode())} bytes", takes)
    return value


def read_settings(env: Mapping[str, str]) -> Settings:
    """Return the settings that `env` gives; raises SettingError for the first that cannot be used."""
    return Settings(
        mongo_uri=_checked(
            "MONGO_URI",
            env,
            "a mongodb:// or mongodb+srv:// address",
            lambda value: value.startswith(("mongodb://", "mongodb+srv://")),
        ),
        mongo_database=_text("MONGO_DATABASE", env, "day_trading"),
        mongo_pool_size=_number("MONGO_POOL_SIZE", env, 100, 1, 1000),
        mongo_timeout_ms=_number("MONGO_TIMEOUT_MS", env, 5_000, 100, 60_000),
        command_timeout_ms=_number("COMMAND_TIMEOUT_MS", env, 20_000, 100, 60_000),
        recent_accounts=_number("RECENT_ACCOUNTS", env, 2_000, 0, 1_000_000),
        group_commit=_number("GROUP_COMMIT", env, 1, 1, 1_000),
        redis_url=_checked(
            "REDIS_URL",
            env,
            "a redis:// or rediss:// address",
            lambda value: value.startswith(("redis://", "rediss://")),
        ),
        redis_timeout_ms=_number("REDIS_TIMEOUT_MS", env, 250, 10, 10_000),
        quote_source=_text("QUOTE_SOURCE", env),
        quote_try_ms=_number("QUOTE_TRY_MS", env, 250, 10, 30_000),
        quote_limit_ms=_number("QUOTE_LIMIT_MS", env, 5_000, 100, 60_000),
        quote_first_pause_ms=_number("QUOTE_FIRST_PAUSE_MS", env, 10, 1, 10_000),
        quote_longest_pause_ms=_number("QUOTE_LONGEST_PAUSE_MS", env, 250, 1, 10_000),
        quote_lock_spare_ms=_number("QUOTE_LOCK_SPARE_MS", env, 500, 50, 10_000),
        quote_poll_ms=_number("QUOTE_POLL_MS", env, 50, 5, 1_000),
        quote_cache_pause_ms=_number("QUOTE_CACHE_PAUSE_MS", env, 1_000, 10, 60_000),
        sweep_limit_ms=_number("SWEEP_LIMIT_MS", env, 15_000, 100, 600_000),
        sweep_quotes_at_once=_number("SWEEP_QUOTES_AT_ONCE", env, 16, 1, 256),
        sweep_writes_at_once=_number("SWEEP_WRITES_AT_ONCE", env, 8, 1, 256),
        sweep_batch=_number("SWEEP_BATCH", env, 256, 1, 10_000),
        trigger_seconds=_number("TRIGGER_SECONDS", env, 0, 0, 3_600),
        auth_secret=_secret(env),
        dump_folder=_text("DUMP_FOLDER", env),
        server_name=_text("SERVER_NAME", env, "day-trading"),
    )


@cache
def settings() -> Settings:
    """Return the settings of this process, read from its environment once."""
    return read_settings(os.environ)
