"""Runs of the load generator as a separate process, as users start it."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.local.stack import PROJECT
from tests.unit.loadgen.stub import StubServer

SECONDS = 30.0

MANY = "\n".join(f"ADD,user{number % 7},1.00" for number in range(70))
"""Lines of a workload: ten for each of seven users."""

Loadgen = "subprocess.Popen[str]"


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "loadgen", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "100"},
    )


def start_replay(stub: StubServer, path: Path, *options: str | Path) -> "subprocess.Popen[str]":
    return start("replay", path, "--url", stub.url, "--token", "t", *options)


def finished(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return exit code, output and errors of a run that ends on its own."""
    try:
        out, errors = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, out, errors


def replayed(stub: StubServer, path: Path, *options: str | Path, code: int = 0) -> str:
    """Replay a file to the end, check the exit code, and return standard error."""
    returned, _, errors = finished(start_replay(stub, path, *options))
    assert returned == code, errors
    return errors


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def undisturbed(measure: Callable[[], None]) -> None:
    """Measure up to three times until a measurement passes.

    Other load on the machine can disturb one measurement of time; a real fault shows in all of them.
    """
    for _ in range(2):
        with suppress(AssertionError):
            return measure()
    return measure()


def numbers_by_user(stub: StubServer) -> dict[str | None, list[int]]:
    """Return each user's transaction numbers in the order of arrival, without retries."""
    numbers: dict[str | None, list[int]] = defaultdict(list)
    for request in stub.commands():
        if request.attempt == 1:
            numbers[request.command.user].append(request.command.transaction)
    return numbers
