"""The bound on CPU time by the kernel's control groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.host.cpu_quota import PERIOD_US, CpuQuotaError, cpu_quota

_BUSY = """
import time
began, work = time.perf_counter(), 0
while time.process_time() < 0.5:
    work += 1
print(time.process_time() / (time.perf_counter() - began))
"""


@pytest.mark.parametrize(
    ("version", "written"),
    [
        (1, {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": "5000"}),
        (2, {"cpu.max": f"5000 {PERIOD_US}"}),
    ],
)
def test_a_quarter_of_a_core_is_a_quarter_of_each_period(tmp_path: Path, version: int, written: dict[str, str]) -> None:
    if version == 1:  # has a tree for each resource
        (tmp_path / "cpu").mkdir()
    with cpu_quota(0.25, tmp_path) as before:
        group = Path(before[-1]).parent
        assert {file.name: file.read_text() for file in group.iterdir()} == written
        said = subprocess.run([*before, "/bin/echo", "ran"], capture_output=True, text=True, check=True).stdout
        assert said == "ran\n"
        assert (group / "cgroup.procs").read_text().strip().isdecimal()
        for file in group.iterdir():
            file.unlink()  # the kernel's go with their folder
    assert not group.exists()


def test_where_there_are_no_groups_the_reason_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(CpuQuotaError, match=r"no CPU quota can be set here: .*nowhere"),
        cpu_quota(1, tmp_path / "nowhere"),
    ):
        pass


def test_the_kernel_holds_a_process_back() -> None:
    """However busy others are: they only take from the share that it had."""
    try:
        with cpu_quota(0.25) as before:
            command = [*before, sys.executable, "-c", _BUSY]
            done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    except CpuQuotaError as error:
        pytest.skip(str(error))
    assert 0.01 < float(done.stdout) < 0.35
