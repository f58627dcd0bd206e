"""How writes gather to groups, and how groups go out, on a real mongod."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic, sleep
from typing import Any
from unittest.mock import ANY

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener, CommandStartedEvent

from chalicelib.store.accounts import Accounts
from chalicelib.store.documents import Document
from chalicelib.store.errors import UnknownOutcomeError
from chalicelib.store.grouped.writer import GroupWriter
from chalicelib.store.recent import RecentRecords
from chalicelib.store.writers import SingleWriter
from infra.local.stack import PROJECT
from tests.integration.shop import Shop
from tests.integration.writes import outcome, write_of

SECONDS = 60.0


def grouped(shop: Shop, limit: int, before: Callable[[int], None]) -> GroupWriter:
    """Return a writer of groups of at most `limit`; each goes out when `before`, told its size, returns."""

    class Paced:
        """The accounts, and the database they are in."""

        def __init__(self) -> None:
            self.database = self

        def __getattr__(self, name: str) -> Any:
            return getattr(shop.database["accounts"], name)

        def command(self, command: dict[str, Any]) -> Any:
            before(len(command["updates"]))
            return shop.database.command(command)

    return GroupWriter(Paced(), limit)  # type: ignore[arg-type]  # a collection, but for its pace


def test_threads_over_a_group_writer_lose_no_add_and_add_none_twice(shop: Shop) -> None:
    """Two servers with group commit and 16 threads, all on four accounts: every race ends in the same sum."""
    servers = [Shop(shop.settings) for _ in range(2)]
    for server in servers:
        writer = GroupWriter(server.database["accounts"], limit=128)
        server.accounts = Accounts(server.database, "grouped", RecentRecords(100), writer)
        server.trading = replace(server.trading, store=server.accounts)
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: servers[n % 2].does("ADD", amount="0.01", user=f"user{n % 4}"), range(400)))
    for user in range(4):
        record = shop.accounts.read(f"user{user}")
        assert (record.account.cash_cents, record.version) == (100, 100)
    assert len({(answer.user, answer.entry.cash_cents) for answer in done}) == 400
    for server in servers:
        server.accounts._writer.close()
        server.close()


def test_a_group_that_the_database_did_not_confirm_is_of_unknown_outcome(shop: Shop) -> None:
    def fail(_: int) -> None:
        raise AutoReconnect("gone")

    writer = grouped(shop, 8, fail)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda n: outcome(writer, write_of(f"user{n}", 0, b"attempt!")), range(4)))
    assert outcomes == [UnknownOutcomeError] * 4
    writer.close()


def test_a_group_whose_sender_is_interrupted_is_of_unknown_outcome(shop: Shop) -> None:
    """Ctrl-C in the thread that sends for all: the others are told, and go on."""

    def interrupt(_: int) -> None:
        if not begun.is_set():
            begun.set()
            assert all_wait.wait(SECONDS)
        else:
            raise KeyboardInterrupt

    begun, all_wait = Event(), Event()
    writer = grouped(shop, 8, interrupt)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(outcome, writer, write_of("first", 0, b"attempt!"))
        assert begun.wait(SECONDS)
        asked = [pool.submit(outcome, writer, write_of(f"user{number}", 0, b"attempt!")) for number in range(4)]
        deadline = monotonic() + SECONDS
        while len(writer._batcher._pending) < 4:
            assert monotonic() < deadline
            sleep(0.001)
        all_wait.set()
        assert first.result(SECONDS) is None
        errors = [one.exception(SECONDS) for one in asked]
        told = [one.result() for one, error in zip(asked, errors, strict=True) if error is None]
    assert [type(error) for error in errors if error is not None] == [KeyboardInterrupt]
    assert told == [UnknownOutcomeError] * 3
    writer.close()


def test_in_the_gateway_a_group_takes_all_who_are_there_and_the_next_goes_out_before_those_are_told(shop: Shop) -> None:
    """Else the database would wait for their answers to be made."""
    program = "tests.integration.cooperative_groups"
    command = [sys.executable, "-m", program, shop.settings.mongo_uri, shop.settings.mongo_database]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=True)
    events = done.stdout.splitlines()
    assert events == ["send 2", "send 2", "told 1", "told 0", "send 1", "told 3", "told 2", "told 4"]


def test_a_group_is_confirmed_as_the_accounts_ask_for(shop: Shop) -> None:
    """Told by the commands themselves, since a lone member that dies loses nothing either way."""
    sent: list[Mapping[str, Any]] = []

    class Listener(CommandListener):
        def started(self, event: CommandStartedEvent) -> None:
            if event.command_name == "update":
                sent.append(event.command)

        def succeeded(self, _: object) -> None:
            """Take no notice."""

        def failed(self, _: object) -> None:
            """Take no notice."""

    client: MongoClient[Document] = MongoClient(shop.settings.mongo_uri, event_listeners=[Listener()])
    database = client.get_database(shop.database.name, write_concern=shop.database.write_concern)
    for writer in (SingleWriter(database["accounts"]), GroupWriter(database["accounts"], limit=8)):
        writer.write(write_of(type(writer).__name__, 0, b"attempt!"))
        writer.close()
    client.close()
    assert [command["writeConcern"] for command in sent] == [{"w": "majority", "j": True, "wtimeout": ANY}] * 2


def test_a_group_that_is_larger_than_a_command_goes_out_in_parts(shop: Shop) -> None:
    """Five writes of 6 MiB, one of them for a version that is gone, wait while the first one is under way."""
    begun: SimpleQueue[int] = SimpleQueue()
    let_go = Event()

    def hold(size: int) -> None:
        begun.put(size)
        assert let_go.wait(SECONDS)

    writer = grouped(shop, 8, hold)
    plain = SingleWriter(shop.database["accounts"])
    for number in range(5):
        plain.write(write_of(f"user{number}", 0, b"attempt!"))
    plain.write(write_of("user3", 1, b"another!"))

    def large(number: int) -> type[Exception] | None:
        small = write_of(f"user{number}", 1, f"large{number}".encode())
        return outcome(writer, small._replace(operators={**small.operators, "$unset": {"x" * (6 << 20): ""}}))

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(outcome, writer, write_of("first", 0, b"attempt!"))
        assert begun.get(timeout=SECONDS) == 1
        asked = [pool.submit(large, number) for number in range(5)]
        deadline = monotonic() + SECONDS
        while len(writer._batcher._pending) < 5:
            assert monotonic() < deadline
            sleep(0.001)
        let_go.set()
        assert first.result(SECONDS) is None
        outcomes = [one.result(SECONDS) for one in asked]
    writer.close()
    assert [failure is None for failure in outcomes] == [True, True, True, False, True]
    sizes = [begun.get() for _ in range(begun.qsize())]
    assert max(sizes) > 2
    assert sum(size for size in sizes if size <= 2) == 5


def test_one_group_is_under_way_at_a_time_and_who_comes_meanwhile_makes_the_next(shop: Shop) -> None:
    begun: SimpleQueue[tuple[int, Event]] = SimpleQueue()

    def hold(size: int) -> None:
        go_on = Event()
        begun.put((size, go_on))
        assert go_on.wait(SECONDS)

    writer = grouped(shop, 8, hold)
    sizes: list[int] = []
    with ThreadPoolExecutor(11) as pool:
        asked = [pool.submit(outcome, writer, write_of("first", 0, b"attempt!"))]
        for waiting in (10, 2, 0):  # of eleven, one goes out at once, and at most eight together
            size, let_go = begun.get(timeout=SECONDS)
            if not sizes:
                asked += [pool.submit(outcome, writer, write_of(f"user{n}", 0, b"attempt!")) for n in range(10)]
            sizes.append(size)
            deadline = monotonic() + SECONDS
            while len(writer._batcher._pending) < waiting:
                assert monotonic() < deadline
                sleep(0.001)
            with pytest.raises(Empty):
                begun.get(timeout=0.1)
            let_go.set()
        assert [one.result(SECONDS) for one in asked] == [None] * 11
    writer.close()
    assert sizes == [1, 8, 2]
    assert shop.database["accounts"].count_documents({}) == 11


def test_a_closed_writer_finishes_what_has_begun_and_takes_no_more(shop: Shop) -> None:
    writer = GroupWriter(shop.database["accounts"], limit=8)
    with ThreadPoolExecutor(8) as pool:
        begun = [pool.submit(outcome, writer, write_of(f"user{number}", 0, b"attempt!")) for number in range(8)]
        writer.close()
        outcomes = [future.result() for future in begun]
    assert outcomes.count(None) == shop.database["accounts"].count_documents({})
    assert outcome(writer, write_of("late", 0, b"attempt!")) is UnknownOutcomeError
