"""Writes a long log in a separate process: writing out a million commands would delay the requests being served."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chalicelib import concurrency
from chalicelib.audit.places import PlaceError

MOST_AT_ONCE = 2
"""How many logs one process has written at the same time; further ones wait."""

NICENESS = 19
"""Requests being served come first."""

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
            subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, env={**environment, "PYTHONPATH": path}, start_new_session=True
            ) as process,
        ):
            let_others_go_first(process.pid)
            status = process.wait()
    except OSError as error:
        raise PlaceError(f"no process could be started: {error}") from error
    if status != 0:
        raise PlaceError(f"the process that wrote it ended with exit status {status}")


def let_others_go_first(pid: int) -> None:
    """Give a process, the leader of a session, the lowest priority and any processor: the server may keep to one.

    Linux may group processes by session (autogroups, sched(7)): the niceness of one then counts within its session, and
    that of the session is in `/proc/PID/autogroup`.
    """
    with suppress(OSError):  # the process has ended, or the kernel has no autogroups
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(pid, range(os.cpu_count() or 1))
            Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))
