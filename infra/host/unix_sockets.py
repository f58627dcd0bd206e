"""Unix sockets in folders of any depth: kernels accept about 100 bytes of path, and test folders have longer ones."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST_BYTES = 103
"""The limits are 107 on Linux and 103 on macOS."""


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a path of the file that is short enough for a socket: its own, else one by its folder's descriptor.

    Only Linux has the latter; elsewhere the folder needs a shorter path.
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
    """Return a listening socket at `path`, for its owner only; an existing file is replaced."""
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
