"""The sweep as it runs: as a scheduled function, as a ticker, and as several evaluators at once."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from random import Random
from threading import Event

import pytest
from chalice.test import Client

from app import app
from chalicelib.clock import now_ms
from chalicelib.config.settings import Settings
from chalicelib.domain.account import Account
from chalicelib.runtime import make_runtime
from chalicelib.sweep.report import Report
from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.services.mongo import mongo_uri as uri_of
from infra.local.services.mongo import mongod_part
from tests.integration.api import running_api
from tests.integration.shop import SECRET, Shop, settings_for
from tests.integration.sweeping import audit, insert_traders
from tests.unit.trader import Trader

SECONDS = 120.0
PROJECT = Path(__file__).parents[2]
EVALUATORS = 4
USERS = [f"user{number:03d}" for number in range(500)]
SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]
PRICE_CENTS = 1000
ADDED_CENTS = 1_000_000
FIRINGS = {"SET_BUY_TRIGGER", "SET_SELL_TRIGGER"}


def trader_with_due_triggers(number: int, user: str) -> Trader:
    """Return a trader with 10,000.00 added, of whose triggers two buys and two sells are due at 10.00."""
    trader = Trader(Account(user), now_ms=now_ms() - 200_000, numbers=count(1 + number * 100))
    trader.does("ADD", amount="10000.00")
    for symbol in ("CCC", "DDD"):
        trader.does("BUY", symbol, "500.00")
        trader.does("COMMIT_BUY")
        trader.does("SET_SELL_AMOUNT", symbol, "101.50")
        trader.does("SET_SELL_TRIGGER", symbol, "9.50")
    for symbol in ("AAA", "BBB"):
        trader.does("SET_BUY_AMOUNT", symbol, "101.50")
        trader.does("SET_BUY_TRIGGER", symbol, "10.50")
    return trader


def sweep_until_nothing_is_due(settings: Settings, start: Barrier, results: "SimpleQueue[list[Report]]") -> None:
    """Be one of several evaluators."""
    evaluator = make_runtime(settings)
    start.wait(SECONDS)
    reports = [evaluator.sweeper.sweep()]
    while reports[-1].due or reports[-1].unpriced or not reports[-1].complete:
        reports.append(evaluator.sweeper.sweep())
    evaluator.close()
    results.put(reports)


@dataclass
class Replay:
    """Commands of users drawn at random, against the sweep."""

    settings: Settings
    seed: int
    stop: Event
    added_cents: int = 0
    cancelled: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> None:
        """Trade until told to stop. Some orders stay behind already expired: the sweep gives them back, too."""
        random = Random(self.seed)
        shop = Shop(self.settings, numbers=count((self.seed + 1) * 10**9))
        while not self.stop.is_set():
            user, symbol = random.choice(USERS), random.choice(SYMBOLS)
            shop.now_ms = now_ms() - random.choice([0, 70_000])
            match random.randrange(6):
                case 0:
                    shop.does("ADD", amount="1.00", user=user)
                    self.added_cents += 100
                case 1:
                    shop.does("BUY", symbol, "20.00", user=user)
                case 2:
                    shop.does("SELL", symbol, "20.00", user=user)
                case 3:
                    shop.does(random.choice(["COMMIT_BUY", "CANCEL_BUY", "COMMIT_SELL", "CANCEL_SELL"]), user=user)
                case _:
                    command = "CANCEL_SET_BUY" if symbol in {"AAA", "BBB"} else "CANCEL_SET_SELL"
                    if shop.does(command, symbol, user=user).entry.outcome == "ok":
                        self.cancelled.add((user, symbol))
        shop.close()


def worth_cents(account: Account) -> int:
    """Return what an account is worth at 10.00 a share."""
    shares = sum(account.holdings.values()) + sum(order.shares for order in account.pending_sells)
    shares += sum(trigger.shares for trigger in account.sell_triggers.values())
    set_aside = sum(order.value_cents for order in account.pending_buys)
    set_aside += sum(trigger.amount_cents for trigger in account.buy_triggers.values())
    return account.cash_cents + set_aside + shares * PRICE_CENTS


def test_four_processes_fire_2000_due_triggers_once_each_while_their_users_trade(
    mongo_uri: str, mongo_database: str, redis_url: str
) -> None:
    settings = settings_for(mongo_uri, mongo_database, redis_url)
    shop = Shop(settings, recent=0)
    shop.accounts.make_indexes()
    insert_traders(shop.database, (trader_with_due_triggers(number, user) for number, user in enumerate(USERS)))

    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(EVALUATORS + 1), context.SimpleQueue()
    evaluators = [
        context.Process(target=sweep_until_nothing_is_due, args=(settings, start, results), daemon=True)
        for _ in range(EVALUATORS)
    ]
    for evaluator in evaluators:
        evaluator.start()
    start.wait(SECONDS)
    replays = [Replay(settings, seed, Event()) for seed in range(2)]
    with ThreadPoolExecutor(len(replays)) as pool:
        running = [pool.submit(replay.run) for replay in replays]
        try:
            for evaluator in evaluators:
                evaluator.join(SECONDS)
        finally:
            for replay in replays:
                replay.stop.set()
        for replayed in running:
            replayed.result()
    assert [evaluator.exitcode for evaluator in evaluators] == [0] * EVALUATORS
    reports = [report for _ in evaluators for report in results.get()]

    events = audit(settings)
    fired = [fields for kind, fields in events if kind == "systemEvent" and fields["command"] in FIRINGS]
    assert max(Counter(fields["transactionNum"] for fields in fired).values()) == 1, "none fired twice"
    gone = [(fields["username"], fields["stockSymbol"]) for fields in fired]
    gone += [trigger for replay in replays for trigger in replay.cancelled]
    assert sorted(gone) == sorted((user, symbol) for user in USERS for symbol in SYMBOLS), (
        "fired or cancelled, not both"
    )
    assert sum(report.fired for report in reports) == len(fired)
    assert sum(report.fired > 0 for report in reports) > 1, "there was more than one to race"

    accounts = [shop.accounts.read(user).account for user in USERS]
    assert not any(account.buy_triggers or account.sell_triggers for account in accounts)
    added = ADDED_CENTS * len(USERS) + sum(replay.added_cents for replay in replays)
    assert sum(map(worth_cents, accounts)) == added
    moved: Counter[str] = Counter()
    for kind, fields in events:
        if kind == "accountTransaction":
            cents = int(fields["funds"].replace(".", ""))
            moved[fields["username"]] += cents if fields["action"] == "add" else -cents
    assert {account.user: account.cash_cents for account in accounts} == dict(moved)
    shop.close()


def test_the_scheduled_function_sweeps_and_writes_its_metric(
    mongo_uri: str,
    mongo_database: str,
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shop: Shop,
) -> None:
    """The schedule's own function, with the quotes in the real Redis: a hit is audited once, then they are shared."""
    more = {"QUOTE_SOURCE": "fixed:7.77", "AWS_LAMBDA_FUNCTION_NAME": "day-trading-test-sweep"}
    for user, symbol in (("jane", "SWA"), ("john", "SWB")):
        shop.does("ADD", amount="20.00", user=user)
        shop.does("SET_BUY_AMOUNT", symbol, "20.00", user=user)
        shop.does("SET_BUY_TRIGGER", symbol, "8.00" if user == "jane" else "7.00", user=user)
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **more), Client(app) as client:
        event = client.events.generate_cw_event("aws.events", "Scheduled Event", {}, ["a rule"])
        answers = [client.lambda_.invoke("sweep", event).payload for _ in range(2)]
    assert [(answer["symbols"], answer["due"], answer["fired"]) for answer in answers] == [(2, 1, 1), (1, 0, 0)]
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(metric["FunctionName"], metric["SweepFired"]) for metric in metrics] == [
        ("day-trading-test-sweep", 1),
        ("day-trading-test-sweep", 0),
    ]
    hits = [fields for kind, fields in audit(shop.settings) if kind == "quoteServer"]
    assert sorted((hit["username"], hit["stockSymbol"], hit["price"]) for hit in hits) == [
        ("jane", "SWA", "7.77"),
        ("john", "SWB", "7.77"),
    ]
    assert shop.accounts.read("jane").account == Account("jane", 446, {"SWA": 2}, cost_cents={"SWA": 1554})


