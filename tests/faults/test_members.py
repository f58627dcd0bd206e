"""Three members of a replica set: born, moved to other ports, one away."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from chalicelib.http.problems import UNKNOWN
from infra.faults.breakages import fill
from infra.faults.cluster import small_disk
from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.process import RunningPart
from infra.local.services.mongo import PRIMARY, SECONDARY, member_parts, mongo_uri, role
from tests.faults.test_pressure import site_on
from tests.integration.api import running_api

SECONDS = 60.0
NAMES = ("mongod-1", "mongod-2", "mongod-3")


@contextmanager
def members(folder: Path, ports: list[int], *options: str) -> Iterator[list[RunningPart]]:
    """Run a set whose members listen on these ports, with further options of mongod."""
    folders = {name: folder / name for name in NAMES}
    with ExitStack() as running:
        started = []
        for part in member_parts(folders, ports, ports, os.environ, cache_gb=0.25, oplog_mb=64, election_ms=1_500):
            process = parts.start(replace(part, command=(*part.command, *options)), folder)
            running.callback(process.kill)
            process.wait_until_ready()
            started.append(process)
        yield started


def test_a_set_of_three_is_born_moves_to_other_ports_and_is_a_set_again(tmp_path: Path) -> None:
    """The members' addresses are part of their data."""
    for run in (1, 2):
        ports = [free_port() for _ in NAMES]
        with members(tmp_path, ports) as started:
            assert sorted(role(port) for port in ports) == [PRIMARY, SECONDARY, SECONDARY]
            with MongoClient[dict[str, Any]](mongo_uri(ports), w="majority", journal=True) as client:
                client.test.runs.insert_one({"_id": run})
                assert client.test.runs.count_documents({}) == run
                settings = client.admin.command("replSetGetConfig")["config"]["settings"]
            assert settings["electionTimeoutMillis"] == 1_500
            assert settings["catchUpTimeoutMillis"] == 750
            for part in started:
                part.ask_to_stop()
            assert all(part.stop() for part in started)


def test_a_command_without_a_majority_is_answered_that_it_may_have_been_done(tmp_path: Path, redis_url: str) -> None:
    """It may: the primary has the write, and a majority gets it as soon as its members go on."""
    ports = [free_port() for _ in NAMES]
    short = {"MONGO_TIMEOUT_MS": "1000", "COMMAND_TIMEOUT_MS": "3000"}
    with (
        members(tmp_path, ports) as started,
        running_api(mongo_uri(ports), "majority", redis_url, tmp_path, **short) as api,
    ):
        assert api.post("/users/jane/add", {"amount": "1.00"}).status == 200
        secondaries = [part for part, port in zip(started, ports, strict=True) if role(port) == SECONDARY]
        for part in secondaries:
            os.kill(part.pid, signal.SIGSTOP)
        try:
            reply = api.post("/users/jane/add", {"amount": "1.00"})
        finally:
            for part in secondaries:
                os.kill(part.pid, signal.SIGCONT)
        assert (reply.status, reply.code) == (503, "store_unavailable")
        assert reply.body["detail"].endswith(f"; {UNKNOWN}")
        end = time.monotonic() + SECONDS
        while (account := api.get("/users/jane/account")).status != 200:
            assert account.body["detail"].endswith("; nothing is changed by reading, send it again")
            assert time.monotonic() < end
        assert account.body["cash"] in {"1.00", "2.00"}


def test_a_member_whose_writes_are_held_up_is_read_stays_primary_and_writes_when_it_goes_on(tmp_path: Path) -> None:
    ports = [free_port() for _ in NAMES]
    with (
        members(tmp_path, ports),
        MongoClient[dict[str, Any]](mongo_uri(ports), w="majority", journal=True) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        runs = client.test.runs
        runs.insert_one({"_id": 1})
        cluster = site_on(tmp_path, dict(zip(NAMES, ports, strict=True)))
        name = cluster.primary()
        end = cluster.hold_up_writes(name)
        write = threads.submit(runs.insert_one, {"_id": 2})
        with pytest.raises(TimeoutError):
            write.result(1.0)
        assert runs.count_documents({}) == 1
        assert cluster.primary() == name
        end()
        write.result(SECONDS)
        assert runs.count_documents({}) == 2
        end()  # harmless when nothing is held up


def test_a_member_whose_disk_is_full_ends_itself_when_it_has_something_to_write(tmp_path: Path) -> None:
    ports = [free_port() for _ in NAMES]
    with small_disk(tmp_path / NAMES[-1]) as disk:
        if disk is None:
            pytest.skip("no small file system can be mounted here")
        with members(tmp_path, ports) as started:
            cluster = site_on(tmp_path, dict(zip(NAMES, ports, strict=True)))
            fill(disk / "ballast")
            cluster.write_more(cluster.primary(), megabytes=8)
            cluster.flush(NAMES[-1])
            deadline = time.monotonic() + SECONDS
            while not started[-1].has_ended():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert [part.has_ended() for part in started] == [False, False, True]
