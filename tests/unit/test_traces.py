"""Spans that are kept in a folder, taken by the collector, and shown as a waterfall."""

import gzip
import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from infra.local.cli import main
from infra.traces.collector import MOST_BYTES, PATH, Collector
from infra.traces.files import SpanFiles, read_trace
from infra.traces.spans import Span, from_line
from infra.traces.waterfall import waterfall

TRACE = "0af7651916cd43dd8448eb211c80319c"
MS = 1_000_000


def span(
    name: str,
    start: int,
    end: int,
    *,
    parent: str = "",
    instance: str = "gateway-1",
    attributes: dict[str, Any] | None = None,
) -> Span:
    return Span(TRACE, name, parent, name, "day-trading", instance, start * MS, end * MS, False, attributes or {})


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Collector(0, SpanFiles(tmp_path).add) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def post(collector: Collector, path: str, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", collector.server_port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, named)
    status = connection.getresponse().status
    connection.close()
    return status


def test_what_the_sdk_sends_is_kept_and_read_again_by_its_trace(collector: Collector, tmp_path: Path) -> None:
    resource = Resource({"service.name": "day-trading", "service.instance.id": "gateway-1"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.url}{PATH}")))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer", attributes={"trading.replayed": True, "sizes": [1, 2]}) as outer:
        outer.set_status(Status(StatusCode.ERROR))
        tracer.start_span("inner").end()
    tracer.start_span("another").end()
    trace = f"{outer.get_span_context().trace_id:032x}"
    first, second = read_trace(tmp_path, trace)
    assert (first.name, first.parent, first.failed, first.instance) == ("outer", "", True, "gateway-1")
    assert first.attributes["trading.replayed"] is True
    assert (second.name, second.parent, second.failed) == ("inner", first.id, False)
    assert first.start_ns <= second.start_ns <= second.end_ns <= first.end_ns
    assert read_trace(tmp_path, "0" * 32) == []


def test_what_is_no_export_is_refused_and_the_next_one_is_taken(collector: Collector, tmp_path: Path) -> None:
    assert post(collector, PATH, b"\xff\xff\xff") == 400
    assert post(collector, PATH, b"no gzip", Content_Encoding="gzip") == 400
    assert post(collector, "/v1/logs", b"") == 404
    assert post(collector, PATH, b"", Content_Length=str(MOST_BYTES + 1)) == 413
    assert post(collector, PATH, b"", Content_Length="much") == 413
    assert post(collector, PATH, gzip.compress(b""), Content_Encoding="gzip") == 200


def test_a_folder_of_spans_stays_within_its_bound_and_has_the_latest(tmp_path: Path) -> None:
    files = SpanFiles(tmp_path, limit_bytes=10_000)
    for number in range(1_000):
        files.add([span(f"span {number}", number, number + 1)])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * 10_000 + 1_000
    kept = [one.name for one in read_trace(tmp_path, TRACE)]
    assert kept[-1] == "span 999"
    assert kept == [f"span {number}" for number in range(1_000 - len(kept), 1_000)]


def test_a_line_that_is_half_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    SpanFiles(tmp_path).add([span("whole", 0, 1)])
    with (tmp_path / "spans.jsonl").open("a") as file:
        file.write(span("half", 1, 2).line()[:-10])
    assert [one.name for one in read_trace(tmp_path, TRACE)] == ["whole"]


def test_a_span_is_a_line_and_back() -> None:
    one = span("load", 1, 2, attributes={"size": 3, "kept": True, "what": "x\ny"})
    assert one.line().count("\n") == 1
    assert from_line(one.line()) == one


STORY = [
    span("send BUY", 0, 100, instance="", parent=""),
    span("POST /users/{user}/buy", 10, 90, parent="send BUY", attributes={"trading.outcome": "ok", "user.id": "jane"}),
    span("quote", 20, 60, parent="POST /users/{user}/buy"),
    span("save", 60, 90, parent="POST /users/{user}/buy"),
    span("group update", 80, 90, parent="save", attributes={"db.operation.batch.size": 17}),
    span("wait for group", 60, 80, parent="save"),
]


def test_a_waterfall_has_a_line_a_span_under_its_parent_in_the_order_of_time() -> None:
    lines = list(waterfall(STORY, width=200))
    assert lines[0] == f"trace {TRACE}: 6 spans, 100.000 ms"
    assert [line.rpartition("| ")[2] for line in lines[1:]] == [
        "day-trading: send BUY",
        "  gateway-1: POST /users/{user}/buy outcome=ok",
        "    quote",
        "    save",
        "      wait for group",
        "      group update size=17",
    ]
    assert lines[5].startswith("   60.000    20.000 ms |")
    bars = [line.split("|")[1] for line in lines[1:]]
    assert bars[0] == "█" * 24
    assert bars[5] == " " * 19 + "██" + " " * 3
    assert all(len(bar) == 24 for bar in bars)


def test_a_waterfall_is_no_wider_than_its_terminal_and_shows_what_failed_and_what_has_no_parent() -> None:
    orphan = Span(TRACE, "a", "elsewhere", "quote source", "day-trading", "ticker", 0, 0, True, {"error.type": "X"})
    (_, line) = waterfall([orphan], width=500)
    assert line.endswith("ticker: quote source FAILED type=X")
    assert all(len(line) <= 60 for line in waterfall(STORY, width=10))


def test_the_command_shows_a_kept_trace_and_says_why_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", TRACE, "--data", str(tmp_path)]) == 1
    assert "start the stack with --traces" in capsys.readouterr().err
    SpanFiles(tmp_path / "traces").add(STORY)
    assert main(["trace", TRACE.upper(), "--data", str(tmp_path)]) == 0
    assert "wait for group" in capsys.readouterr().out
    assert main(["trace", "0" * 32, "--data", str(tmp_path)]) == 1
    assert "only the latest are kept" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["trace", "x"])
    assert "32 hexadecimal digits" in capsys.readouterr().err
