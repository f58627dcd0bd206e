"""Traces of two servers behind HAProxy, by OTLP into a collector in the test's own process."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local.background import BackgroundStack, running_stack
from infra.local.stack import PROJECT
from infra.traces.collector import Collector
from infra.traces.spans import Span

SECONDS = 30.0
SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
KIND = ("--servers", "2", "--balance", "request", "--trigger-seconds", "1", "--quote-source", "legacy")
QUOTES = ("--quote-delay", "0.02", "--quote-fail", "0", "--quote-price", "fixed:13.37")
TRADERS = 24

WALK: Sequence[tuple[str, str, dict[str, str] | None]] = [
    ("POST", "/users/walk/add", {"amount": "7531.86"}),
    ("GET", "/users/walk/quote/WLK", None),
    ("POST", "/users/walk/buy", {"symbol": "WLK", "amount": "2468.13"}),
    ("POST", "/users/walk/commit-buy", None),
    ("POST", "/users/walk/buy", {"symbol": "WLK", "amount": "99999999.31"}),
    ("POST", "/users/walk/cancel-buy", None),
    ("POST", "/users/walk/sell", {"symbol": "WLK", "amount": "135.79"}),
    ("POST", "/users/walk/commit-sell", None),
    ("POST", "/users/walk/cancel-sell", None),
    ("POST", "/users/walk/set-buy-amount", {"symbol": "WLK", "amount": "864.21"}),
    ("POST", "/users/walk/set-buy-trigger", {"symbol": "WLK", "price": "97.53"}),
    ("POST", "/users/walk/cancel-set-buy", {"symbol": "WLK"}),
    ("POST", "/users/walk/set-sell-amount", {"symbol": "WLK", "amount": "246.91"}),
    ("POST", "/users/walk/set-sell-trigger", {"symbol": "WLK", "price": "86.42"}),
    ("POST", "/users/walk/cancel-set-sell", {"symbol": "WLK"}),
    ("POST", "/users/walk/add", {"amount": "-97531.24"}),
    ("GET", "/users/walk/summary", None),
    ("POST", "/users/walk/dumplog", {"filename": "walk.xml"}),
]


class Traces:
    """The spans that came, and the bytes in which they did."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []

    def keep(self, spans: Sequence[Span]) -> None:
        with self._lock:
            self._spans += spans

    def all(self) -> list[Span]:
        with self._lock:
            return list(self._spans)

    def of(self, trace: str) -> list[Span]:
        return sorted((span for span in self.all() if span.trace == trace), key=lambda span: span.start_ns)

    def until(self, is_there: Callable[[list[Span]], bool], trace: str | None = None) -> list[Span]:
        """Return the spans, of a trace or all, once they are what is waited for."""
        deadline = time.monotonic() + SECONDS
        while not is_there(found := self.all() if trace is None else self.of(trace)):
            assert time.monotonic() < deadline, [span.name for span in found]
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def traces() -> Traces:
    return Traces()


@pytest.fixture(scope="module")
def collector(traces: Traces) -> Iterator[Collector]:
    with Collector(0, traces.keep) as collector:
        serving = threading.Thread(target=collector.serve_forever)
        serving.start()
        yield collector
        collector.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def stack(
    haproxy_program: str, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackgroundStack]:
    data = tmp_path_factory.mktemp("traces") / "stack"
    environment = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
    }
    with running_stack(data, *KIND, *QUOTES, *SMALL, environment=environment) as stack:
        yield stack


