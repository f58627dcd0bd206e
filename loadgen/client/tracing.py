"""Traces that begin at the load generator (`--trace-sample`), by OpenTelemetry; imported only when used."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode

from loadgen.client.dialect import Item
from loadgen.client.retry import Outcome

CLOSE_SECONDS = 5.0
"""How long a finished run waits for its last spans to be sent."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracer:
    """Makes a span of each command, from its first send to its last answer, and passes it on to the server.

    The request says for each trace whether it is sampled (W3C Trace Context).
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("loadgen")

    def send(self, item: Item, method: str, request: bytes, deliver: Callable[[bytes], Outcome]) -> Outcome:
        """Send a request as a span; the outcome has the trace's id if the trace is kept."""
        span = self._tracer.start_span(
            f"send {item.name}",
            kind=SpanKind.CLIENT,
            attributes={"http.request.method": method, "loadgen.transaction": item.transaction},
        )
        given = span.get_span_context()
        trace_id = trace.format_trace_id(given.trace_id)
        header = f"traceparent: 00-{trace_id}-{trace.format_span_id(given.span_id)}-{given.trace_flags:02x}\r\n"
        place = request.index(b"\r\n") + 2
        outcome = deliver(request[:place] + header.encode() + request[place:])
        if not span.is_recording():
            return outcome
        span.set_attributes({"loadgen.code": outcome.code, "http.request.resend_count": outcome.tries - 1})
        if outcome.status:
            span.set_attribute("http.response.status_code", outcome.status)
        if not outcome.final:
            span.set_attribute("error.type", outcome.code)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        return outcome._replace(trace=trace_id)


@contextmanager
def tracing(share: float) -> Iterator[Tracer]:
    """Yield a tracer that keeps a share of the traces.

    Its own spans go to OTEL_EXPORTER_OTLP_ENDPOINT, if set; at the end the remaining ones are sent, within a time
    limit.
    """
    named = {SERVICE_NAME: "loadgen", SERVICE_INSTANCE_ID: f"loadgen-{os.getpid()}"}
    resource = Resource.create(named).merge(OTELResourceDetector().detect())
    provider = TracerProvider(sampler=TraceIdRatioBased(share), resource=resource, shutdown_on_exit=False)
    if any(os.environ.get(name) for name in _ENDPOINTS):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Tracer(provider)
    finally:
        sending = threading.Thread(target=provider.shutdown, daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)
