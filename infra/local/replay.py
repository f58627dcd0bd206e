"""Generates a workload, starts a stack, replays the workload, verifies every account, and stops the stack."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.host import guard
from infra.host.arguments import add_examples, folder_name, positive
from infra.host.folders import FolderError, make_folder
from infra.local.background import BackgroundStack, StackFailedError, running_stack
from infra.local.folder import DEFAULT_FOLDER
from infra.local.stack import PROJECT

_INTERRUPTED = 130


def replay(options: argparse.Namespace) -> int:
    """Return the load generator's exit status: 0 if everything was answered and every account is correct."""
    folder = make_folder(options.data)
    workload, report, stack_folder = folder / "workload.txt", folder / "report.json", folder / "stack"
    shutil.rmtree(stack_folder, ignore_errors=True)  # every replay starts with empty accounts
    report.unlink(missing_ok=True)
    size = [f"--users={options.users}", f"--commands={options.commands}", f"--symbols={options.symbols}"]
    status = _loadgen("generate", *size, f"--seed={options.seed}", f"--out={workload}")
    if status != 0:
        return status
    with running_stack(
        stack_folder,
        *("--server", options.server),
        *("--workers", str(options.workers)),
        *("--quote-source", options.quote_source),
        *("--trigger-seconds", "0"),
    ) as stack:
        status = _replay(workload, stack, report)
    if report.exists():
        print(f"report: {shlex.quote(str(report))}")
    return status


def _replay(workload: Path, stack: BackgroundStack, report: Path) -> int:
    return _loadgen(
        "replay",
        str(workload),
        f"--url={stack.url}",
        f"--json={report}",
        "--verify",
        token=stack.operator_token,
    )


def _loadgen(*arguments: str, token: str = "") -> int:
    """Run the load generator; it dies with us. The token must not appear in the process list."""
    command = guard.guarded(sys.executable, "-m", "loadgen", *arguments)
    return subprocess.run(command, cwd=PROJECT, env={**os.environ, "LOADGEN_TOKEN": token}, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.replay", description=__doc__)
    add_examples(parser, "python -m infra.local.replay --users 45 --commands 10000")
    parser.add_argument("--users", type=positive, default=45)
    parser.add_argument("--commands", type=positive, default=10_000)
    parser.add_argument("--symbols", type=positive, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--server", choices=["gateway", "chalice"], default="gateway")
    parser.add_argument("--workers", type=positive, default=1)
    parser.add_argument("--quote-source", default="fixed:10.00")
    where = DEFAULT_FOLDER / "replay"
    parser.add_argument("--data", type=folder_name, default=where, help="its stack is recreated (%(default)s)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop in order, as for Ctrl-C
    try:
        return replay(options)
    except (StackFailedError, FolderError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
