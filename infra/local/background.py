"""A local stack as a child process, for the duration of a block."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.host import guard
from infra.host.ports import free_port
from infra.local.folder import StackFolder
from infra.local.stack import PROJECT
from infra.tokens import trader_token

_STOP_SECONDS = 120.0


class StackFailedError(Exception):
    """The stack did not start, or did not stop properly; its standard error says why."""


@dataclass(frozen=True, slots=True)
class BackgroundStack:
    """A running stack: how to reach it, and its process."""

    process: "subprocess.Popen[str]"
    data: Path
    url: str
    statistics_url: str | None
    mongo_uri: str
    mongo_database: str
    redis_url: str
    quote_source: str
    operator_token: str
    pids: dict[str, int]
    traces_url: str | None = None

    def trader_token(self, user: str) -> str:
        """Return a token for one trader."""
        return trader_token(StackFolder(self.data).secret(), user)

    def stop(self) -> int:
        """Ask the stack to stop and return its exit status; safe to call again."""
        return _stop(self.process)


@contextlib.contextmanager
def running_stack(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None, project: Path = PROJECT
) -> Iterator[BackgroundStack]:
    """Run `infra.local up` with `arguments`, on a free port unless they name one; stop it at the end.

    `environment` is added to ours, for example settings of the app. `project` is the tree whose code runs. Raises
    StackFailedError if it does not become ready, or does not exit with 0 when asked to stop.
    """
    process = _start(data, arguments, environment or {}, project)
    try:
        yield _wait_until_ready(process, data)
    finally:
        status = _stop(process)
    if status not in {0, -signal.SIGKILL}:  # whoever kills it knows
        raise StackFailedError(f"the stack ended with exit status {status}")


def _stop(process: "subprocess.Popen[str]") -> int:
    try:
        process.send_signal(signal.SIGTERM)
        return process.wait(_STOP_SECONDS)
    finally:
        process.kill()  # if it took too long or we were interrupted: its parts die with it
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _start(
    data: Path, arguments: Sequence[str], environment: Mapping[str, str], project: Path
) -> "subprocess.Popen[str]":
    command = guard.guarded(sys.executable, "-m", "infra.local", "up", "--data", str(data), *arguments)
    if "--port" not in arguments:
        command += ["--port", str(free_port())]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=project,
        env={**os.environ, **environment},
        start_new_session=True,  # a Ctrl-C is for us: we stop it
    )


def _wait_until_ready(process: "subprocess.Popen[str]", data: Path) -> BackgroundStack:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            facts: dict[str, Any] = {"quote_source": ""}  # an older tree does not have it
            facts |= json.loads((data / "stack.json").read_text())
            return BackgroundStack(process, data, **facts)
    raise StackFailedError(f"the stack ended with exit status {process.wait(_STOP_SECONDS)} before it was ready")
