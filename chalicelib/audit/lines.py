"""A line of the log before it is written as XML: an entry, and its place in time and in its journal."""

from collections.abc import Generator, Iterable
from typing import NamedTuple

from chalicelib.store.documents import Document

Position = tuple[int, str, int]
"""Time (ms), user and sequence number: the sort order of a log. Within one user, times never decrease."""


class JournalLine(NamedTuple):
    """An entry in the store's format, its user, and its sequence number."""

    at: int
    user: str
    sequence: int
    entry: Document


def position(line: JournalLine) -> Position:
    """Return a line's place in a log."""
    return line[:3]


def each_once(lines: Iterable[JournalLine], after: Position | None = None) -> Generator[JournalLine, None, None]:
    """Yield sorted lines, each once, and only those after a position."""
    last = after or (-1, "", 0)
    beginning = after is not None
    for line in lines:
        place = line[:3]
        if place == last or (beginning and place < last):
            continue
        beginning = False
        last = place
        yield line
