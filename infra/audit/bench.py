"""Measures the dump of a large journal: `python -m infra.audit bench` (docs/audit.md has a record)."""

import multiprocessing
import os
import platform
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pymongo
from pymongo import MongoClient
from pymongo.database import Database

from chalicelib.audit.dumps import Dumps
from chalicelib.clock import now_ms
from chalicelib.connections import LOG_TIMEOUT_MS, connect_database
from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import decide
from chalicelib.runtime import make_place
from infra.audit.journals import make_journals
from infra.local.part_settings import settings_with

_MEGABYTE = 1_000_000
_LINK_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class MeasuredDump:
    """The cost of a dump. CPU and memory are those of the process that writes the log, without mongod."""

    machine: str
    python: str
    mongodb: str
    users: int
    commands: int
    events: int
    seconds: float
    cpu_seconds: float
    events_per_second: int
    peak_mb_above_idle: float


def bench(mongo_uri: str, database: str, users: int, commands: int, place: str | None) -> MeasuredDump:
    """Generate a journal of so many users and commands, dump it, and return the cost."""
    maker = multiprocessing.get_context("spawn").Process(target=_make, args=(mongo_uri, database, users, commands))
    maker.start()  # in its own process: its memory must not count for the dump
    maker.join()
    if maker.exitcode != 0:
        raise ValueError(f"the journal could not be generated: exit code {maker.exitcode}")
    with tempfile.TemporaryDirectory() as folder:
        return _measure(_connect(mongo_uri, database), users, commands, place or folder)


def _make(mongo_uri: str, database: str, users: int, commands: int) -> None:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        client.drop_database(database)
        make_journals(client[database], users, commands)


def _connect(mongo_uri: str, database: str) -> Database[dict[str, Any]]:
    settings = settings_with(MONGO_URI=mongo_uri, MONGO_DATABASE=database)
    return connect_database(settings, LOG_TIMEOUT_MS)


def _measure(database: Database[dict[str, Any]], users: int, commands: int, place: str) -> MeasuredDump:
    command = Command(CommandName.DUMPLOG, "operator", commands + 1, filename="bench.xml", of_all=True)
    entry = decide(Account("operator"), command, None, now_ms(), 1).entry
    dumps = Dumps(database, make_place(place, _LINK_SECONDS), now_ms)
    version = str(database.client.server_info()["version"])
    idle = psutil.Process().memory_info().rss
    cpu, began = time.process_time(), time.monotonic()
    events = dumps.write(entry, "operator", 1)["events"]
    seconds = time.monotonic() - began
    return MeasuredDump(
        machine=f"{os.cpu_count()} x {platform.machine()}, {platform.system()} {platform.release()}",
        python=f"{platform.python_version()}, pymongo {pymongo.version}",
        mongodb=version,
        users=users,
        commands=commands,
        events=events,
        seconds=round(seconds, 1),
        cpu_seconds=round(time.process_time() - cpu, 1),
        events_per_second=int(events / seconds),
        peak_mb_above_idle=round((peak_bytes() - idle) / _MEGABYTE, 1),
    )


def peak_bytes() -> int:
    """Return the peak memory of this process.

    From /proc on Linux, where `getrusage` never reports less than the parent process had.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024
