"""The spans kept in a folder, of bounded size: the current file and the previous one."""

from collections.abc import Iterable
from pathlib import Path

from infra.traces.spans import Span, from_line

LIMIT_BYTES = 32 * 1024 * 1024
"""The limit of one file. A command is some 4 KB of spans: the two files hold the latest 8,000 to 16,000 traces."""

_LATEST = "spans.jsonl"
_BEFORE = "spans.1.jsonl"


class SpanFiles:
    """Writes spans; only one process at a time may do so in a folder."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._latest = folder / _LATEST
        self._before = folder / _BEFORE
        self._limit_bytes = limit_bytes

    def add(self, spans: Iterable[Span]) -> None:
        """Keep spans; a full file replaces the previous one, and a new one is begun."""
        with self._latest.open("a") as file:
            file.writelines(span.line() for span in spans)
            is_full = file.tell() >= self._limit_bytes
        if is_full:
            self._latest.replace(self._before)


def read_trace(folder: Path, trace: str) -> list[Span]:
    """Return the kept spans of a trace, by start time; empty for an id that is not 32 hexadecimal digits."""
    marked = f'"trace":"{trace}"'
    found = []
    for path in (folder / _BEFORE, folder / _LATEST):
        if path.exists():
            with path.open() as file:
                # The last line may be incomplete: the next read has it.
                found += [from_line(line) for line in file if marked in line and line.endswith("\n")]
    return sorted(found, key=lambda span: (span.start_ns, -span.end_ns))
