"""A bound on the CPU time of a process, as the kernel keeps it for containers: Linux's control groups."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
"""A process that has had its share of a period waits for the next one."""

_NUMBERS = count()
_ENTER = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"')


class CpuQuotaError(Exception):
    """CPU time cannot be bounded here; says why."""


@contextmanager
def cpu_quota(cores: float, groups: Path = GROUPS) -> Iterator[Sequence[str]]:
    """Yield what to put before a command, whose process then has the CPU time of so many cores at most.

    The process must have ended before the block does. Raises CpuQuotaError where there are no control groups that this
    user may make.
    """
    share_us = round(cores * PERIOD_US)
    if (groups / "cpu").is_dir():  # version 1: a tree for each resource
        folder, written = groups / "cpu", {"cpu.cfs_period_us": f"{PERIOD_US}", "cpu.cfs_quota_us": f"{share_us}"}
    else:
        folder, written = groups, {"cpu.max": f"{share_us} {PERIOD_US}"}
    with _group(folder / f"day-trading-{os.getpid()}-{next(_NUMBERS)}", written) as group:
        yield [*_ENTER, str(group / "cgroup.procs")]


@contextmanager
def _group(folder: Path, written: Mapping[str, str]) -> Iterator[Path]:
    try:
        folder.mkdir()
        for name, text in written.items():
            (folder / name).write_text(text)
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        raise CpuQuotaError(f"no CPU quota can be set here: {error}") from error
    try:
        yield folder
    finally:
        folder.rmdir()
