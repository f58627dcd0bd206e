"""Where audit logs and archives are kept: a folder (`folder.py`) or an S3 bucket (`s3.py`)."""

from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

MIN_PART_BYTES = 8 * 1024 * 1024
"""Writers get pieces of at least this size, except the last: S3 takes no parts below 5 MiB."""


BLOCK_BYTES = 4096
"""What a small file counts for, so that a quota of bytes also limits the number of files."""


class PlaceError(OSError):
    """The place cannot be read or written now."""


class PlaceWriter(Protocol):
    """Writes one file: it becomes visible, as a whole, only at `finish`, replacing any earlier one.

    `state` is what `Place.resume` needs to continue after the pieces written so far, None if it cannot. All methods
    raise OSError.
    """

    @property
    def state(self) -> Mapping[str, Any] | None:
        """Return what a later process needs to continue."""

    def add(self, piece: bytes) -> None:
        """Write a piece of at least MIN_PART_BYTES, or the last one, of any size."""

    def finish(self) -> None:
        """Make the file visible; it is durable on return."""

    def abort(self) -> None:
        """Remove what was written; harmless after `finish`."""


class Place(Protocol):
    """Keeps files under relative paths of plain names. All methods except the locations raise OSError."""

    @property
    def resumable(self) -> bool:
        """Whether one process can begin a file and another finish it."""

    @property
    def has_links(self) -> bool:
        """Whether `link` returns URLs."""

    def location(self, path: str) -> str:
        """Return the path or address of a file, whether it exists or not, for operators."""

    def public_location(self, path: str) -> str:
        """Return the same for everybody."""

    def link(self, path: str) -> str | None:
        """Return a temporary URL from which anyone can get the file, or None if the place makes none."""

    def writer(self, path: str) -> PlaceWriter:
        """Begin a file."""

    def resume(self, path: str, state: Mapping[str, Any]) -> PlaceWriter:
        """Continue a file that another process began."""

    def open(self, path: str) -> BinaryIO:
        """Open a file to read it once from its beginning."""

    def size(self, folder: str, without: str) -> int:
        """Return the size of the files in a folder, except one file: at least BLOCK_BYTES each."""

    def remove(self, path: str) -> None:
        """Remove a file, if there is one."""
