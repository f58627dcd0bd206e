"""Removes a folder of data, unless a stack runs in it."""

import argparse
import contextlib
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.host.arguments import add_examples
from infra.local.folder import DEFAULT_FOLDER, LOCK, FolderInUseError, held


class NoDataError(Exception):
    """A folder that no stack has created: nothing in it is ours to remove."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds no data of a stack: it is left alone")


def forget(folder: Path) -> bool:
    """Remove the data in a folder; return whether there was any. Raises FolderInUseError and NoDataError.

    In the default folder each kind of run has its own folder, some of them with a stack's folder inside.
    """
    if not folder.exists():
        return False
    locks = sorted(folder.rglob(LOCK))
    if not locks and folder.resolve() != DEFAULT_FOLDER.resolve():
        raise NoDataError(folder)
    with contextlib.ExitStack() as stacks:
        for lock in locks:
            stacks.enter_context(held(lock))
        shutil.rmtree(folder)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.forget", description=__doc__)
    add_examples(parser, "python -m infra.local.forget --data .data")
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")
    folder: Path = parser.parse_args(arguments).data
    try:
        print(f"{'removed' if forget(folder) else 'nothing to remove at'} {shlex.quote(str(folder))}")
    except (FolderInUseError, NoDataError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{folder} cannot be removed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
