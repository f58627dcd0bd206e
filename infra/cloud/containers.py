"""Containers of the deployed functions on this machine, with Lambda's own runtime client."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from infra.cloud.runtime_api import RuntimeApi, runtime_api
from infra.host import guard

ISOLATED = (sys.executable, "-I", "-S", "-B")
"""Python without the packages installed here."""

SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
RUNTIME = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")

_RUNTIME = """
import os, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from awslambdaric.__main__ import main
main(sys.argv[1:])
"""


def put_on_board(folder: Path) -> Path:
    """Add to a folder what Lambda provides: the SDK and its Runtime API client; return the folder."""
    folder.mkdir(exist_ok=True)
    for name in (*SDK, *RUNTIME):
        file = Path(importlib.import_module(name).__file__ or "")
        source = file.parent if file.name == "__init__.py" else file
        (folder / source.name).symlink_to(source)
    return folder


@contextmanager
def contained(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path, **pipes: Any
) -> Iterator[Any]:
    """Run a process that dies with this one, and at the latest with the block."""
    with log.open("ab") as file:
        pipes = {"stdout": file, "stderr": file, **pipes}
        process = subprocess.Popen(guard.guarded(*command), cwd=cwd, env=dict(environment), **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def containers(
    handler: str,
    count: int,
    code: Path,
    on_board: Path,
    environment: Mapping[str, str],
    folder: Path,
    *more: Path,
    before: Sequence[str] = (),
) -> Iterator[RuntimeApi]:
    """Run containers of one function (`app.app`) with Lambda's own runtime client; yields what invokes them.

    `more` are further folders to import from, `before` a prefix of each one's command line.
    """
    with ExitStack() as running:
        api, address = running.enter_context(runtime_api())
        lambdas = {**environment, "AWS_LAMBDA_RUNTIME_API": address, "LAMBDA_TASK_ROOT": str(code)}
        command = [*before, *ISOLATED, "-c", _RUNTIME, os.pathsep.join(map(str, (on_board, code, *more))), handler]
        for number in range(count):
            log = folder / f"{handler.rpartition('.')[2]}-{number}.log"
            running.enter_context(contained(command, code, lambdas, log))
        yield api
