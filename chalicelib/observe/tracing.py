"""OpenTelemetry spans of commands; imported only if traces are enabled.

OTEL_TRACES_EXPORTER=otlp enables them; OpenTelemetry's own settings say where they go and how many are kept
(docs/operations.md). A span never contains a token or an amount of money: no body, no header, no error text, which may
quote one. Names and attributes follow OpenTelemetry's semantic conventions; our own begin with `trading.`.
"""

import contextvars
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from chalicelib import clock, concurrency
from chalicelib.observe.commands import SeenCommand
from chalicelib.observe.instruments import Carried, Instruments, T
from chalicelib.observe.spans import (
    MONGODB,
    Note,
    Spans,
    TracedBatches,
    TracedQueues,
    TracedSingleFlight,
    Wrapper,
    fail,
)

log = logging.getLogger(__name__)

SERVICE = "day-trading"
CLOSE_SECONDS = 3.0
"""How long a process that ends waits for its last spans to be sent."""

_W3C = TraceContextTextMapPropagator()
_REDIS = {"db.system.name": "redis"}


def make_tracing(server: str) -> "Tracing":
    """Return instruments that send spans of `server` by OTLP, from a thread of their own.

    From then on a new thread belongs to the trace in which it was started.
    """
    named = {SERVICE_NAME: SERVICE, SERVICE_INSTANCE_ID: server}
    resource = Resource.create(named).merge(OTELResourceDetector().detect())  # OTEL_* settings take precedence
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # `close` shuts it down, with its own time-out
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    concurrency.Thread = _Thread  # type: ignore[misc]  # the place is there to be replaced
    concurrency.ThreadPoolExecutor = _ThreadPoolExecutor  # type: ignore[misc]  # likewise
    return Tracing(provider)


