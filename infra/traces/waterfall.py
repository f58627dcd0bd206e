"""A trace as text: one line per span, below its parent, with a bar for its time."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from infra.traces.spans import Span

_SHOWN = (
    "trading.command",
    "trading.outcome",
    "http.response.status_code",
    "db.operation.batch.size",
    "trading.quote.cached",
    "trading.leader",
    "trading.cache.hit",
    "error.type",
)
"""The attributes that are shown, by the last part of their names."""

_NARROWEST = 60
_BAR = 24
_MS = 1_000_000


def waterfall(spans: Sequence[Span], width: int | None = None) -> Iterator[str]:
    """Yield the lines of a trace; `width` is by default that of the terminal.

    A span whose parent is missing is at the left: the parent's process has sent no spans, or not yet.
    """
    width = max(_NARROWEST, shutil.get_terminal_size().columns if width is None else width)
    began, ended = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
    whole = max(1, ended - began)
    yield f"trace {spans[0].trace}: {len(spans)} spans, {whole / _MS:.3f} ms"
    for depth, span in _in_order(spans):
        offset = (span.start_ns - began) * _BAR // whole
        length = max(1, (span.end_ns - span.start_ns) * _BAR // whole)
        bar = (" " * min(offset, _BAR - 1) + "█" * length)[:_BAR].ljust(_BAR)
        took = f"{(span.start_ns - began) / _MS:9.3f} {(span.end_ns - span.start_ns) / _MS:9.3f} ms"
        whose = f"{span.instance or span.service}: " if depth == 0 or _is_elsewhere(span, spans) else ""
        text = f"{'  ' * depth}{whose}{span.name}{_notes(span)}"
        yield f"{took} |{bar}| {text}"[:width].rstrip()


def _in_order(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    here = {span.id for span in spans}
    below: Mapping[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
        below[span.parent if span.parent in here else ""].append(span)
    waiting = [(0, span) for span in reversed(below[""])]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        waiting += [(depth + 1, child) for child in reversed(below[span.id])]


def _is_elsewhere(span: Span, spans: Sequence[Span]) -> bool:
    """Return whether a span is from another process than its parent."""
    return any(one.id == span.parent and one.instance != span.instance for one in spans)


def _notes(span: Span) -> str:
    found = [f"{name.rpartition('.')[2]}={span.attributes[name]}" for name in _SHOWN if name in span.attributes]
    failed = ["FAILED"] if span.failed else []
    return "".join(f" {note}" for note in [*failed, *found])
