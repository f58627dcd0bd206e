"""`python -m infra.local.replay`, what `make replay` runs: from nothing to a verified report, leaving no process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from infra.local.stack import PROJECT

SECONDS = 120.0


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "infra.local.replay", "--data", str(folder), "--users", "4", *more]


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes whose command line names the folder: those of the replay's stack."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or [])
    ]


def is_sending(folder: Path) -> bool:
    """Return whether the load generator replays the folder's workload."""
    workload = str(folder / "workload.txt")
    return any(workload in process.info["cmdline"] for process in processes_of(folder))


def test_a_replay_works_first_and_again_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    for _ in range(2):
        ended = subprocess.run(
            command(folder, "--commands", "100"), cwd=PROJECT, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
        )
        assert ended.returncode == 0
        assert json.loads((folder / "report.json").read_text())
        assert processes_of(folder) == []


def test_a_replay_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "replay"
    with subprocess.Popen(
        command(folder, "--commands", "100000"), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while not is_sending(folder):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    _, alive = psutil.wait_procs(processes_of(folder), timeout=SECONDS)
    assert alive == []
