"""The wrappers that make spans: each behaves like the part it wraps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from chalicelib import clock

MONGODB = {"db.system.name": "mongodb"}


class Spans:
    """Makes spans; an error is recorded by its type only, without its text."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self.tracer = tracer

    @contextmanager
    def of(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        context: contexts.Context | None = None,
    ) -> Iterator[Span]:
        """Run the block as a span, a child of the current one or of that in `context`."""
        with self.tracer.start_as_current_span(
            name, context, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                fail(span, type(error).__name__)
                raise


def fail(span: Span, kind: str) -> None:
    """Record a failure on a span."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


Note = Callable[[Span, Any], None]
"""Records the result of a call on a span."""


class Wrapper:
    """Wraps a part: some of its calls become spans, or are recorded on the current span."""

    def __init__(
        self,
        part: Any,
        spans: Spans,
        calls: Mapping[str, tuple[str | None, Note]],
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        self._part = part
        for name, (span_name, note) in calls.items():
            call = getattr(part, name)
            seen = _noted(call, note) if span_name is None else _spanned(call, note, spans, span_name, kind, attributes)
            setattr(self, name, seen)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def _noted(call: Callable[..., Any], note: Note) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        result = call(*arguments, **named)
        note(trace.get_current_span(), result)
        return result

    return noted


def _spanned(
    call: Callable[..., Any],
    note: Note,
    spans: Spans,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, AttributeValue],
) -> Callable[..., Any]:
    def spanned(*arguments: Any, **named: Any) -> Any:
        with spans.of(name, kind, attributes) as span:
            result = call(*arguments, **named)
            note(span, result)
            return result

    return spanned


class TracedSingleFlight:
    """Wraps the fetches that threads share."""

    def __init__(self, single_flight: Any, spans: Spans) -> None:
        self._single_flight = single_flight
        self._spans = spans

    def join(self, symbol: str, fetch: Callable[[], Any], limit_seconds: float) -> Any:
        """Fetch, or wait for the thread that does: a span says which."""
        with self._spans.of("single flight", attributes={"trading.symbol": symbol, "trading.leader": False}) as span:

            def fetched() -> Any:
                span.set_attribute("trading.leader", True)
                return fetch()

            return self._single_flight.join(symbol, fetched, limit_seconds)


class TracedQueues:
    """Wraps the queues of users."""

    def __init__(self, queues: Any, spans: Spans) -> None:
        self._queues = queues
        self._spans = spans

    @contextmanager
    def turn(self, user: str, deadline: Any) -> Iterator[bool]:
        """Hold a user's turn; waiting for it is a span."""
        began_ns = clock.wall_ns()
        waited = True
        try:
            waited = self._queues.take(user, deadline)
        finally:
            if waited:
                self._spans.tracer.start_span("turn", start_time=began_ns).end()
        try:
            yield waited
        finally:
            self._queues.pass_on(user)


class _Joined:
    """An item of a batch, with its trace and when it came."""

    __slots__ = ("context", "item", "joined_ns")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.context = contexts.get_current()
        self.joined_ns = clock.wall_ns()


class TracedBatches:
    """Wraps a batcher. The first member sends for all, but each has the spans of the batch in its own trace."""

    def __init__(
        self,
        make: Callable[..., Any],
        operation: str,
        spans: Spans,
        send: Callable[[Sequence[Any]], Sequence[Any]],
        limit: int,
        wait_seconds: float,
    ) -> None:
        self._operation = operation
        self._spans = spans
        self._send = send
        self._batches = make(self._send_seen, limit, wait_seconds)

    def submit(self, item: Any) -> Any:
        """Return the result of an item."""
        return self._batches.submit(_Joined(item))

    def close(self) -> None:
        """Wait until everything has been sent and answered."""
        self._batches.close()

    def _send_seen(self, joined: Sequence[_Joined]) -> Sequence[Any]:
        sent_ns = clock.wall_ns()
        given: dict[str, AttributeValue] = {
            **MONGODB,
            "db.operation.name": self._operation,
            "db.operation.batch.size": len(joined),
        }
        start, open_spans = self._spans.tracer.start_span, []
        for one in joined:
            if trace.get_current_span(one.context).is_recording():
                start("wait for group", one.context, start_time=one.joined_ns).end(sent_ns)
                open_spans.append(start(f"group {self._operation}", one.context, attributes=given, start_time=sent_ns))
        leads = trace.get_current_span().is_recording()
        try:
            with trace.use_span(open_spans[-1] if leads else trace.INVALID_SPAN, record_exception=False):
                return self._send([one.item for one in joined])
        except Exception as error:
            for span in open_spans:
                fail(span, type(error).__name__)
            raise
        finally:
            for span in open_spans:
                span.end()
