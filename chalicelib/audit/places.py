"""Where audit logs and archives are kept: a folder, or a bucket of S3 (`chalicelib/audit/s3.py`)."""

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

S3 = "s3://"
MIN_PART_BYTES = 8 * 1024 * 1024
"""A writer is given pieces of at least this size, but for the last one: S3 takes no parts below 5 MiB."""

_LEFT_BEHIND_SECONDS = 24 * 3600.0


class PlaceError(OSError):
    """The place cannot be read or written just now."""


class Writer(Protocol):
    """Writes one file: nothing is seen under its name before `finish`, which replaces one that was there as a whole.

    `state` is what `Place.resume` needs to go on after the pieces written so far; None when it cannot. All methods
    raise OSError.
    """

    @property
    def state(self) -> Mapping[str, Any] | None:
        """Return what a later process needs to go on."""

    def add(self, piece: bytes) -> None:
        """Write a piece of at least MIN_PART_BYTES, or the last one, of any size."""

    def finish(self) -> None:
        """Make what was written the file; safe on the disks before it returns."""

    def abort(self) -> None:
        """Leave nothing of what was written; harmless after `finish`."""


class Place(Protocol):
    """Keeps files under relative paths of plain names. All methods but `location` raise OSError."""

    @property
    def resumable(self) -> bool:
        """Whether a file can be begun by one process and finished by another."""

    @property
    def has_links(self) -> bool:
        """Whether `link` returns addresses."""

    def location(self, path: str) -> str:
        """Return the path or address of a file, whether it is there or not."""

    def link(self, path: str) -> str | None:
        """Return an address anyone may get a file from, for a while; None where there is no such thing."""

    def writer(self, path: str) -> Writer:
        """Begin a file."""

    def resume(self, path: str, state: Mapping[str, Any]) -> Writer:
        """Go on with a file that another process began."""

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it once, from its beginning."""

    def remove(self, path: str) -> None:
        """Remove a file; harmless when there is none."""


def make_place(setting: str, link_seconds: int) -> Place:
    """Return the place that a setting names, a folder or `s3://bucket/prefix`."""
    if setting.startswith(S3):
        from chalicelib.audit.s3 import Bucket  # noqa: PLC0415  # it needs what is above

        bucket, _, prefix = setting.removeprefix(S3).partition("/")
        return Bucket(bucket, prefix.strip("/"), link_seconds)
    return Folder(Path(setting))


class Folder:
    """A folder of this machine, or one that all servers share."""

    resumable = False
    has_links = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def location(self, path: str) -> str:
        """Return the absolute path of a file."""
        return str((self._root / path).absolute())

    def link(self, path: str) -> str | None:  # noqa: ARG002
        """Return None: who can read the folder needs no link."""
        return None

    def writer(self, path: str) -> "FileWriter":
        """Begin a file beside its final name."""
        return FileWriter(self._root / path)

    def resume(self, path: str, state: Mapping[str, Any]) -> "FileWriter":  # noqa: ARG002
        """Begin anew: the file may be on another machine's disk."""
        return self.writer(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file."""
        return (self._root / path).open("rb")

    def remove(self, path: str) -> None:
        """Remove a file."""
        (self._root / path).unlink(missing_ok=True)


class FileWriter:
    """Writes beside the final name, so that a dump that fails leaves no half file that looks whole."""

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
        """Give the file its name once all of it is on the disk."""
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
    """Remove what processes that were killed have left of a file, long after they could still be writing it."""
    before = time.time() - _LEFT_BEHIND_SECONDS
    for entry in os.scandir(path.parent):
        if entry.name.startswith(f".{path.name}.") and entry.name.endswith(".part"):
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    Path(entry.path).unlink()
