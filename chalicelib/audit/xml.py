"""Events as XML, piece by piece, so that memory does not grow with the log."""

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from chalicelib.audit.events import LogEvent

HEAD = '<?xml version="1.0"?>\n<log>\n'
TAIL = "</log>\n"


def event_xml(event: LogEvent) -> str:
    """Return one event as an element with a child a field."""
    children = "".join(f"    <{name}>{escape(value)}</{name}>\n" for name, value in event.fields)
    return f"  <{event.kind}>\n{children}  </{event.kind}>\n"


def log_xml(events: Iterable[LogEvent]) -> Iterator[str]:
    """Yield the pieces of a whole document."""
    yield HEAD
    for event in events:
        yield event_xml(event)
    yield TAIL
