"""Reads and guarded writes with the bare driver, which the system is compared with."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import NamedTuple, Protocol

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from chalicelib.connections import connect_database
from chalicelib.store.documents import Document
from chalicelib.store.readers import Block, projection
from chalicelib.store.writers import GuardedWrite
from infra.bench.processes import BenchFailedError
from infra.local.part_settings import settings_with

_WAIT_SECONDS = 60.0


class BareDriver:
    """One document at a time, by `find_one` and `update_one`."""

    def __init__(self, accounts: Collection[Document]) -> None:
        self._accounts = accounts

    def read(self, user: str, block: Block) -> None:
        """Read what a command needs of an account."""
        self._accounts.find_one({"_id": user}, projection([block]))

    def write(self, write: GuardedWrite) -> None:
        """Make a write; raises BenchFailedError if it was not applied."""
        one = write.statement()
        done = self._accounts.update_one(
            one["q"], one["u"], upsert=one.get("upsert", False), array_filters=one.get("arrayFilters")
        )
        if done.modified_count == 0 and done.upserted_id is None:
            raise BenchFailedError(f"a write of {write.user} found another version")

    def close(self) -> None:
        """Do nothing: each write ends in the call that began it."""


class BareCommand(NamedTuple):
    """What a command reads and writes: its block of the filter, its update, the part of the journal that it closes."""

    block: Block
    write: GuardedWrite
    part: RawBSONDocument | None


class Spent(NamedTuple):
    """What a command took its process."""

    seconds: float
    cpu_s: float


class CommandDriver(Protocol):
    """Carries out commands with the bare driver, one at a time."""

    def carry_out(self, command: BareCommand) -> Spent:
        """Return what a command took; raises BenchFailedError when it failed."""


class DriverHere:
    """The bare driver in this process, connected as the app connects."""

    def __init__(self, uri: str, database: str) -> None:
        self._database = connect_database(settings_with(MONGO_URI=uri, MONGO_DATABASE=database))
        self._bare, self._journal = BareDriver(self._database["accounts"]), self._database["journal"]

    def carry_out(self, command: BareCommand) -> Spent:
        """Return what a command took."""
        began, began_cpu = time.perf_counter(), time.process_time()
        self._bare.read(command.write.user, command.block)
        if command.part is not None:
            self._journal.insert_one(command.part)
        self._bare.write(command.write)
        return Spent(time.perf_counter() - began, time.process_time() - began_cpu)

    def close(self) -> None:
        """Close its connections."""
        self._database.client.close()


class DriverProcess:
    """The bare driver in a process that does nothing else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def carry_out(self, command: BareCommand) -> Spent:
        """Return what a command took there; raises BenchFailedError when it failed."""
        self._connection.send(command)
        if not self._connection.poll(_WAIT_SECONDS):
            raise BenchFailedError(f"the bare driver did not answer within {_WAIT_SECONDS:g} s")
        try:
            spent: Spent = self._connection.recv()
        except EOFError as error:
            raise BenchFailedError("a process of the bare driver has ended; its error is above") from error
        return spent


@contextmanager
def driver_process(uri: str, database: str) -> Iterator[DriverProcess]:
    """Run the bare driver in a process that ends with the block, or with this process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, uri, database), daemon=True)
    process.start()
    theirs.close()
    try:
        yield DriverProcess(ours)
    finally:
        ours.close()
        process.join(_WAIT_SECONDS)
        process.kill()


def _serve(connection: Connection, uri: str, database: str) -> None:
    """Carry out what comes until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the process that waits
    with closing(DriverHere(uri, database)) as driver, suppress(EOFError):
        while True:
            connection.send(driver.carry_out(connection.recv()))
