"""A replica set whose member comes back under another address."""

import os
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from infra import parts
from infra.mongo import mongo_uri, mongod_part
from infra.ports import free_port


def test_a_replica_set_that_moved_to_another_port_serves_its_data(tmp_path: Path) -> None:
    for run in (1, 2):
        port = free_port()
        part = mongod_part(tmp_path / "data", port, os.environ, cache_gb=0.25, oplog_mb=64)
        mongod = parts.start(part, tmp_path)
        try:
            mongod.wait_until_ready()
            with MongoClient[dict[str, Any]](mongo_uri([port]), w="majority", journal=True) as client:
                client.test.runs.insert_one({"_id": run})
                assert client.test.runs.count_documents({}) == run
            assert mongod.stop()
        finally:
            mongod.kill()
