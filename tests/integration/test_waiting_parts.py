"""On the thread of an event loop the app asks nobody anything itself: not the database, not the cache, not the disk."""

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.audit.places import Folder
from chalicelib.domain.commands import Command, CommandName
from chalicelib.runtime import Runtime, make_runtime
from chalicelib.service.trading import Answer
from chalicelib.store.accounts import PART_ENTRIES
from tests.integration.shop import settings_for
from tests.ways import on_a_loop

USER = "jane"


@pytest.fixture
def asked_on(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the threads that have used a socket that stands still, or opened a file of a log, since the test began."""
    threads: set[int] = set()

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(first: Any, *arguments: Any, **more: Any) -> Any:
            if not isinstance(first, socket.socket) or first.gettimeout() != 0:
                threads.add(threading.get_ident())
            return method(first, *arguments, **more)

        return noted

    for name in ("connect", "send", "sendall", "recv", "recv_into"):
        monkeypatch.setattr(socket.socket, name, noting(getattr(socket.socket, name)))
    monkeypatch.setattr(Folder, "open", noting(Folder.open))
    monkeypatch.setattr(Folder, "writer", noting(Folder.writer))
    return threads


@pytest.fixture(params=["1", "128"], ids=["single", "grouped"])
def make(
    request: pytest.FixtureRequest, mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> Iterator[Callable[[], Runtime]]:
    """Return what makes the parts of another server, which knows no account and no quote yet."""
    made: list[Runtime] = []

    def again() -> Runtime:
        more = {"GROUP_COMMIT": request.param, "DUMP_PLACE": str(tmp_path), "RATE_LIMIT": "100000"}
        made.append(make_runtime(settings_for(mongo_uri, mongo_database, redis_url, **more)))
        return made[-1]

    yield again
    for parts in made:
        parts.close()


def give(parts: Runtime, name: CommandName, key: str | None = None, **parameters: Any) -> Answer:
    command = Command(name, USER, parts.transactions.next(), key=key, **parameters)
    return parts.trading.execute(command)


def day(make: Callable[[], Runtime], asked_on: set[int]) -> None:
    """Do all that reads, writes or waits: what a server knows already, and what another one has done meanwhile."""
    here = threading.get_ident()
    first, other = make(), make()
    assert first.rate_limit is not None
    add = partial(give, name=CommandName.ADD, amount_cents=100_00)
    keyed = add(first, key="the first")
    buys = [give(first, CommandName.BUY, symbol="ABC", amount_cents=10_00).entry.outcome for _ in range(PART_ENTRIES)]
    assert buys.count("ok") == 10
    assert add(other, key="the first").entry == keyed.entry  # in a closed part
    lost = add(first)
    assert lost.entry.cash_cents == 100_00  # the other one has not written
    add(other)
    assert add(first).entry.cash_cents == 300_00  # a lost race
    record = other.trading.store.reload(USER)
    assert other.trading.store.find_attempt(record, b"no such!", 1) is None
    assert len(give(other, CommandName.DISPLAY_SUMMARY).result["history"]) == 20
    dumped = give(first, CommandName.DUMPLOG, filename="log.xml")
    assert dumped.result["events"] > PART_ENTRIES
    assert len(first.dumps.read(USER, "log.xml", 10**6)) > 10_000
    first.rate_limit.take(USER)
    assert here not in asked_on
    assert asked_on


def test_a_day_of_trading_asks_nobody_on_the_thread_of_the_loop(
    make: Callable[[], Runtime], asked_on: set[int]
) -> None:
    on_a_loop(partial(day, make, asked_on))
