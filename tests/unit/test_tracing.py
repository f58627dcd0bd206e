"""Spans of the parts, with the SDK's exporter in memory: their order, their failures, and who goes on with a trace."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chalice.app import Response
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chalicelib import concurrency
from chalicelib.domain.errors import QuoteUnavailableError, TooLateError
from chalicelib.observe import tracing
from chalicelib.observe.commands import SeenCommand
from chalicelib.observe.tracing import Tracing, trace_id
from chalicelib.quotes.single_flight import SingleFlight
from chalicelib.service.deadline import Deadline
from chalicelib.service.user_queue import UserQueues
from chalicelib.store.errors import StoreError, UnknownOutcomeError
from chalicelib.store.grouped.batcher import Batcher

ROOT = Path(__file__).parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seer:
    """Tracing whose spans stay here."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(self.provider)
        self.span: Callable[[str], Any] = self.provider.get_tracer("test").start_as_current_span

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the spans that ended, in that order."""
        return [span for span in self.exporter.get_finished_spans() if name in {None, span.name}]

    def attributes(self, name: str) -> dict[str, Any]:
        """Return those of the one span of a name."""
        (span,) = self.spans(name)
        return dict(span.attributes or {})


@pytest.fixture
def seer() -> Seer:
    return Seer()


def is_in(span: ReadableSpan, outer: ReadableSpan) -> bool:
    assert outer.context is not None
    return span.parent is not None and span.parent.span_id == outer.context.span_id


def request(**headers: str) -> Any:
    context = {"resourcePath": "/users/{user}/add", "path": "/users/jane/add", "requestTimeEpoch": 1}
    return SimpleNamespace(method="POST", headers=headers, context=context)


def test_a_request_is_a_span_of_the_trace_that_its_client_began(seer: Seer) -> None:
    seen: list[str | None] = []

    def answer(_: Any) -> Response:
        seen.append(trace_id())
        return Response("", status_code=409)

    assert seer.tracing.request(request(traceparent=PARENT), answer).status_code == 409
    (span,) = seer.spans()
    assert span.name == "POST /users/{user}/add"
    assert span.kind is trace.SpanKind.SERVER
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert seen == [PARENT.split("-")[1]]
    given = seer.attributes(span.name)
    assert given["http.response.status_code"] == 409
    assert given["http.route"] == "/users/{user}/add"
    assert given["trading.arrival.delay_ms"] > 0
    assert span.status.is_ok or span.status.status_code is trace.StatusCode.UNSET
    assert trace_id() is None


def test_a_trace_that_its_client_does_not_keep_is_not_kept_here(seer: Seer) -> None:
    seer.tracing.request(request(traceparent=PARENT[:-1] + "0"), lambda _: Response("", status_code=200))
    assert seer.spans() == []


def test_a_bad_traceparent_begins_a_trace_of_its_own(seer: Seer) -> None:
    seer.tracing.request(request(traceparent="00-nonsense"), lambda _: Response("", status_code=200))
    assert seer.spans()[0].parent is None


def test_an_answer_of_500_and_above_is_a_failure(seer: Seer) -> None:
    seer.tracing.request(request(), lambda _: Response("", status_code=503))
    (span,) = seer.spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert seer.attributes(span.name)["error.type"] == "503"


def test_an_error_is_named_and_its_text_with_its_amounts_is_not_kept(seer: Seer) -> None:
    def decide() -> None:
        raise TooLateError("needs 280.00, has 12.50")

    with pytest.raises(TooLateError):
        seer.tracing.decide(decide)()
    (span,) = seer.spans("decide")
    assert seer.attributes("decide") == {"error.type": "TooLateError"}
    assert span.status.description is None
    assert list(span.events) == []


def test_what_became_of_a_command_stands_on_the_span_of_its_request(seer: Seer) -> None:
    seen = SeenCommand("r-1", "jane", "BUY", 17, "insufficient_funds", False, 0.1, 0.0, 0.0, 0.0)
    with seer.span("request"):
        tracing.note_command(seen)
    tracing.note_command(seen)  # without a span there is nothing to note it on
    assert seer.attributes("request") == {
        "trading.command": "BUY",
        "trading.outcome": "insufficient_funds",
        "trading.replayed": False,
        "trading.transaction": 17,
        "trading.request_id": "r-1",
        "user.id": "jane",
    }


def test_a_wrapper_hands_on_what_it_makes_no_span_of(seer: Seer) -> None:
    store = SimpleNamespace(
        read=lambda _: "record", save=lambda: None, kept=lambda _: None, make_indexes=lambda: "made"
    )
    seen = seer.tracing.store(store)
    with seer.span("request"):
        assert (seen.kept("jane"), seen.read("jane"), seen.make_indexes()) == (None, "record", "made")
    assert [span.name for span in seer.spans()] == ["load", "request"]
    assert seer.attributes("request") == {"trading.account.kept": False}


def test_of_those_who_want_the_same_quote_one_leads_and_who_waits_is_seen_to(seer: Seer) -> None:
    single_flight = seer.tracing.single_flight(SingleFlight())
    assert single_flight.join("ABC", lambda: "answer", 1.0) == "answer"  # type: ignore[arg-type, return-value, comparison-overlap]
    assert seer.attributes("single flight") == {"trading.symbol": "ABC", "trading.leader": True}

    def fail() -> Any:
        raise QuoteUnavailableError("no quote of ABC could be had")

    with pytest.raises(QuoteUnavailableError):
        single_flight.join("ABC", fail, 1.0)
    assert dict(seer.spans()[-1].attributes or {})["error.type"] == "QuoteUnavailableError"


def test_a_turn_is_a_span_when_it_was_waited_for(seer: Seer) -> None:
    plain = UserQueues()
    queues = seer.tracing.queues(plain)
    with ThreadPoolExecutor(1) as pool:
        with queues.turn("jane", Deadline(10_000)) as waited:
            assert not waited
            second = pool.submit(_take, queues)
            while not plain._waiting["jane"]:
                concurrency.sleep(0.001)
            assert seer.spans() == []
        assert second.result()
    assert [span.name for span in seer.spans()] == ["turn"]
    assert not _take(queues)  # the turn was given back


def _take(queues: UserQueues) -> bool:
    with queues.turn("jane", Deadline(10_000)) as waited:
        return waited


def batcher_of(seer: Seer, send: Callable[[Sequence[int]], Sequence[int | StoreError]]) -> Batcher[int, int]:
    made: Batcher[int, int] = seer.tracing.batcher(Batcher, "update")(send, 10, 5.0)
    return made


def test_each_write_of_a_group_has_its_wait_and_its_group_in_its_own_trace(seer: Seer) -> None:
    both_wait, first_sent = concurrency.Event(), concurrency.Event()

    def send(items: Sequence[int]) -> Sequence[int]:
        if items == [0]:  # while this one is under way, the others gather
            first_sent.set()
            both_wait.wait(10)
        return [item * 10 for item in items]

    batcher = batcher_of(seer, send)

    def write(item: int) -> int:
        with seer.span(f"save {item}"):
            return batcher.submit(item)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(write, 0)
        assert first_sent.wait(10)
        others = [pool.submit(write, item) for item in (1, 2)]
        while len(batcher._batches._pending) < 2:  # type: ignore[attr-defined]
            concurrency.sleep(0.001)
        both_wait.set()
        assert [one.result() for one in (first, *others)] == [0, 10, 20]
    for item, size in ((0, 1), (1, 2), (2, 2)):
        (save,) = seer.spans(f"save {item}")
        wait, group = (span for span in seer.spans() if is_in(span, save))
        assert (wait.name, group.name) == ("wait for group", "group update")
        assert dict(group.attributes or {})["db.operation.batch.size"] == size
        assert save.start_time <= wait.start_time <= wait.end_time == group.start_time <= group.end_time  # type: ignore[operator]


def test_a_group_that_fails_has_failed_in_the_trace_of_each_of_its_writes(seer: Seer) -> None:
    def send(_: Sequence[int]) -> Sequence[int]:
        raise UnknownOutcomeError("the database is away")

    with seer.span("save"), pytest.raises(UnknownOutcomeError):
        batcher_of(seer, send).submit(1)
    assert seer.attributes("group update")["error.type"] == "UnknownOutcomeError"


def test_a_write_without_a_trace_leaves_no_spans(seer: Seer) -> None:
    assert batcher_of(seer, list).submit(1) == 1
    assert seer.spans() == []


def test_threads_and_other_processes_go_on_with_the_trace(seer: Seer) -> None:
    found: list[str | None] = []
    with seer.span("here"):
        carried, here = seer.tracing.carried(), trace_id()
        thread = tracing._Thread(target=lambda: found.append(trace_id()))
        thread.start()
        thread.join()
        with tracing._ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(trace_id).result())
    with seer.tracing.going_on(carried, "there"):
        found.append(trace_id())
    assert here is not None
    assert found == [here] * 3
    assert list(carried) == ["TRACEPARENT"]
    assert is_in(seer.spans("there")[0], seer.spans("here")[0])
    assert seer.tracing.carried() == {}


class Silent(SpanExporter):
    """A collector that does not answer while the test goes on."""

    def __init__(self) -> None:
        self.answers = concurrency.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.answers.wait()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.answers.wait()


def test_a_collector_that_does_not_answer_keeps_no_process_from_its_end(
    seer: Seer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.05)
    silent = Silent()
    seer.provider.add_span_processor(SimpleSpanProcessor(silent))
    try:
        seer.tracing.close()  # would wait for ever
        assert "the last spans were not sent within 0.05 s" in caplog.text
    finally:
        silent.answers.set()


OFF = """
import sys
import app
from chalicelib.runtime import NO_INSTRUMENTS, make_runtime
from infra.local.part_settings import settings_with
parts = make_runtime(settings_with(MONGO_URI='mongodb://127.0.0.1:1/?connect=false', GROUP_COMMIT='128'))
print(type(parts.trading.store).__name__, type(parts.trading.quotes).__name__, type(parts.writer._batcher).__name__)
print(parts.trading.decide.__module__, parts.instruments is NO_INSTRUMENTS, app.app.api.binary_types)
print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'opentelemetry.sdk.trace',
       'chalicelib.observe.tracing', 'chalicelib.observe.spans', 'google.protobuf'))])
"""


def test_without_traces_nothing_of_them_is_imported_and_nothing_stands_between_the_parts() -> None:
    """redis-py imports what it finds of OpenTelemetry's metrics by itself; that is not ours."""
    command = [sys.executable, "-c", OFF]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert found == ["Accounts ProcessQuoteCache Batcher", "chalicelib.domain.decide True []", "[]"]
