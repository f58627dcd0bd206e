"""What a health check looks at, and what it says of each part that is down."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import AuthenticationError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chalicelib.config import logins
from chalicelib.domain.errors import ClockSkewError, IndexConflictError, TooLateError, UnknownDataVersionError
from chalicelib.service.health import Health, HealthCheck
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.indexes import ACCOUNT_INDEXES, DUE_INDEX

INDEXES = {model.document["name"]: {"key": list(model.document["key"].items())} for model in ACCOUNT_INDEXES}


@dataclass
class Parts:
    """A registry, a clock, a database and a cache in one, each of which can fail; `seconds` is the monotonic clock."""

    check: Callable[[], object] = lambda: None
    look: Callable[[], object] = lambda: None
    clock: Callable[[], int] = lambda: 1
    indexes: dict[str, Any] = field(default_factory=lambda: INDEXES)
    replies: tuple[Any, Any] = (True, {"cluster_enabled": 0})
    seconds: float = 0.0

    def __getitem__(self, name: str) -> "Parts":
        assert name == "accounts"
        return self

    def index_information(self) -> dict[str, Any]:
        return self.indexes

    def pipeline(self, *, transaction: bool) -> "Parts":
        assert not transaction
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ping(self) -> None: ...

    def info(self, section: str) -> None: ...

    def execute(self, *, raise_on_error: bool) -> tuple[Any, Any]:
        return self.replies

    def health(self) -> Health:
        parts: Any = self
        return HealthCheck(parts, parts, parts, self.clock, lambda: self.seconds)()


def raises(error: Exception) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def test_a_server_whose_parts_all_work_has_nothing_down() -> None:
    assert Parts().health() == Health()


@pytest.mark.parametrize("what", ["check", "look", "clock"])
@pytest.mark.parametrize(
    ("error", "down", "code", "retry_after_seconds"),
    [
        (ServerSelectionTimeoutError("no primary"), "mongodb", "store_unavailable", 1),
        (UnknownOutcomeError("no answer"), "mongodb", "store_unavailable", 1),
        (IndexConflictError("drop it"), "mongodb: drop it", "store_unavailable", 30),
        (ClockSkewError(3_000, 2_000), f"clock: {ClockSkewError(3_000, 2_000)}", "clock_skew", 1),
        (UnknownDataVersionError(9, 3), f"data: {UnknownDataVersionError(9, 3)}", "unknown_data_version", 30),
        (TooLateError("late"), "mongodb: late", "too_late", 1),
    ],
)
def test_what_commands_need_is_named_with_its_code(
    what: str, error: Exception, down: str, code: str, retry_after_seconds: int
) -> None:
    assert Parts(**{what: raises(error)}).health() == Health((down,), code, retry_after_seconds)  # type: ignore[arg-type]  # by name


def test_indexes_and_a_cache_that_are_missing_are_named_without_a_code() -> None:
    others = {name: found for name, found in INDEXES.items() if name != DUE_INDEX}
    parts = Parts(indexes=others, replies=(RedisTimeoutError("late"), None))
    assert parts.health() == Health((f"index {DUE_INDEX}", "redis"))
    assert Parts(replies=(True, {"cluster_enabled": 1})).health().down[0].startswith("redis: it is in cluster mode")


def test_a_login_that_the_cache_refuses_is_remembered() -> None:
    logins.refused.clear()
    assert Parts(replies=(AuthenticationError("WRONGPASS"), None)).health() == Health(("redis",))
    assert logins.refused.is_set()
    logins.refused.clear()
