"""One check of the health answers all who ask at the same time or just after it: pages do not add up in checks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from chalicelib.clock import Clock
from chalicelib.domain.errors import ClockSkewError
from chalicelib.runtime import runtime
from chalicelib.service.health import SHARED_SECONDS, Health, HealthCheck
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


def check_with(registry: SetRegistry, seconds: list[float], clock: Clock | None = None) -> HealthCheck:
    parts = runtime()
    return HealthCheck(parts.database, parts.redis, registry, clock or parts.clock, lambda: seconds[-1])


def test_a_check_answers_those_who_ask_shortly_after_it(registry: SetRegistry) -> None:
    """As many open pages ask as may be: what each is told was found at most so long ago."""
    seconds = [100.0]
    check = check_with(registry, seconds)
    assert check() == Health()
    registry.version = DATA_VERSION + 1
    seconds.append(100.0 + SHARED_SECONDS * 0.9)
    assert check() == Health()
    assert registry.looks == 1
    seconds.append(100.0 + SHARED_SECONDS)
    assert check().code == "unknown_data_version"
    registry.version = DATA_VERSION
    seconds.append(seconds[-1] + SHARED_SECONDS)
    assert check() == Health()


def test_a_clock_that_was_just_set_wrong_is_told_however_lately_all_was_well(registry: SetRegistry) -> None:
    wrong = False

    def clock() -> int:
        if wrong:
            raise ClockSkewError(60_000, 2_000)
        return 1

    check = check_with(registry, [100.0], clock)
    assert check() == Health()
    wrong = True
    assert check().code == "clock_skew"
    assert check().code == "clock_skew"
    assert registry.looks == 2


def test_those_who_ask_during_a_check_are_answered_by_it_also_when_it_finds_something_down(
    registry: SetRegistry,
) -> None:
    """A database that is away takes a second to find out: one second for all, not for one after the other."""
    times = iter([*[2.0] * PAGES, 3.0])
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
