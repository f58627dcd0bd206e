"""Unix sockets in folders of any depth: kernels take some 100 bytes of path, and folders of tests are longer."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST_BYTES = 103
"""What Linux (107) and macOS take."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a path of the file that is short enough for a socket's address: its own, else by its folder's descriptor.

    Only Linux has the latter; elsewhere the folder has to be a shorter one.
    """
    if len(os.fsencode(path)) <= _MOST_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, timeout_seconds: float) -> socket.socket:
    """Return a connection to the socket at `path`; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        with short_path(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, for its owner only; what was there before goes."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(16)
    except BaseException:
        listening.close()
        raise
    return listening
