"""The spans that are kept in a folder, within a bound: the file of the latest, and that of those before it."""

from collections.abc import Iterable
from pathlib import Path

from infra.traces.spans import Span, from_line

LIMIT_BYTES = 32 * 1024 * 1024
"""Of one file. A command is some 4 KB of spans: the two hold the latest 8,000 to 16,000 traces of commands."""

_LATEST = "spans.jsonl"
_BEFORE = "spans.1.jsonl"


class SpanFiles:
    """Writes spans; one process at a time does so in a folder."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._latest = folder / _LATEST
        self._before = folder / _BEFORE
        self._limit_bytes = limit_bytes

    def add(self, spans: Iterable[Span]) -> None:
        """Keep spans; when the file is full, it takes the place of the one before, and a new one is begun."""
        with self._latest.open("a") as file:
            file.writelines(span.line() for span in spans)
            is_full = file.tell() >= self._limit_bytes
        if is_full:
            self._latest.replace(self._before)


def read_trace(folder: Path, trace: str) -> list[Span]:
    """Return the kept spans of a trace, by their beginning; of an id that is not 32 hexadecimal digits, none."""
    marked = f'"trace":"{trace}"'
    found = []
    for path in (folder / _BEFORE, folder / _LATEST):
        if path.exists():
            with path.open() as file:
                # The last line may be half written: it ends with the next look.
                found += [from_line(line) for line in file if marked in line and line.endswith("\n")]
    return sorted(found, key=lambda span: (span.start_ns, -span.end_ns))
