"""`replay --trace-sample`: which traces are begun, told to the server, and named in the report."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.traces.collector import Collector
from infra.traces.spans import Span
from loadgen.cli import main
from loadgen.results.statistics import Statistics
from loadgen.results.traced import MOST_NAMED, TracedCommands
from tests.unit.loadgen.outcomes import outcome
from tests.unit.loadgen.runs import MANY, replayed, report_of
from tests.unit.loadgen.stub import Handler, Request, StubServer, answer

KEPT = 0x01
"""The flag of a trace that is kept (W3C Trace Context)."""


def written(folder: Path, text: str = MANY) -> Path:
    """Write a workload of these lines, numbered."""
    workload = folder / "w.txt"
    workload.write_text("".join(f"[{number}] {line}\n" for number, line in enumerate(text.splitlines(), 1)))
    return workload


class Heard:
    """The traceparent of each request that carried a command; the first try of every fifth is refused, ZED's always."""

    def __init__(self, stub: StubServer) -> None:
        self.headers: dict[str, list[str | None]] = {}
        stub.misbehave = self

    def __call__(self, handler: Handler, request: Request) -> bool:
        if request.key is None:
            return False
        self.headers.setdefault(request.key, []).append(handler.headers["traceparent"])
        fails = request.command.user == "zed" or (request.command.transaction % 5 == 0 and request.attempt == 1)
        return answer(handler, 503) if fails else False


@contextmanager
def collecting() -> Iterator[tuple[str, list[Span]]]:
    """Give a collector's address and what it gets."""
    spans: list[Span] = []
    with Collector(0, spans.extend) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector.url, spans
        collector.shutdown()
        thread.join()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_each_command_begins_a_trace_and_the_report_names_the_slowest_and_the_failed(
    stub: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    workload, report = written(tmp_path, f"{MANY}\nADD,zed,1.00"), tmp_path / "r.json"
    heard = Heard(stub)
    with collecting() as (url, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        options = ("--trace-sample", "1", "--processes", processes, "--retries", "1", "--json", report)
        replayed(stub, workload, *options, code=1)
    begun = [header.split("-") for headers in heard.headers.values() for header in headers if header is not None]
    assert len(begun) > len(heard.headers) == 71  # some were tried again
    assert all(len(set(headers)) == 1 for headers in heard.headers.values()), (
        "a command is one trace, however often sent"
    )
    assert {(version, int(flags, 16) & KEPT) for version, _, _, flags in begun} == {("00", KEPT)}
    assert len({trace for _, trace, _, _ in begun}) == 71
    traces = report_of(report)["traces"]
    assert traces["commands"] == 71
    assert len(traces["slowest"]) == MOST_NAMED
    (failed,) = traces["failed"]
    assert (failed["command"], failed["outcome"]) == ("ADD", "503 store_unavailable")
    by_trace = {span.trace: span for span in spans}
    assert by_trace.keys() == {trace for _, trace, _, _ in begun}
    assert {(span.service, span.name) for span in spans} == {("loadgen", "send ADD")}
    assert [span.trace for span in spans if span.failed] == [failed["trace"]]
    assert by_trace[failed["trace"]].attributes["http.request.resend_count"] == 1
    assert {span.id for span in spans} == {span for _, _, span, _ in begun}


def test_traces_that_are_not_kept_are_said_to_be_so_and_named_nowhere(stub: StubServer, tmp_path: Path) -> None:
    workload, report = written(tmp_path), tmp_path / "r.json"
    heard = Heard(stub)
    replayed(stub, workload, "--trace-sample", "1e-12", "--json", report)
    headers = [header for headers in heard.headers.values() for header in headers]
    assert all(header is not None and not int(header[-2:], 16) & KEPT for header in headers)
    assert report_of(report)["traces"] is None


def test_without_a_share_no_trace_is_begun(stub: StubServer, tmp_path: Path) -> None:
    workload = written(tmp_path)
    heard = Heard(stub)
    replayed(stub, workload)
    assert {header for headers in heard.headers.values() for header in headers} == {None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trace-sample", "2"], "must be a share from 0 to 1, not '2'"),
        (["--trace-sample", "0.1", "--header", "Traceparent: x"], "leave out --header 'traceparent: ...'"),
    ],
)
def test_a_share_that_is_none_and_two_headers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    workload = written(tmp_path)
    try:
        code = main(["replay", str(workload), "--url", "http://127.0.0.1:1", "--token", "t", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    assert said in capsys.readouterr().err


def test_without_the_library_it_is_said_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = written(tmp_path)
    monkeypatch.setattr("loadgen.arguments.find_spec", lambda _: None)
    assert main(["replay", str(workload), "--url", "http://127.0.0.1:1", "--token", "t", "--trace-sample", "1"]) == 2
    assert "pip install 'day-trading-loadgen[traces]'" in capsys.readouterr().err


def test_the_slowest_of_several_processes_are_the_slowest_of_all() -> None:
    statistics = [Statistics(), Statistics()]
    for one in statistics:
        one.start(0)
    for number in range(40):
        traced = outcome(latency_us=1000 * number)._replace(trace=f"{number:032x}")
        statistics[number % 2].record("ADD", traced, transaction=number)
    both = Statistics()
    for one in statistics:
        both.add(Statistics.read(one.figures(), one.started_at_ms))
    figures = both.figures()["traces"]
    assert figures["commands"] == 40
    assert [one["transaction"] for one in figures["slowest"]] == list(range(39, 29, -1))
    assert TracedCommands.read(figures).figures() == figures
