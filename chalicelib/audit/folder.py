"""A folder as the place for logs and archives."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from chalicelib.audit.places import BLOCK_BYTES

UNFINISHED = "unfinished"
"""Beside `all` and `users`, so that no name of a log is that of an unfinished file, `unfinished/PATH/HEX.NAME`."""

_STILL_SECONDS = 5
"""Less than a killed writer's file is old when its lease is taken over, and time to lock a new one."""


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
        return FileWriter(self._root, path)

    def resume(self, path: str, state: Mapping[str, Any]) -> "FileWriter":  # noqa: ARG002
        """Begin again: the file may be on another machine's disk."""
        return self.writer(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file."""
        return (self._root / path).open("rb")

    def size(self, folder: str, without: str) -> int:
        """Return the size of all files, unfinished ones included: another writer may be adding to them."""
        name = Path(without).name
        there = [entry for entry in _entries(self._root / folder) if entry.name != name]
        there += [one for one in _entries(self._root / UNFINISHED / folder) if one.name.partition(".")[2] != name]
        sizes = 0
        for entry in there:
            with suppress(FileNotFoundError):  # unfinished, and removed meanwhile
                sizes += max(BLOCK_BYTES, entry.stat().st_size)
        return sizes

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._root / path).unlink(missing_ok=True)


class FileWriter:
    """Writes to a temporary name, so a failed dump never leaves an incomplete file under the final name.

    The file is locked until it has its final name: what is not locked was left by a killed process.
    """

    state = None

    def __init__(self, root: Path, path: str) -> None:
        self._path = root / path
        self._unfinished = (root / UNFINISHED / path).with_name(f"{secrets.token_hex(8)}.{self._path.name}")
        for folder in (self._path.parent, self._unfinished.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._file = self._unfinished.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _remove_left_behind(self._unfinished.parent, os.fstat(self._file.fileno()).st_mtime_ns)

    def add(self, piece: bytes) -> None:
        """Write a piece."""
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Rename the file once all of it is on the disk."""
        os.fsync(self._file.fileno())
        self._unfinished.replace(self._path)
        self._file.close()
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def abort(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []


def _remove_left_behind(folder: Path, now_ns: int) -> None:
    """Remove what killed processes left in a folder; `now_ns` is by the clock of its file system."""
    for entry in _entries(folder):
        with suppress(OSError):  # removed meanwhile, or locked by its writer
            if entry.stat().st_mtime_ns < now_ns - _STILL_SECONDS * 1_000_000_000:
                with Path(entry.path).open("r+b") as file:  # NFS locks only what is open for writing
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(entry.path).unlink()
