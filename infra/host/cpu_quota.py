"""A CPU quota for a process, enforced by the kernel as for containers (Linux control groups)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
"""A process that has used its share of a period waits for the next one."""

_NUMBERS = count()
_ENTER = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"')


class CpuQuotaError(Exception):
    """A CPU quota cannot be set here; says why."""


@contextmanager
def cpu_quota(cores: float, groups: Path = GROUPS) -> Iterator[Sequence[str]]:
    """Yield the prefix of a command line whose process then gets the CPU time of at most `cores` cores.

    The process must end before the block does. Raises CpuQuotaError if this user cannot create control groups.
    """
    share_us = round(cores * PERIOD_US)
    if (groups / "cpu").is_dir():  # version 1: one tree per resource
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
