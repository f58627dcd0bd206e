"""One check of the health answers all who ask at the same time: many open pages cost no more checks than one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from chalicelib.runtime import runtime
from chalicelib.service.health import Health, HealthCheck
from chalicelib.store.documents import DATA_VERSION
from chalicelib.store.registry import Registry, check_version
from tests.integration.api import running_api

PAGES = 8


class SetRegistry(Registry):
    """Data of a form that the test sets."""

    looks = 0
    version = DATA_VERSION

    def look(self) -> None:
        """Count, and look at what the test has set."""
        self.looks += 1
        check_version(self.version)


@pytest.fixture
def registry(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[SetRegistry]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path):
        yield SetRegistry(runtime().database)


def check_with(registry: SetRegistry, seconds: list[float]) -> HealthCheck:
    parts = runtime()
    return HealthCheck(parts.database, parts.redis, registry, parts.clock, lambda: seconds[-1])


def test_what_was_well_is_looked_at_again_by_the_next_who_asks(registry: SetRegistry) -> None:
    """A server whose clock has just been set wrong says so at once, however lately it was found well."""
    check = check_with(registry, [100.0])
    assert check() == Health()
    registry.version = DATA_VERSION + 1
    assert check().code == "unknown_data_version"


def test_what_is_down_is_looked_at_again_by_the_next_who_asks(registry: SetRegistry) -> None:
    check = check_with(registry, [100.0])
    registry.version = DATA_VERSION + 1
    assert check().code == "unknown_data_version"
    registry.version = DATA_VERSION
    assert check() == Health()


def test_those_who_ask_during_a_check_are_answered_by_it_also_when_it_finds_something_down(
    registry: SetRegistry,
) -> None:
    """A database that is away takes a second to find out: one second for all, not for one after the other."""
    times = iter([*[2.0] * PAGES, *[3.0] * PAGES])
    asked = Barrier(PAGES)

    def monotonic() -> float:
        now = next(times)
        if now < 3.0:
            asked.wait(20)
        return now

    parts = runtime()
    check = HealthCheck(parts.database, parts.redis, registry, parts.clock, monotonic)
    registry.version = DATA_VERSION + 1
    with ThreadPoolExecutor(PAGES) as pool:
        found = [one.result() for one in [pool.submit(check) for _ in range(PAGES)]]
    assert {one.code for one in found} == {"unknown_data_version"}
    assert registry.looks == 1
