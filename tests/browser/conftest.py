"""One browser and one stack for the tests of the page; each test has its own users."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser

from infra.browser.chromium import chromium
from infra.local.background import BackgroundStack, running_stack
from tests.browser.visits import Visit, visit

SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test of the page that timed out once more, as Playwright's own runner does in CI; the summary counts it.

    Any other failure, a wrong sum or sentence, fails at once.
    """
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


@pytest.fixture(scope="package")
def browser(chromium_program: str) -> Iterator[Browser]:
    """Return a running browser."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def floor(chromium_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """Return a stack at one price, whose triggers fire within a second."""
    data = tmp_path_factory.mktemp("floor") / "stack"
    with running_stack(data, *SMALL, "--quote-source", "fixed:10.00", "--trigger-seconds", "1") as stack:
        yield stack


@pytest.fixture(scope="package")
def frail(chromium_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """Return a stack with a quote server and a rate limit for traders; tests stop its parts."""
    data = tmp_path_factory.mktemp("frail") / "stack"
    quotes = ("--quote-source", "legacy", "--quote-price", "fixed:10.00", "--quote-delay", "0", "--quote-fail", "0")
    # For this stack only: a change of our own environment would reach every later test.
    environment = {"RATE_LIMIT": "400", "RATE_LIMIT_SECONDS": "3600", "QUOTE_LIMIT_MS": "1000"}
    with running_stack(data, *SMALL, *quotes, "--trigger-seconds", "0", environment=environment) as stack:
        yield stack


class Visits(Protocol):
    """Creates visits."""

    def __call__(self, stack: BackgroundStack, width: int = 1280, scheme: str = "light") -> Visit:
        """Return a visit that has not begun."""


@pytest.fixture
def visits(browser: Browser) -> Iterator[Visits]:
    """Return a function that creates visits; they are closed when the test ends."""
    begun: list[Visit] = []

    def begin(stack: BackgroundStack, width: int = 1280, scheme: str = "light") -> Visit:
        begun.append(visit(browser, stack, width, "dark" if scheme == "dark" else "light"))
        return begun[-1]

    yield begin
    for one in begun:
        one.page.context.close()
