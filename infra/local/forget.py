"""Removes what a stack has made in its folder, unless it runs. Other files stay."""

import argparse
import contextlib
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.host.arguments import add_examples, folder_name
from infra.local.folder import DEFAULT_FOLDER, LOCK, FolderInUseError, held
from infra.local.stack import PROJECT

_MARKS = ("secret", "ports.json", LOCK)
"""Every start writes these before there are data. They are removed last: what is interrupted can be done again."""

_MADE = (
    *("mongod", "mongod-[1-5]", "arbiter", "redis/*.rdb", "dumps/all", "dumps/users", "dumps/archive"),
    "dumps/unfinished",
    *("logs/*.log", "logs/*.log.1", "traces/spans*.jsonl", "clocks/*", "code/*"),
    *("control.sock", "haproxy.sock", "network.sock", "haproxy.cfg", "sweeps.prom", "stack.json"),
    *("stack.json.*.new", "ports.json.*.new", "secret.*.new", *_MARKS),
)
"""What a stack makes. Its folder may be a user's as well, who may have other files also in `logs` or `code`."""

_RUNS = (
    *("replay/stack", "replay/workload.txt", "replay/report.json", "faults/seed-*", "bench/run-*", "bench/*.json"),
    *("cloud/deployment.zip", "cloud/sam.json"),
)
"""What other tools make in the default folder, and themselves replace."""


class NoDataError(Exception):
    """A folder that no stack has created: nothing in it is ours to remove."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds no data of a stack ({', '.join(_MARKS)}): it is left alone")


def forget(folder: Path) -> list[str] | None:
    """Remove what is ours in a folder; return the names that stay, None if nothing was ours.

    Raises FolderInUseError, and NoDataError for a folder that is neither a stack's nor the checkout's own.
    """
    folder = folder.resolve()
    is_default = folder == (PROJECT / DEFAULT_FOLDER).resolve()
    is_stack = all((folder / mark).is_file() for mark in _MARKS)
    if folder.exists() and not is_default and not is_stack:
        raise NoDataError(folder)
    patterns = (*(_RUNS if is_default else ()), *(_MADE if is_stack else ()))
    ours = list(_found(folder, patterns))
    if not ours:
        return None
    with contextlib.ExitStack() as stacks:
        for lock in (lock for path in ours for lock in (path, *path.rglob(LOCK))):
            if lock.name == LOCK and lock.is_file():
                stacks.enter_context(held(lock))
        for path in ours:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for inner in {pattern.partition("/")[0] for pattern in patterns if "/" in pattern}:
        with contextlib.suppress(OSError):  # it has other files, or is a link
            (folder / inner).rmdir()
    left = sorted(path.name for path in folder.iterdir())
    if not left:
        folder.rmdir()
    return left


def _found(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        for path in folder.glob(pattern):
            # What a link leads to is not ours; of `code` only the links are, and of `clocks` only files.
            wanted = {"code/*": path.is_symlink(), "clocks/*": path.is_file()}.get(pattern, True)
            if wanted and not path.parent.is_symlink():
                yield path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.forget", description=__doc__)
    add_examples(parser, "python -m infra.local.forget --data .data")
    parser.add_argument("--data", type=folder_name, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")
    folder: Path = parser.parse_args(arguments).data
    try:
        left = forget(folder)
    except (FolderInUseError, NoDataError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{folder} cannot be removed: {error}", file=sys.stderr)
        return 1
    done = "nothing to remove at" if left is None else "removed the data in" if left else "removed"
    print(f"{done} {shlex.quote(str(folder))}")
    if left:
        print(f"left, because no stack has made them: {', '.join(left)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