@contextmanager
def ticker(log: Path, mongo_uri: str, database: str, redis_url: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a ticker that sweeps every second."""
    environment = os.environ | {
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": database,
        "MONGO_TIMEOUT_MS": "500",
        "REDIS_URL": redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": SECRET,
        "DUMP_PLACE": "unused",
        "TRIGGER_SECONDS": "1",
    }
    command = [sys.executable, "-m", "infra.servers.ticker"]
    with log.open("wb") as output, subprocess.Popen(command, env=environment, cwd=PROJECT, stderr=output) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(log: Path, text: str) -> None:
    """Return when a log says something."""
    end = time.monotonic() + SECONDS
    while text not in log.read_text():
        assert time.monotonic() < end, f"{text!r} is not in:\n{log.read_text()}"
        time.sleep(0.05)


def test_the_ticker_outlives_an_outage_of_the_database_and_stops_when_told(redis_url: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "ticker.log"
    mongod = parts.start(mongod_part(tmp_path / "data", port, os.environ, cache_gb=0.25, oplog_mb=64), tmp_path)
    try:
        mongod.wait_until_ready()
        with ticker(log, uri_of([port]), "ticking", redis_url) as process:
            wait_for(log, "sweep symbols=0")
            mongod.kill()
            wait_for(log, "no sweep: ")
            mongod = parts.start(mongod.part, tmp_path)
            mongod.wait_until_ready()
            with closing(Shop(settings_for(uri_of([port]), "ticking"))) as shop:
                shop.does("ADD", amount="20.00")
                shop.does("SET_BUY_AMOUNT", "ABC", "20.00")
                shop.does("SET_BUY_TRIGGER", "ABC", "10.00")
                wait_for(log, "fired=1 ")
                bought = Account("jane", holdings={"ABC": 2}, cost_cents={"ABC": 2000})
                assert shop.accounts.read("jane").account == bought
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
    finally:
        mongod.kill()
    assert log.read_text().endswith("stopped\n")
    assert "Traceback" not in log.read_text()


def test_the_ticker_names_a_setting_that_it_cannot_use(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MONGO_URI"}
    command = [sys.executable, "-m", "infra.servers.ticker"]
    ended = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "setting MONGO_URI: got nothing" in ended.stderr
