"""Inject faults while a workload is replayed, seed by seed.

Exit status 0 if every fault was survived and every check passed, else 1.
"""

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infra.faults.breakages import KINDS
from infra.faults.cluster import release
from infra.faults.report import lines, write
from infra.faults.run import MEMBER_WITH_SMALL_DISK, RunFailedError, RunOptions, run
from infra.host.arguments import add_examples, folder_name, positive
from infra.host.folders import FolderError, make_folder
from infra.local.background import StackFailedError
from infra.local.folder import DEFAULT_FOLDER

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as for Ctrl-C: in order
    kinds = list(KINDS) if options.only is None else options.only
    wanted = RunOptions(
        options.seed, options.commands, options.users, options.symbols, kinds, options.rounds, options.older
    )
    try:
        passed = [
            _run_one(replace(wanted, seed=seed), options.data / f"seed-{seed}")
            for seed in range(options.seed, options.seed + options.runs)
        ]
    except (StackFailedError, RunFailedError, FolderError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    if len(passed) > 1:
        print(f"{sum(passed)} of {len(passed)} runs passed")
    return 0 if all(passed) else 1


def _run_one(options: RunOptions, folder: Path) -> bool:
    release(folder / "stack" / MEMBER_WITH_SMALL_DISK)
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    done = run(options, folder.resolve())
    write(done, folder)
    print("\n".join(lines(done)), flush=True)
    print(f"report: {shlex.quote(str(folder / 'report.html'))}", flush=True)
    if done.passed:
        shutil.rmtree(folder / "stack", ignore_errors=True)  # some 1.5 GB
    return done.passed


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.faults", description=__doc__)
    add_examples(
        parser,
        "python -m infra.faults --seed 1 --runs 10",
        "python -m infra.faults --only primary-killed,sent-twice --commands 2000 --users 40",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the workload and the schedule (%(default)s)")
    parser.add_argument("--runs", type=positive, default=1, help="how many runs, each with the next seed (%(default)s)")
    parser.add_argument("--commands", type=positive, default=20_000, help="(%(default)s)")
    parser.add_argument("--users", type=positive, default=200, help="(%(default)s)")
    parser.add_argument("--symbols", type=positive, default=60, help="(%(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds of simultaneous faults (%(default)s)")
    parser.add_argument("--only", type=_kinds, metavar="KIND,...", help=f"of {', '.join(KINDS)} (all)")
    parser.add_argument(
        "--older",
        metavar="COMMIT",
        help="what a rolling upgrade starts from (the newest tag before this commit, else the last change of the code)",
    )
    parser.add_argument("--data", type=folder_name, default=DEFAULT_FOLDER / "faults", help="(%(default)s)")
    return parser.parse_args(arguments)


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no fault {', '.join(unknown)}")
    return kinds
