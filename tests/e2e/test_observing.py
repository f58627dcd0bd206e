"""The ten questions of docs/observing.md: for each a fault that is made, the metric that shows it, and its trace.

One stack of two servers with --traces; the page's commands are what is asked here.
"""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local import control
from infra.local.background import BackgroundStack, running_stack
from infra.local.stack import PROJECT, TRACES
from infra.local.supervisor import State
from infra.traces.files import read_trace
from infra.traces.spans import Span

SECONDS = 60.0
SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
KIND = ("--servers", "2", "--balance", "request", "--trigger-seconds", "1", "--traces")
QUOTES = ("--quote-source", "legacy", "--quote-delay", "0.3", "--quote-fail", "0")
PAGE = (PROJECT / "docs" / "observing.md").read_text()
_numbers = count(1)
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def stack(haproxy_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    data = tmp_path_factory.mktemp("observing") / "stack"
    environment = {
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "QUOTE_TRY_MS": "2000",
        "QUOTE_LIMIT_MS": "4000",
    }
    with running_stack(data, *KIND, *QUOTES, *SMALL, environment=environment) as stack:
        yield stack


@contextmanager
def without(stack: BackgroundStack, part: str, how: str = "kill") -> Iterator[None]:
    """Have a part away: killed and started again, or paused and resumed."""
    back, gone = ("restart", State.STOPPED) if how == "kill" else ("resume", State.PAUSED)
    control.ask(stack.data, how, part)
    control.wait_for(stack.data, part, gone, SECONDS)
    try:
        yield
    finally:
        control.ask(stack.data, back, part)
        control.wait_for(stack.data, part, State.RUNNING, SECONDS)


def ask(
    stack: BackgroundStack, method: str, path: str, body: object = None, at: str | None = None
) -> tuple[int, bytes, str]:
    """Ask as an operator; return status, body and the id of the trace that was begun with it."""
    trace, number = f"{next(_numbers):032x}", f"{1:016x}"
    with closing(http.client.HTTPConnection(at or urlsplit(stack.url).netloc, timeout=SECONDS)) as connection:
        sent = {
            "Authorization": f"Bearer {stack.operator_token}",
            "Content-Type": "application/json",
            "Traceparent": f"00-{trace}-{number}-01",
        }
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        return response.status, response.read(), trace


def add(stack: BackgroundStack, user: str, amount: str = "1000.00") -> tuple[int, str]:
    status, _, trace = ask(stack, "POST", f"/users/{user}/add", {"amount": amount})
    return status, trace


def servers(stack: BackgroundStack) -> list[str]:
    ports = json.loads((stack.data / "ports.json").read_text())
    return [f"127.0.0.1:{ports[name]}" for name in ("gateway-1", "gateway-2")]


def metric(stack: BackgroundStack, name: str, **labels: str) -> float:
    """Return the sum of a metric over both servers, of all series that have these labels.

    The page names it, or nobody would look at it.
    """
    assert f"`{re.sub('_(count|sum|bucket)$', '', name)}" in PAGE, f"{name} is not in docs/observing.md"
    total = 0.0
    for server in servers(stack):
        text = ask(stack, "GET", "/metrics", at=server)[1].decode()
        for found, given, value in _SAMPLE.findall(text):
            has = dict(re.findall(r'(\w+)="([^"]*)"', given))
            if found == name and labels.items() <= has.items():
                total += float(value)
    return total


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def spans_of(stack: BackgroundStack, trace: str, *names: str) -> list[Span]:
    """Return the spans of a trace once those of these names are kept, and its request, which ends last."""

    def whole() -> list[Span] | None:
        spans = read_trace(stack.data / TRACES, trace)
        there = {span.name for span in spans}
        return spans if {*names} <= there and any("http.route" in span.attributes for span in spans) else None

    found: list[Span] = until(whole, f"no trace with {names}")
    return found


def longest(spans: list[Span], name: str) -> float:
    """Return the seconds of the longest span of a name."""
    return max((span.end_ns - span.start_ns) / 1e9 for span in spans if span.name == name)


def test_1_commands_are_slow_because_the_quote_server_is(stack: BackgroundStack) -> None:
    add(stack, "slow")
    before = {stage: metric(stack, "trading_stage_seconds_total", stage=stage) for stage in ("load", "quote", "save")}
    _, _, trace = ask(stack, "GET", "/users/slow/quote/SLO")
    spent = {stage: metric(stack, "trading_stage_seconds_total", stage=stage) - was for stage, was in before.items()}
    assert spent["quote"] >= 0.3 > spent["load"]
    spans = spans_of(stack, trace, "quote", "single flight", "quote source")
    assert longest(spans, "quote source") >= 0.3
    command = [sys.executable, "-m", "infra.local", "trace", trace, "--data", str(stack.data)]
    shown = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "quote source" in shown
    assert "single flight leader=True" in shown


def test_2_one_user_is_slow_because_its_commands_wait_for_each_other(stack: BackgroundStack) -> None:
    with ThreadPoolExecutor(12) as pool:
        answered = list(pool.map(lambda _: add(stack, "queue", "0.01"), range(48)))
    assert {status for status, _ in answered} == {200}
    turns = [spans_of(stack, trace, "save") for _, trace in answered]
    assert any(span.name == "turn" for spans in turns for span in spans)
    lines = [line for path in (stack.data / "logs").glob("gateway-*.log") for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines if '"user":"queue"' in line]
    assert {line["trace_id"] for line in found} == {trace for _, trace in answered}


def test_3_answers_of_503_have_a_code_and_a_span_that_failed(stack: BackgroundStack) -> None:
    with without(stack, "quote-server"):
        status, body, trace = ask(stack, "GET", "/users/slow/quote/OUT")
    assert (status, json.loads(body)["code"]) == (503, "quote_unavailable")
    assert metric(stack, "trading_commands_total", outcome="quote_unavailable") >= 1
    assert metric(stack, "trading_quotes_total", source="nowhere") >= 1
    spans = spans_of(stack, trace, "quote", "quote source")
    failed = {span.name: span.attributes["error.type"] for span in spans if span.failed}
    assert failed["GET /users/{user}/quote/{symbol}"] == "503"
    assert failed["quote"] == "QuoteUnavailableError"
    assert failed["quote source"] == "FailedTryError"


def test_4_quotes_come_from_the_source_again_and_again_because_the_cache_is_away(stack: BackgroundStack) -> None:
    ask(stack, "GET", "/users/slow/quote/CAC")
    before = metric(stack, "trading_quotes_total", source="source")
    with without(stack, "redis"):
        traces = [ask(stack, "GET", f"/users/slow/quote/{symbol}")[2] for symbol in ("CA", "CB", "CC", "CD")]
        health = [json.loads(ask(stack, "GET", "/health", at=server)[1]) for server in servers(stack)]
    assert metric(stack, "trading_quotes_total", source="source") >= before + 4
    assert [one["status"] for one in health] == ["degraded", "degraded"]
    for trace in traces:
        spans = spans_of(stack, trace, "cache read", "quote source")
        assert not any(span.attributes["trading.cache.hit"] for span in spans if span.name == "cache read")


def test_5_triggers_are_late_because_no_sweep_ends(stack: BackgroundStack) -> None:
    name = "trading_sweep_last_success_timestamp_seconds"
    until(lambda: metric(stack, name), "no sweep")
    with without(stack, "ticker", "pause"):
        standing = metric(stack, name)
        started = time.time()
        until(lambda: time.time() > started + 2.5, "time stands still")
        assert metric(stack, name) == standing, "two servers tell of the same ticker"
    until(lambda: metric(stack, name) > standing, "the sweeps do not go on")
    sweeps = [span for span in all_spans(stack) if span.name == "sweep"]
    assert any("trading.sweep.due" in span.attributes for span in sweeps)


def all_spans(stack: BackgroundStack) -> list[Span]:
    files = (stack.data / TRACES).glob("*.jsonl")
    return [Span(**json.loads(line)) for path in files for line in path.read_text().splitlines()]


def test_6_the_database_stands_still_and_every_write_with_it(stack: BackgroundStack) -> None:
    add(stack, "still")
    before = sum(metric(stack, "trading_stage_seconds_total", stage=stage) for stage in ("load", "save"))
    with ThreadPoolExecutor(1) as pool:
        with without(stack, "mongod", "pause"):
            waiting = pool.submit(add, stack, "still")
            started = time.monotonic()
            until(lambda: time.monotonic() > started + 1.0, "time stands still")
            assert not waiting.done()
        status, trace = waiting.result()
    assert status == 200
    spans = spans_of(stack, trace, "save")
    of_driver = {span.name for span in spans if span.attributes.get("db.collection.name") == "accounts"}
    assert max(longest(spans, name) for name in of_driver | {"load", "save"}) > 1.0
    after = sum(metric(stack, "trading_stage_seconds_total", stage=stage) for stage in ("load", "save"))
    assert after > before + 1.0


def test_7_two_servers_lose_races_for_the_same_account(stack: BackgroundStack) -> None:
    before = metric(stack, "trading_lost_races_total")
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda _: add(stack, "raced", "0.01"), range(64)))
    assert metric(stack, "trading_lost_races_total") > before
    assert metric(stack, "trading_account_reads_total") > 0
    traces = [spans_of(stack, trace, "save") for _, trace in answered]
    lost = [spans for spans in traces if any(span.attributes.get("error.type") == "LostRaceError" for span in spans)]
    assert lost
    assert all(sum(span.name == "save" for span in spans) > 1 for spans in lost)


