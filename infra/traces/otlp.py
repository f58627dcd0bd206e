"""Parses OTLP (https://opentelemetry.io/docs/specs/otlp/)."""

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from infra.traces.spans import Span


def from_otlp(body: bytes) -> Iterator[Span]:
    """Yield the spans of an ExportTraceServiceRequest; raises google.protobuf.message.DecodeError."""
    for told in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(told.resource.attributes)
        service, instance = (str(resource.get(f"service.{name}", "")) for name in ("name", "instance.id"))
        for scope in told.scope_spans:
            for span in scope.spans:
                yield Span(
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    service=service,
                    instance=instance,
                    start_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    attributes=_attributes(span.attributes),
                )


def _attributes(given: Iterable[KeyValue]) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in given}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    found = None if kind is None else getattr(value, kind)
    return found if isinstance(found, str | int | float | None) else str(found)
