"""One running stack for each kind of server, for the tests that attack it and leave it unchanged."""

from collections.abc import Iterator

import pytest

from infra.local.background import BackgroundStack, running_stack

SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")


@pytest.fixture(scope="session", params=["gateway", "chalice"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """Return a stack that several tests share."""
    data = tmp_path_factory.mktemp("served") / request.param
    # No sweep: it would give back orders that one test left behind while another one looks at the accounts.
    options = ("--server", request.param, "--quote-source", "fixed:10.00", "--trigger-seconds", "0")
    with running_stack(data, *options, *SMALL) as stack:
        yield stack
