"""Connections that are kept from one command to the next, in each way of waiting."""

import socket
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic

import pytest
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure, ServerSelectionTimeoutError

from chalicelib import waiting
from chalicelib.runtime import connect_patiently
from chalicelib.store import lines as lines_module
from chalicelib.store.documents import Document
from chalicelib.store.lines import Lines
from tests.integration.shop import Shop
from tests.ways import SECONDS, Together

ADDRESS: Document = {"whatsmyuri": 1}
"""The command that is answered by who asks, as the server sees it."""


@pytest.fixture
def lines(shop: Shop) -> Iterator[Lines]:
    """Return lines to the database."""
    database = connect_patiently(shop.settings)
    lines = Lines(database)
    until_known(lines)
    lines.close()
    yield lines
    lines.close()
    database.client.close()


def until_known(lines: Lines) -> None:
    """Return when the driver, which looks for it aside, knows of a server to write to."""
    deadline = monotonic() + SECONDS
    while True:
        try:
            lines.command({"ping": 1})
        except ServerSelectionTimeoutError:
            assert monotonic() < deadline
            waiting.pause(0.02)
        else:
            return


def ask(lines: Lines, found: list[str]) -> None:
    """Note by which connection a command went."""
    found.append(lines.command(dict(ADDRESS))["you"])


def break_off(lines: Lines) -> None:
    """End the connection that is used next, as a server does that goes away."""
    lines._idle[-1].connection.conn._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]


def give_up(lines: Lines) -> None:
    """Trust the server of the next connection no more, as the driver's watch does when it does not answer."""
    lines._idle[-1].connection.pool_gen.inc(None)


def in_use(lines: Lines) -> int:
    """Return how many connections the driver has lent."""
    (server,) = lines._client._topology._servers.values()
    return int(server.pool.active_sockets)


def test_a_connection_is_kept_from_one_command_to_the_next(lines: Lines, together: Together) -> None:
    found: list[str] = []

    def commands() -> None:
        for _ in range(3):
            ask(lines, found)

    together(commands)
    assert len(set(found)) == 1
    assert in_use(lines) == 1
    lines.close()
    assert in_use(lines) == 0


def test_commands_at_the_same_time_have_a_connection_each(lines: Lines, together: Together) -> None:
    found: list[str] = []
    together(partial(ask, lines, found), partial(ask, lines, found))
    together(partial(ask, lines, found), partial(ask, lines, found))
    assert len(set(found)) <= 2
    assert in_use(lines) <= 2


def test_one_that_broke_off_fails_once_and_is_not_used_again(lines: Lines, together: Together) -> None:
    found: list[str] = []

    def commands() -> None:
        ask(lines, found)
        break_off(lines)
        with pytest.raises(AutoReconnect):
            lines.command(dict(ADDRESS))
        assert in_use(lines) == 0
        until_known(lines)  # again
        ask(lines, found)

    together(commands)
    assert len(set(found)) == 2


@pytest.mark.parametrize("spoil", [break_off, give_up])
def test_one_that_is_no_good_any_more_when_it_is_needed_is_replaced(
    lines: Lines, together: Together, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Lines], None]
) -> None:
    monkeypatch.setattr(lines_module, "LOOK_SECONDS", 0.0)
    found: list[str] = []

    def commands() -> None:
        ask(lines, found)
        spoil(lines)
        ask(lines, found)

    together(commands)
    assert len(set(found)) == 2
    assert in_use(lines) == 1


def test_what_the_server_refuses_is_raised_and_costs_no_connection(lines: Lines, together: Together) -> None:
    found: list[str] = []

    def commands() -> None:
        ask(lines, found)
        with pytest.raises(OperationFailure, match="nonsense"):
            lines.command({"nonsense": 1})
        ask(lines, found)

    together(commands)
    assert len(set(found)) == 1


def test_what_is_too_large_is_raised_before_anything_is_sent(lines: Lines, shop: Shop, together: Together) -> None:
    halves = [{"q": {"_id": number}, "u": {"$set": {"text": "x" * (9 << 20)}}, "upsert": True} for number in range(2)]

    def commands() -> None:
        with pytest.raises(DocumentTooLarge):
            lines.command({"update": "large", "updates": halves})

    together(commands)
    assert shop.database["large"].count_documents({}) == 0
