"""What keeps audit logs and archives: a folder (`folder.py`) or a bucket of S3 (`s3.py`)."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

MIN_PART_BYTES = 8 * 1024 * 1024
"""A writer is given pieces of at least this size, but for the last one: S3 takes no parts below 5 MiB."""


BLOCK_BYTES = 4096
"""What a small file takes: so a quota of bytes is one of files too."""


class PlaceError(OSError):
    """The place cannot be read or written just now."""


class PlaceWriter(Protocol):
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
    """Keeps files under relative paths of plain names. All methods but the locations raise OSError."""

    @property
    def resumable(self) -> bool:
        """Whether a file can be begun by one process and finished by another."""

    @property
    def has_links(self) -> bool:
        """Whether `link` returns addresses."""

    def location(self, path: str) -> str:
        """Return the path or address of a file, whether it is there or not, for who runs the server."""

    def public_location(self, path: str) -> str:
        """Return the same for anyone."""

    def link(self, path: str) -> str | None:
        """Return an address anyone may get a file from, for a while; None where there is no such thing."""

    def writer(self, path: str) -> PlaceWriter:
        """Begin a file."""

    def resume(self, path: str, state: Mapping[str, Any]) -> PlaceWriter:
        """Go on with a file that another process began."""

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it once, from its beginning."""

    def size(self, folder: str, without: str) -> int:
        """Return the bytes that the files below a folder take, but for those of one: BLOCK_BYTES each at least."""

    def remove(self, path: str) -> None:
        """Remove a file; harmless when there is none."""