def trace_id() -> str | None:
    """Return the id of the current thread's trace, or None."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None


class Tracing(Instruments):
    """Makes spans with a provider."""

    trace_id = staticmethod(trace_id)

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._spans = Spans(provider.get_tracer("chalicelib"))
        self.on_command = note_command
        self.database_listeners = (DriverSpans(self._spans),)

    def store(self, store: T) -> T:
        """Return a store whose reads and writes are the spans `load` and `save`."""
        calls = {"read": ("load", _nothing), "save": ("save", _nothing), "kept": (None, _note_kept)}
        return self._wrapped(store, calls)

    def quotes(self, quotes: T) -> T:
        """Return quotes that each make a span `quote`."""
        return self._wrapped(quotes, {"get": ("quote", _note_quote)})

    def cache(self, cache: T) -> T:
        """Return a cache whose round trips are spans."""
        calls = {name: (f"cache {name}", _note_cached) for name in ("read", "claim", "release")}
        return self._wrapped(cache, calls, SpanKind.CLIENT, _REDIS)

    def single_flight(self, single_flight: T) -> T:
        """Return a single flight that makes spans: one for the caller that fetches, one for each that waits."""
        return _as(single_flight, TracedSingleFlight(single_flight, self._spans))

    def source(self, source: T) -> T:
        """Return a source whose tries are spans `quote source`."""
        return self._wrapped(source, {"ask": ("quote source", _nothing)}, SpanKind.CLIENT)

    def queues(self, queues: T) -> T:
        """Return queues whose waits are spans `turn`."""
        return _as(queues, TracedQueues(queues, self._spans))

    def decide(self, decide: T) -> T:
        """Return rules whose decisions are spans `decide`."""
        assert callable(decide)

        def decided(*arguments: Any) -> Any:
            with self._spans.of("decide"):
                return decide(*arguments)

        return _as(decide, decided)

    def dumps(self, dumps: T) -> T:
        """Return dumps whose logs are spans `dump`."""
        return self._wrapped(dumps, {"write": ("dump", _note_events)})

    def sweeper(self, sweeper: T) -> T:
        """Return a sweeper whose sweeps are spans."""
        return self._wrapped(sweeper, {"sweep": ("sweep", _note_report)})

    def batcher(self, make: T, operation: str) -> T:
        """Return a function that makes batchers in which each item has spans for its wait and its batch."""
        assert callable(make)

        def made(send: Callable[[Sequence[Any]], Sequence[Any]], limit: int, wait_seconds: float) -> Any:
            return TracedBatches(make, operation, self._spans, send, limit, wait_seconds)

        return _as(make, made)

    def request(self, request: Any, get_response: Callable[[Any], Any]) -> Any:
        """Answer a request as a span, in the trace that its `traceparent` names."""
        route, arrived = request.context.get("resourcePath", ""), request.context.get("requestTimeEpoch")
        given: dict[str, AttributeValue] = {
            "http.request.method": request.method,
            "http.route": route,
            "url.path": request.context.get("path", route),
            "url.scheme": request.headers.get("x-forwarded-proto", "http"),
        }
        if isinstance(arrived, int):
            given["trading.arrival.delay_ms"] = max(0, clock.wall_ns() // 1_000_000 - arrived)
        context = _W3C.extract(request.headers)
        with self._spans.of(f"{request.method} {route}", SpanKind.SERVER, given, context) as span:
            response = get_response(request)
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 500:
                fail(span, str(response.status_code))
            return response

    def carried(self) -> Carried:
        """Return the current thread's trace as environment variables, empty without one."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return {name.upper(): value for name, value in carrier.items()}

    @contextmanager
    def going_on(self, carried: Carried, name: str) -> Iterator[None]:
        """Run the block as a span of the trace that the variables name."""
        carrier = {name.lower(): value for name, value in carried.items()}
        with self._spans.of(name, context=_W3C.extract(carrier)):
            yield

    def close(self) -> None:
        """Send the remaining spans; a collector that does not answer does not keep a process from ending."""
        sending = concurrency.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)
        if sending.is_alive():
            log.warning("the last spans were not sent within %g s", CLOSE_SECONDS)

    def _wrapped(
        self,
        part: T,
        calls: Mapping[str, tuple[str | None, "Note"]],
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> T:
        return _as(part, Wrapper(part, self._spans, calls, kind, attributes or {}))


def _as(part: T, wrapper: Any) -> T:  # noqa: ARG001  # for its type
    """Return a wrapper with the type of the part it wraps."""
    stands_for: T = wrapper
    return stands_for


def _nothing(_span: Span, _result: Any) -> None:
    """Record nothing."""


def _note_kept(span: Span, record: Any) -> None:
    span.set_attribute("trading.account.kept", record is not None)


def _note_quote(span: Span, answer: Any) -> None:
    span.set_attribute("trading.quote.cached", answer.cached)


def _note_cached(span: Span, result: Any) -> None:
    found = result[1] if isinstance(result, tuple) else result
    span.set_attribute("trading.cache.hit", found is not None)


def _note_events(span: Span, result: Mapping[str, Any]) -> None:
    span.set_attribute("trading.dump.events", result["events"])


def _note_report(span: Span, report: Any) -> None:
    span.set_attributes({f"trading.sweep.{name}": value for name, value in asdict(report).items()})


def note_command(seen: SeenCommand) -> None:
    """Record the outcome of a command on the span of its request."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    given: dict[str, AttributeValue | None] = {
        "trading.command": seen.command,
        "trading.outcome": seen.outcome,
        "trading.replayed": seen.replayed,
        "trading.transaction": seen.transaction,
        "trading.request_id": seen.request_id,
        "trading.quote.source": None if seen.quoted is None else seen.quoted.value,
        "user.id": seen.user,
    }
    span.set_attributes({name: value for name, value in given.items() if value is not None})


class DriverSpans(CommandListener):
    """Makes a span of each command that the driver sends to MongoDB within a trace."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._open: dict[tuple[Any, int], Span] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """Begin a span, without the command's text: it contains amounts."""
        if not trace.get_current_span().is_recording():
            return
        name = event.command_name
        collection = event.command.get(name)
        host, port = event.connection_id
        given: dict[str, AttributeValue] = {
            **MONGODB,
            "db.namespace": event.database_name,
            "db.operation.name": name,
            "server.address": host,
            "server.port": port or 0,
        }
        if isinstance(collection, str):
            given["db.collection.name"] = collection
        title = f"{name} {collection}" if isinstance(collection, str) else name
        span = self._spans.tracer.start_span(title, kind=SpanKind.CLIENT, attributes=given)
        self._open[event.connection_id, event.request_id] = span

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """End the span."""
        if (span := self._open.pop((event.connection_id, event.request_id), None)) is not None:
            span.end()

    def failed(self, event: CommandFailedEvent) -> None:
        """End the span, with the error's code."""
        if (span := self._open.pop((event.connection_id, event.request_id), None)) is not None:
            code = str(event.failure.get("code", "")) or "connection"
            span.set_attribute("db.response.status_code", code)
            fail(span, code)
            span.end()


class _Thread(concurrency.Thread):
    """A thread that continues the trace in which it was made."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._made_in = contextvars.copy_context()

    def run(self) -> None:
        """Run the target."""
        self._made_in.run(super().run)


class _ThreadPoolExecutor(concurrency.ThreadPoolExecutor):
    """A thread pool whose tasks continue the trace in which they were submitted."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Submit a task."""
        return super().submit(contextvars.copy_context().run, call, *arguments, **named)
