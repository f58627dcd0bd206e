"""Writes a long log in a separate process: writing out a million commands would delay the requests being served."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chalicelib import concurrency
from chalicelib.audit.places import PlaceError

MOST_AT_ONCE = 2
"""How many logs one process has written at the same time; further ones wait."""

_ROOT = Path(__file__).parents[2]
_room = concurrency.Semaphore(MOST_AT_ONCE)


def write_apart(dump_id: str, more: Mapping[str, str] | None = None) -> None:
    """Write a dump in a separate process and return when it has ended; `more` is added to its environment.

    Raises PlaceError.
    """
    command = [sys.executable, "-m", "chalicelib.write_dump", dump_id]
    environment = {**os.environ, **(more or {})}
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        # It ends when its standard input closes, so it does not outlive this process.
        with (
            _room,
            subprocess.Popen(command, stdin=subprocess.PIPE, env={**environment, "PYTHONPATH": path}) as process,  # noqa: S603
        ):
            status = process.wait()
    except OSError as error:
        raise PlaceError(f"no process could be started: {error}") from error
    if status != 0:
        raise PlaceError(f"the process that wrote it ended with exit status {status}")
