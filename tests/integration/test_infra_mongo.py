"""A replica set of one that keeps data: with its arbiter and without, after a crash, and under other addresses."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from infra.host.ports import free_port
from infra.local import process as parts
from infra.local.process import RunningPart
from infra.local.services.mongo import arbiter_part, mongo_uri, mongod_part

Client = MongoClient[dict[str, Any]]
WRITERS = 6
CONFIRMED = 300


@contextlib.contextmanager
def running_set(folder: Path, *, with_arbiter: bool) -> Iterator[tuple[str, RunningPart]]:
    """Run a set on ports of its own choice; yields its address and its mongod."""
    port, arbiter_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        if with_arbiter:
            arbiter = parts.start(arbiter_part(folder / "arbiter", arbiter_port, os.environ), folder)
            stack.callback(arbiter.kill)
            arbiter.wait_until_ready()
        known = arbiter_port if with_arbiter else None
        part = mongod_part(folder / "data", port, os.environ, cache_gb=0.25, oplog_mb=64, arbiter_port=known)
        mongod = parts.start(part, folder)
        stack.callback(mongod.kill)
        mongod.wait_until_ready()
        yield mongo_uri([port]), mongod
        assert mongod.stop()


@pytest.mark.parametrize("with_arbiter", [False, True])
def test_a_replica_set_that_moved_to_another_port_serves_its_data(tmp_path: Path, with_arbiter: bool) -> None:
    for run in (1, 2):
        with (
            running_set(tmp_path, with_arbiter=with_arbiter) as (uri, _),
            Client(uri, w="majority", journal=True) as client,
        ):
            client.test.runs.insert_one({"_id": run})
            assert client.test.runs.count_documents({}) == run


def test_a_set_that_was_made_without_an_arbiter_gets_one_and_keeps_its_data(tmp_path: Path) -> None:
    with running_set(tmp_path, with_arbiter=False) as (uri, _), Client(uri) as client:
        client.test.runs.insert_one({"_id": 1})
    with running_set(tmp_path, with_arbiter=True) as (uri, _), Client(uri) as client:
        assert client.test.runs.count_documents({}) == 1
        status = client.admin.command("replSetGetStatus")
        # Two votes, so that no write waits for the oplog to have no holes; one member's disk is a majority.
        assert (status["votingMembersCount"], status["writeMajorityCount"]) == (2, 1)


def test_who_says_nothing_about_durability_gets_a_majoritys_with_an_arbiter_too(tmp_path: Path) -> None:
    with running_set(tmp_path, with_arbiter=True) as (uri, _), Client(uri) as client:
        assert client.admin.command("getDefaultRWConcern")["defaultWriteConcern"]["w"] == "majority"


def test_what_was_confirmed_is_there_after_the_member_was_killed(tmp_path: Path) -> None:
    """Writes of several clients at once leave holes in the oplog, behind which a crash cuts off all that follows."""
    confirmed: list[tuple[int, int]] = []
    enough = threading.Event()

    def write(client: Client, writer: int) -> None:
        numbers = client.test.get_collection("numbers", write_concern=client.write_concern)
        with contextlib.suppress(PyMongoError):
            for number in range(1_000_000):
                numbers.insert_one({"_id": {"writer": writer, "number": number}})
                confirmed.append((writer, number))
                if len(confirmed) >= CONFIRMED:
                    enough.set()

    with (
        running_set(tmp_path, with_arbiter=True) as (uri, mongod),
        Client(uri, w="majority", journal=True, retryWrites=False, serverSelectionTimeoutMS=500) as client,
    ):
        threads = [threading.Thread(target=write, args=(client, writer)) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        assert enough.wait(30)
        mongod.kill()
        for thread in threads:
            thread.join()
    with running_set(tmp_path, with_arbiter=True) as (uri, _), Client(uri) as client:
        there = {(found["_id"]["writer"], found["_id"]["number"]) for found in client.test.numbers.find()}
    assert len(confirmed) >= CONFIRMED
    assert set(confirmed) - there == set()