def test_8_a_server_stood_still_and_what_waited_for_it_was_begun_late(stack: BackgroundStack) -> None:
    stalls, seconds = "gateway_loop_stall_seconds_count", "gateway_loop_stall_seconds_sum"
    before, stood = metric(stack, stalls), metric(stack, seconds)
    with ThreadPoolExecutor(2) as pool:
        with without(stack, "gateway-1", "pause"):
            waiting = [pool.submit(add, stack, f"late{number}") for number in range(2)]  # in turn: one for each
            started = time.monotonic()
            until(lambda: time.monotonic() > started + 1.0, "time stands still")
        traces = [one.result()[1] for one in waiting]
    until(lambda: metric(stack, stalls) > before and metric(stack, seconds) >= stood + 1.0, "no stall is told of")
    assert metric(stack, "trading_arrival_delay_seconds_sum") >= 0.5
    delays = [spans_of(stack, trace)[0].attributes["trading.arrival.delay_ms"] for trace in traces]
    assert max(delays) >= 500


def test_9_writes_go_out_in_groups_when_many_come_at_once(stack: BackgroundStack) -> None:
    before = {name: metric(stack, f"trading_group_size_{name}", operation="update") for name in ("sum", "count")}
    with ThreadPoolExecutor(24) as pool:
        traces = [trace for _, trace in pool.map(lambda number: add(stack, f"many{number % 24}"), range(240))]
    after = {name: metric(stack, f"trading_group_size_{name}", operation="update") for name in ("sum", "count")}
    written, groups = after["sum"] - before["sum"], after["count"] - before["count"]
    assert written >= 240
    assert groups < written
    sizes = [
        span.attributes["db.operation.batch.size"]
        for trace in traces[-24:]
        for span in spans_of(stack, trace, "wait for group", "group update")
        if span.name == "group update"
    ]
    assert max(sizes) > 1


def test_10_connections_stay_open_and_idle(stack: BackgroundStack) -> None:
    before = metric(stack, "gateway_connections", state="idle")
    (one, _) = servers(stack)
    with ExitStack() as open_ones:
        for _ in range(20):
            connection = open_ones.enter_context(closing(http.client.HTTPConnection(one, timeout=SECONDS)))
            connection.request("GET", "/health")
            connection.getresponse().read()
        until(lambda: metric(stack, "gateway_connections", state="idle") >= before + 15, "no connection is told of")


def test_the_page_has_ten_questions_each_with_its_test() -> None:
    asked = [int(number) for number in re.findall(r"^## ([0-9]+)\. ", PAGE, re.MULTILINE)]
    tests = [int(number) for number in re.findall(r"^def test_([0-9]+)_", Path(__file__).read_text(), re.MULTILINE)]
    assert asked == tests == list(range(1, 11))
