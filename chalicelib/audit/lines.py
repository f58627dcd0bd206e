"""A line of the log before it is spelled out: an entry, and its place in time and in its journal."""

from collections.abc import Generator, Iterable
from typing import NamedTuple

from chalicelib.store.documents import Document

Position = tuple[int, str, int]
"""Time (ms), user and sequence number: what the lines of a log are sorted by. Within a user time never goes back."""


class JournalLine(NamedTuple):
    """An entry as the store holds it, of whose journal it is, and its number there."""

    at: int
    user: str
    sequence: int
    entry: Document


def position(line: JournalLine) -> Position:
    """Return where in a log the line stands."""
    return line[:3]


def each_once(lines: Iterable[JournalLine], after: Position | None = None) -> Generator[JournalLine, None, None]:
    """Yield lines that come sorted, each once, and only those behind a position."""
    last = after or (-1, "", 0)
    beginning = after is not None
    for line in lines:
        place = line[:3]
        if place == last or (beginning and place < last):
            continue
        beginning = False
        last = place
        yield line
