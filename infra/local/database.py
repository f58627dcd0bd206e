"""The database of a local stack on its own, for work on its data while nobody trades."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from infra.local.folder import StackFolder
from infra.local.parts import database_parts
from infra.local.stack import StackOptions, plan
from infra.local.supervisor import StopSignals, Supervisor


class NoDatabaseError(Exception):
    """The folder has no data."""


@contextlib.contextmanager
def running_database(data: Path) -> Iterator[str]:
    """Run the replica set members whose data are in a folder, supervised by this process; yields their address.

    Raises NoDatabaseError, FolderInUseError, PartError, BinaryMissingError, and StopRequestedError if a signal comes
    while they start.
    """
    members = [path for path in data.glob("mongod*") if path.is_dir()]
    if not members:
        raise NoDatabaseError(f"{data} is not the folder of a stack that has data")
    folder = StackFolder(data)
    with StopSignals() as signals, folder.locked(signals.pause) as lock:
        stack = plan(StackOptions(replicas=len(members)), folder)
        supervisor = Supervisor(folder.logs, signals, [lock])
        try:
            for part in database_parts(stack):
                supervisor.start(part)
            yield stack.mongo_uri
        finally:
            supervisor.stop()
