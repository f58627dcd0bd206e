"""The folder of one stack: its lock, its secret, its ports, and the file that says how to reach it."""

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.host.folders import make_folder
from infra.host.ports import claim, free_port

DEFAULT_FOLDER = Path(".data")
LOCK = "lock"
_SECRET_BYTES = 48
_LEFTOVER_SECONDS = 20.0
_POLL_SECONDS = 0.1


class FolderInUseError(Exception):
    """Another stack runs in the folder."""

    def __init__(self, folder: Path, owner: str) -> None:
        super().__init__(f"{folder} is in use by the stack with process id {owner}: stop it, or use another --data")


class SecretMissingError(Exception):
    """There is no secret to sign tokens with."""


class StackFolder:
    """A folder in which one stack at a time keeps its data. Raises FolderError if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = make_folder(path, 0o700)
        _close_to_others(self.path)

    @property
    def logs(self) -> Path:
        """Where each part writes its log."""
        return self.path / "logs"

    @property
    def stack_file(self) -> Path:
        """Exists while a stack runs in the folder; says how to reach it."""
        return self.path / "stack.json"

    @contextlib.contextmanager
    def locked(self, pause: Callable[[float], None] = time.sleep) -> Iterator[int]:
        """Hold the folder's lock; yields its file descriptor. Raises FolderInUseError if a running stack holds it.

        The lock belongs to the open file, which every part inherits: after a stack was killed, the lock is free only
        when its last part is gone, so the next stack cannot meet a mongod that is still dying.
        """
        with held(self.path / LOCK, pause) as descriptor:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield descriptor

    def secret(self) -> str:
        """Return the secret that signs this stack's tokens, created on first use."""
        file = self.path / "secret"
        if not file.exists():
            _replace_privately(file, secrets.token_urlsafe(_SECRET_BYTES))
        return file.read_text()

    def port_of(self, part: str) -> int:
        """Return the previous port of `part` if it is free, else a free one, and remember it."""
        file = self.path / "ports.json"
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        owner = f"{part} of {self.path}"
        if part not in ports or not claim(ports[part], owner):
            ports[part] = free_port(owner)
            write_privately(file, ports)
        return ports[part]


@contextlib.contextmanager
def held(lock: Path, pause: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Hold the lock of a folder, created if missing; yields its descriptor. Raises FolderInUseError."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, lock.parent, pause)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path, pause: Callable[[float], None]) -> None:
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode() or "unknown"
            if _is_alive(owner) or time.monotonic() > deadline:
                raise FolderInUseError(folder, owner) from None
            pause(_POLL_SECONDS)
        else:
            return


def existing_secret(folder: Path) -> str:
    """Return the secret of the stack in `folder`; raises SecretMissingError if no stack was ever started there."""
    try:
        return (folder / "secret").read_text()
    except (FileNotFoundError, NotADirectoryError):
        raise SecretMissingError(f"{folder} has no secret: no stack was started there yet") from None
    except OSError as error:
        raise SecretMissingError(f"the secret in {folder} cannot be read: {error.strerror}") from error


def write_privately(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only the owner can read, atomically: a reader finds the old file or the new one."""
    _replace_privately(file, json.dumps(content, indent=2) + "\n")


def _replace_privately(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
    new.replace(file)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _close_to_others(folder: Path) -> None:
    """Remove others' access to a folder that existed before, unless it is for everybody, like /tmp."""
    there = folder.stat()
    if there.st_uid == os.geteuid() and there.st_mode & 0o077 and not there.st_mode & stat.S_ISVTX:
        folder.chmod(0o700)
