"""A process of its own for a log that takes long: spelling out a million commands would hold up whoever is served."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chalicelib import concurrency
from chalicelib.audit.places import PlaceError

MOST_AT_ONCE = 2
"""Logs that a process has written apart at the same time; further ones wait."""

_ROOT = Path(__file__).parents[2]
_room = concurrency.Semaphore(MOST_AT_ONCE)


def write_apart(dump_id: str, more: Mapping[str, str] | None = None) -> None:
    """Write a dump in a process of its own, and return when that has ended; `more` is added to its environment.

    Raises PlaceError.
    """
    command = [sys.executable, "-m", "chalicelib.write_dump", dump_id]
    environment = {**os.environ, **(more or {})}
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        # It ends when its standard input does: it does not outlive who waits for it.
        with (
            _room,
            subprocess.Popen(command, stdin=subprocess.PIPE, env={**environment, "PYTHONPATH": path}) as process,  # noqa: S603
        ):
            status = process.wait()
    except OSError as error:
        raise PlaceError(f"no process could be started: {error}") from error
    if status != 0:
        raise PlaceError(f"the process that wrote it ended with exit status {status}")