def ask(stack: BackgroundStack, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=SECONDS)) as connection:
        sent = {"Authorization": f"Bearer {stack.operator_token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def traceparent(number: int) -> tuple[str, str]:
    """Return a trace's id and the header that begins it."""
    trace = f"{number:032x}"
    return trace, f"00-{trace}-{number:016x}-01"


def has(*names: str) -> Callable[[list[Span]], bool]:
    return lambda spans: set(names) <= {span.name for span in spans}


def named(spans: Sequence[Span], name: str) -> Span:
    return next(span for span in spans if span.name == name)


def is_under(span: Span, ancestor: Span, spans: Sequence[Span]) -> bool:
    by_id = {one.id: one for one in spans}
    while span.parent in by_id:
        span = by_id[span.parent]
        if span is ancestor:
            return True
    return False


def test_a_command_that_needs_a_quote_shows_where_its_time_went(stack: BackgroundStack, traces: Traces) -> None:
    ask(stack, "POST", "/users/jane/add", {"amount": "1000.00"})
    trace, header = traceparent(1)
    buy = {"symbol": "ABC", "amount": "100.00"}
    status, body = ask(stack, "POST", "/users/jane/buy", buy, Traceparent=header)
    assert status == 200, body
    request = "POST /users/{user}/buy"
    spans = traces.until(has(request, "save", "quote source"), trace)
    top = named(spans, request)
    assert (top.parent, top.service) == (f"{1:016x}", "day-trading")
    assert top.instance in {"gateway-1", "gateway-2"}
    assert top.attributes["trading.outcome"] == "ok"
    assert top.attributes["trading.quote.source"] == "source"
    for name in ("load", "quote", "cache read", "single flight", "cache claim", "quote source", "decide", "save"):
        assert is_under(named(spans, name), top, spans), name
    assert is_under(named(spans, "quote source"), named(spans, "single flight"), spans)
    assert is_under(named(spans, "update accounts"), named(spans, "save"), spans)
    assert named(spans, "quote").end_ns <= named(spans, "decide").start_ns <= named(spans, "save").start_ns
    logs = "".join(path.read_text() for path in (stack.data / "logs").glob("gateway-*.log"))
    (line,) = (json.loads(line) for line in logs.splitlines() if trace in line)
    assert (line["command"], line["trace_id"]) == ("BUY", trace)


def test_the_wait_for_a_group_and_the_write_of_mongodb_are_in_the_trace_of_each_write(
    stack: BackgroundStack, traces: Traces
) -> None:
    """Many at once, so that writes gather; whoever sends a group, each has it in its own trace."""

    def add(number: int) -> int:
        body = {"amount": "1.00"}
        return ask(stack, "POST", f"/users/crowd{number}/add", body, Traceparent=traceparent(1_000 + number)[1])[0]

    with ThreadPoolExecutor(TRADERS) as pool:
        assert set(pool.map(add, [*range(TRADERS)] * 10)) == {200}

    def is_whole(spans: list[Span]) -> bool:
        return sum(span.name == "save" for span in spans) >= 10

    sizes, servers, sent = [], set(), 0
    for number in range(TRADERS):
        spans = traces.until(is_whole, traceparent(1_000 + number)[0])
        groups = [span for span in spans if span.name == "group update"]
        waits = [span for span in spans if span.name == "wait for group"]
        assert len(groups) >= 10
        for group in groups:
            (save,) = (span for span in spans if span.id == group.parent)
            assert save.name == "save"
            assert any(wait.parent == save.id and wait.end_ns == group.start_ns for wait in waits)
        sizes += [group.attributes["db.operation.batch.size"] for group in groups]
        servers |= {group.instance for group in groups}
        sent += sum(
            is_under(span, group, spans) for span in spans for group in groups if span.name.startswith("update")
        )
    assert max(sizes) > 1
    assert servers == {"gateway-1", "gateway-2"}
    assert sent > 0


def test_one_trace_goes_from_the_load_generator_to_the_write_of_mongodb(
    stack: BackgroundStack, traces: Traces, collector: Collector, tmp_path: Path
) -> None:
    """Through HAProxy and both servers, with the wait for a group; the report names the slowest."""
    workload, report = tmp_path / "workload", tmp_path / "report.json"
    lines = (f"[{number}] ADD,crowd{number % TRADERS},1.00" for number in range(1, 20 * TRADERS))
    workload.write_text("\n".join(lines))
    command = [sys.executable, "-m", "loadgen", "replay", str(workload), f"--url={stack.url}", f"--json={report}"]
    environment = {**os.environ, "LOADGEN_TOKEN": stack.operator_token, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    subprocess.run([*command, "--trace-sample", "1", "--quiet"], cwd=PROJECT, env=environment, check=True)
    told = json.loads(report.read_text())["traces"]
    assert told["commands"] == 20 * TRADERS - 1
    request, sizes = "POST /users/{user}/add", []
    for slow in told["slowest"]:
        spans = traces.until(has("send ADD", request, "save", "group update"), slow["trace"])
        sent, served = named(spans, "send ADD"), named(spans, request)
        assert (sent.parent, sent.service, served.parent) == ("", "loadgen", sent.id)
        assert sent.start_ns <= served.start_ns <= served.end_ns <= sent.end_ns
        assert sent.attributes["loadgen.transaction"] == served.attributes["trading.transaction"] == slow["transaction"]
        group = named(spans, "group update")
        wait = next(span for span in spans if span.name == "wait for group" and span.parent == group.parent)
        assert next(span.name for span in spans if span.id == group.parent) == "save"
        assert wait.end_ns == group.start_ns
        sizes.append(group.attributes["db.operation.batch.size"])
    assert max(sizes) > 1

    def is_whole(spans: list[Span]) -> bool:
        ids = {span.id for span in spans}
        sent = sum(span.name == "send ADD" for span in spans)
        return sent == told["commands"] and all(span.parent in ids for span in spans if span.name == "update accounts")

    everything = traces.until(is_whole)
    begun = {span.trace for span in everything if span.name == "send ADD"}
    written = [span for span in everything if span.trace in begun and span.name == "update accounts"]
    by_id = {span.id: span for span in everything}
    assert {by_id[span.parent].name for span in written} == {"group update"}
    assert {span.instance for span in written} == {"gateway-1", "gateway-2"}


def test_no_span_holds_a_token_or_an_amount(stack: BackgroundStack, traces: Traces) -> None:
    """All sixteen commands, and what is refused of them: each amount is one that nothing else has."""
    for place, (method, path, body) in enumerate(WALK):
        ask(stack, method, path, body, Traceparent=traceparent(2_000 + place)[1])
    ids = [traceparent(2_000 + place)[0] for place in range(len(WALK))]
    for trace in ids:
        traces.until(lambda spans: any(span.service and "http.route" in span.attributes for span in spans), trace)
    found = [span for span in traces.all() if span.trace in ids]
    assert {span.attributes.get("trading.command") for span in found} >= {"ADD", "DUMPLOG", "DISPLAY_SUMMARY", "SELL"}
    text = "".join(span.line() for span in traces.all())
    assert stack.operator_token not in text
    assert "Bearer" not in text
    amounts = [body[name] for _, _, body in WALK if body for name in ("amount", "price") if name in body]
    cents = [amount.replace(".", "").lstrip("-") for amount in amounts]
    assert {
        amount for amount in [*amounts, *cents, "13.37", "1337"] if f'"{amount}"' in text or f":{amount}," in text
    } == set()


def test_a_sweep_is_a_trace_of_its_own_with_what_it_wrote(stack: BackgroundStack, traces: Traces) -> None:
    ask(stack, "POST", "/users/swept/add", {"amount": "100.00"})
    ask(stack, "POST", "/users/swept/set-buy-amount", {"symbol": "SWP", "amount": "50.00"})
    ask(stack, "POST", "/users/swept/set-buy-trigger", {"symbol": "SWP", "price": "20.00"})

    def fired(spans: list[Span]) -> bool:
        return any(span.attributes.get("trading.sweep.fired") for span in spans)

    sweep = next(span for span in traces.until(fired) if span.attributes.get("trading.sweep.fired"))
    spans = traces.until(has("sweep", "quote", "save"), sweep.trace)
    assert sweep.parent == ""
    for name in ("quote", "load", "save", "update accounts"):
        assert is_under(named(spans, name), sweep, spans), name


def test_a_dump_is_seen_to_where_it_is_written(stack: BackgroundStack, traces: Traces, tmp_path: Path) -> None:
    trace, header = traceparent(3)
    status, body = ask(stack, "POST", "/users/jane/dumplog", {"filename": "jane.xml"}, Traceparent=header)
    assert status == 200
    spans = traces.until(has("POST /users/{user}/dumplog", "dump"), trace)
    assert named(spans, "dump").attributes["trading.dump.events"] == body["events"]
    below = [span for span in spans if is_under(span, named(spans, "dump"), spans)]
    assert {span.attributes.get("db.collection.name") for span in below} >= {"accounts", "dumps"}
