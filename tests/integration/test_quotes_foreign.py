"""The quote servers of others as the source of the app: what they say becomes a price, or a 503 within the limit."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from infra.host.ports import HOST
from tests.integration.api import Api, running_api

LIMIT_MS = 400

Say = Callable[[str, str], str]
"""Returns what a server answers for a symbol and a user."""


@contextmanager
def foreign_server(say: Say) -> Iterator[int]:
    """Run a quote server that answers every question so, and closes the connection."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError, ValueError):
                    symbol, user = connection.recv(256).decode().strip().split(",")
                    connection.sendall(say(symbol, user).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(30)


AskWith = Callable[[Say], Api]


@pytest.fixture
def ask_with(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[AskWith]:
    """Return a function that sets the app up for a quote server that says what the test says."""
    with Redis.from_url(redis_url) as redis:
        redis.flushdb()
    with contextlib.ExitStack() as stack:

        def start(say: Say) -> Api:
            port = stack.enter_context(foreign_server(say))
            settings = {"QUOTE_SOURCE": f"tcp://{HOST}:{port}", "QUOTE_LIMIT_MS": str(LIMIT_MS)}
            return stack.enter_context(running_api(mongo_uri, mongo_database, redis_url, tmp_path, **settings))

        yield start


def behind(symbol: str, user: str) -> str:
    return f"12.50,{symbol},{user},{time.time_ns() // 1_000_000 - 254_000},key=\n"


@pytest.mark.parametrize(
    ("say", "price"),
    [
        (behind, "12.50"),
        (lambda symbol, user: f"9.5,{symbol},{user},1700000000,key", "9.50"),
        (lambda symbol, user: f"5,{symbol},{user},0,key\r\n", "5.00"),
        (lambda symbol, user: f" 5.000000, {symbol}, {user}, 1700000000.5, key \n", "5.00"),
        (lambda symbol, user: f".99,{symbol},{user},1,key\n", "0.99"),
    ],
    ids=["254 s behind", "no line end", "CRLF", "blanks", "cents"],
)
def test_a_foreign_servers_answer_is_a_price_that_can_be_bought_at(ask_with: AskWith, say: Say, price: str) -> None:
    api = ask_with(say)
    quote = api.get("/users/jane/quote/ABC")
    assert (quote.status, quote.body["price"], quote.body["cached"]) == (200, price, False)
    api.post("/users/jane/add", {"amount": "100.00"})
    bought = api.post("/users/jane/buy", {"symbol": "ABC", "amount": "50.00"})
    assert (bought.status, bought.body["price"], bought.body["cached"]) == (200, price, True)


@pytest.mark.parametrize(
    "say",
    [
        lambda symbol, user: f"12.50,{symbol[::-1]},{user},1,key\n",
        lambda symbol, user: f"12.50,{symbol},{user}x,1,key\n",
        lambda symbol, user: f"12.505,{symbol},{user},1,key\n",
        lambda symbol, user: f"-12.50,{symbol},{user},1,key\n",
        lambda symbol, user: f"12.50,{symbol},{user},1\n",
        lambda symbol, user: f"12.50,{symbol},{user},1,{'k' * 600}\n",
    ],
    ids=["symbol", "user", "three places", "below zero", "four fields", "too long"],
)
def test_a_lie_is_503_within_the_limit_and_changes_nothing(ask_with: AskWith, say: Say) -> None:
    api = ask_with(say)
    api.post("/users/jane/add", {"amount": "100.00"})
    began = time.monotonic()
    refused = api.post("/users/jane/buy", {"symbol": "ABC", "amount": "50.00"})
    assert (refused.status, refused.code) == (503, "quote_unavailable")
    assert time.monotonic() - began >= LIMIT_MS / 1000
    assert api.get("/users/jane/account").body["cash"] == "100.00"
