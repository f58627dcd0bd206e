"""Archives: closed parts of journals, moved to compressed files (docs/audit.md gives their format).

The collection `archives` has a document per file: `file` (its path in the place), `from_at` and `to_at` (of its first
and last entry), `entries`, `users`, and `state`: `chosen` while its parts are copied, `written` once it is complete,
`done` when its parts are deleted. Only files in the last two states are read.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from typing import Any, BinaryIO

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from chalicelib.audit.lines import JournalLine, position
from chalicelib.audit.places import Place
from chalicelib.store.documents import Document

COMPLETE = {"$in": ["written", "done"]}
INDEXES = [IndexModel([("to_at", ASCENDING)]), IndexModel([("users", ASCENDING)])]

_COMPRESSION = 6
_DROPPED = ("id", "res")
"""Only repeated requests need these, and archived commands are no longer repeated."""

_LINES_A_CHECK = 1_000

_FORM = {"file": 1, "from_at": 1, "to_at": 1}


class Archives:
    """The complete archives; thread-safe."""

    def __init__(self, database: Database[Document], place: Place) -> None:
        self._archives = database["archives"]
        self._place = place

    def between(self, from_at: int | None, to_at: int | None) -> list[Document]:
        """Return the archives that may have entries made at or after `from_at` and before `to_at`."""
        overlaps: dict[str, Any] = {"state": COMPLETE}
        if from_at is not None:
            overlaps["to_at"] = {"$gte": from_at}
        if to_at is not None:
            overlaps["from_at"] = {"$lt": to_at}
        return list(self._archives.find(overlaps, _FORM))

    def entries(self) -> int:
        """Return how many entries they have in all."""
        total: dict[str, Any] = {"_id": None, "entries": {"$sum": "$entries"}}
        found = self._archives.aggregate([{"$match": {"state": COMPLETE}}, {"$group": total}])
        return sum(int(one["entries"]) for one in found)

    def spans(self) -> list[Document]:
        """Return `from_at`, `to_at` and `count`, the number of entries, of each."""
        form = {"from_at": 1, "to_at": 1, "count": "$entries"}
        return list(self._archives.aggregate([{"$match": {"state": COMPLETE}}, {"$project": form}]))

    def lines(self, archive: Mapping[str, Any]) -> Iterator[JournalLine]:
        """Yield the lines of an archive, sorted. Raises OSError."""
        with self._place.open(archive["file"]) as file:
            yield from (line_from_json(text) for text in _texts(file))

    def user_lines(self, user: str, first: int, end: int, check: Callable[[], None]) -> Iterator[JournalLine]:
        """Yield one user's lines, sorted, from sequence number `first` up to but not including `end`.

        Calls `check` while it reads: most lines may be those of others.
        """
        there = self._archives.find({"users": user, "state": COMPLETE}, _FORM)
        for line in merge(*(self._of_user(archive, user, check) for archive in there), key=position):
            if first <= line.sequence < end:
                yield line

    def _of_user(self, archive: Mapping[str, Any], user: str, check: Callable[[], None]) -> Iterator[JournalLine]:
        begins = line_start(user)
        with self._place.open(archive["file"]) as file:
            for number, text in enumerate(_texts(file)):
                if number % _LINES_A_CHECK == 0:
                    check()
                if text.startswith(begins):
                    yield line_from_json(text)


def _texts(file: BinaryIO) -> Iterator[bytes]:
    with gzip.open(file, "rb") as unpacked:
        yield from unpacked


def line_start(user: str) -> bytes:
    """Return the prefix that all lines of a user have, and no others."""
    return f'{{"user":"{user}",'.encode()


def line_json(line: JournalLine) -> bytes:
    """Return a line as written to an archive."""
    kept = {name: value for name, value in line.entry.items() if name not in _DROPPED}
    form = {"user": line.user, "sequence": line.sequence, "entry": kept}
    return json.dumps(form, separators=(",", ":")).encode() + b"\n"


def line_from_json(text: bytes) -> JournalLine:
    """Return the line that `line_json` wrote."""
    form = json.loads(text)
    entry = form["entry"]
    return JournalLine(entry["at"], form["user"], form["sequence"], entry)


def packed(lines: Iterable[bytes], piece_bytes: int) -> Iterator[bytes]:
    """Yield the pieces of a gzip file, each of at least `piece_bytes` except the last."""
    pieces: list[bytes] = []
    sink = _Pieces(pieces)
    with gzip.GzipFile(fileobj=sink, mode="wb", compresslevel=_COMPRESSION, mtime=0) as file:
        for line in lines:
            file.write(line)
            if sink.waiting >= piece_bytes:
                yield sink.take()
    yield sink.take()


class _Pieces:
    """The file object that gzip writes to."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.waiting = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.waiting += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: the caller takes the pieces."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.waiting = 0
        return taken
