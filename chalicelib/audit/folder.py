"""A folder as the place for logs and archives."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from chalicelib import clock
from chalicelib.audit.places import BLOCK_BYTES

_LEFT_BEHIND_SECONDS = 24 * 3600


class Folder:
    """A folder on this machine, or one shared by all servers."""

    resumable = False
    has_links = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def location(self, path: str) -> str:
        """Return the absolute path of a file."""
        return str((self._root / path).absolute())

    def public_location(self, path: str) -> str:
        """Return the path within the folder; where the folder is on the disk is not public."""
        return path

    def link(self, path: str) -> str | None:  # noqa: ARG002
        """Return None: whoever can read the folder needs no link."""
        return None

    def writer(self, path: str) -> "FileWriter":
        """Begin a file under a temporary name."""
        return FileWriter(self._root / path)

    def resume(self, path: str, state: Mapping[str, Any]) -> "FileWriter":  # noqa: ARG002
        """Begin again: the file may be on another machine's disk."""
        return self.writer(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file."""
        return (self._root / path).open("rb")

    def size(self, folder: str, without: str) -> int:
        """Return the size of all files, unfinished ones included: another writer may be adding to them."""
        name = Path(without).name
        try:
            there = list(os.scandir(self._root / folder))
        except FileNotFoundError:
            return 0
        sizes = 0
        for entry in there:
            if entry.name != name and not entry.name.startswith(f".{name}."):
                with suppress(FileNotFoundError):  # unfinished, and removed meanwhile
                    sizes += max(BLOCK_BYTES, entry.stat().st_size)
        return sizes

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._root / path).unlink(missing_ok=True)


class FileWriter:
    """Writes to a temporary name, so a failed dump never leaves an incomplete file under the final name."""

    state = None

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        self._unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        self._file = self._unfinished.open("wb", buffering=0)

    def add(self, piece: bytes) -> None:
        """Write a piece."""
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Rename the file once all of it is on the disk."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abort(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Remove what killed processes left of a file, long after they could still be writing it."""
    before_ns = clock.wall_ns() - _LEFT_BEHIND_SECONDS * 1_000_000_000
    for entry in os.scandir(path.parent):
        if entry.name.startswith(f".{path.name}.") and entry.name.endswith(".part"):
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime_ns < before_ns:
                    Path(entry.path).unlink()
