"""Migrate the data of an older build, with all servers stopped.

python -m infra.migrate --dry-run                # what is there, and whether it can be migrated; changes nothing
python -m infra.migrate                          # the database that MONGO_URI and MONGO_DATABASE name
python -m infra.migrate --data .data             # that of the local stack in this folder, which must not be running

After an interruption, run it again and it continues; when it is done, it does nothing. Make a backup first: an older
build cannot read migrated data. Exit status 0: the data have this build's version (with --dry-run: they can be
migrated); 1: they do not, and it says why; 2: wrong arguments or settings; 130: interrupted.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from chalicelib.config.settings import DEFAULT_DATABASE, without_credentials
from chalicelib.store.documents import DATA_VERSION, Document
from infra.host.arguments import add_examples, folder_name
from infra.host.binaries import BinaryMissingError
from infra.local.database import NoDatabaseError, running_database
from infra.local.folder import FolderInUseError
from infra.local.process import PartError
from infra.local.supervisor import StopRequestedError
from infra.migrate.migration import MigrationError, MigrationOutcome, look, migrate, servers_of, version_of

_INTERRUPTED = 130
_WAIT_MS = 30_000
_PROGRESS_SECONDS = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _database(options) as database:
            return _run(database, options)
    except (KeyboardInterrupt, StopRequestedError):
        print("interrupted: nothing is lost; run the same command again to continue", file=sys.stderr)
        return _INTERRUPTED
    except (InvalidURI, ConfigurationError, _SettingMissingError) as error:
        print(error, file=sys.stderr)
        return 2
    except PyMongoError as error:
        print(f"the database failed: {error}\nnothing is lost; run the same command again to continue", file=sys.stderr)
    except (MigrationError, NoDatabaseError, FolderInUseError, PartError, BinaryMissingError) as error:
        print(error, file=sys.stderr)
    return 1


class _SettingMissingError(Exception):
    pass


@contextlib.contextmanager
def _database(options: argparse.Namespace) -> Iterator[Database[Document]]:
    with contextlib.ExitStack() as things:
        if options.data is None:
            uri = os.environ.get("MONGO_URI", "")
            if not uri:
                raise _SettingMissingError("set MONGO_URI (and MONGO_DATABASE), or name a local stack with --data")
        else:
            uri = things.enter_context(running_database(options.data))
        client: MongoClient[Document] = things.enter_context(MongoClient(uri, serverSelectionTimeoutMS=_WAIT_MS))
        database = client.get_database(
            os.environ.get("MONGO_DATABASE", DEFAULT_DATABASE) if options.data is None else DEFAULT_DATABASE,
            write_concern=WriteConcern("majority"),
            read_concern=ReadConcern("majority"),
        )
        print(f"{database.name} at {without_credentials(uri)}")
        yield database


def _run(database: Database[Document], options: argparse.Namespace) -> int:
    version = version_of(database)
    if version is not None and version > DATA_VERSION:
        raise MigrationError(
            f"the data have version {version}, this build works on {DATA_VERSION}: use the newer build"
        )
    servers = servers_of(database)
    if servers and not options.dry_run and not options.anyway:
        shown = ", ".join(servers[:8])
        raise MigrationError(
            f"servers are connected, from {shown}: stop them first, or give --anyway if they are not ours"
        )
    outcome = look(database, _Progress())
    if outcome.unknown:
        raise MigrationError(f"nothing was changed: {'; '.join(outcome.unknown)}")
    if options.dry_run:
        print(f"{_told(outcome)}; with --dry-run nothing was changed")
        return 0
    began = time.monotonic()
    outcome = migrate(database, _Progress())
    print(f"{_told(outcome)}; the data have version {DATA_VERSION} now, after {time.monotonic() - began:.1f} s")
    return 0


class _Progress:
    """Prints the progress once a second."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _PROGRESS_SECONDS

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next += _PROGRESS_SECONDS
            print(
                f"  {done:,} accounts of an older form, of some {total:,} accounts in all", file=sys.stderr, flush=True
            )


def _told(outcome: MigrationOutcome) -> str:
    if not outcome.found:
        return "no account of an older version"
    return ", ".join(f"{count:,} accounts of version {form}" for form, count in sorted(outcome.found.items()))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.migrate", description=__doc__)
    add_examples(parser, "python -m infra.migrate --dry-run --data .data")
    parser.add_argument("--dry-run", action="store_true", help="change nothing; say what would be done")
    parser.add_argument(
        "--data", type=folder_name, metavar="DIR", help="the folder of a local stack; its database is started"
    )
    parser.add_argument("--anyway", action="store_true", help="also while servers are connected")
    return parser.parse_args(arguments)
