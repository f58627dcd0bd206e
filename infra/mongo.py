"""mongod as a replica set on this machine: its command line, its birth as a set, its move to another port."""

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.binaries import find_mongod
from infra.parts import Part
from infra.ports import HOST

REPLICA_SET = "rs0"
DEFAULT_CACHE_GB = 1.0
DEFAULT_OPLOG_MB = 512
_PROBE_MS = 2_000
_NOT_YET_INITIALIZED = 94


def mongo_uri(ports: Sequence[int]) -> str:
    """Return the address of the replica set whose members listen on `ports`."""
    members = ",".join(f"{HOST}:{port}" for port in ports)
    return f"mongodb://{members}/?replicaSet={REPLICA_SET}"


def mongod_part(
    folder: Path,
    port: int,
    environment: Mapping[str, str],
    *,
    cache_gb: float = DEFAULT_CACHE_GB,
    oplog_mb: int = DEFAULT_OPLOG_MB,
    name: str = "mongod",
) -> Part:
    """Return a mongod with its data in `folder`, ready when it is the primary of its one-member replica set.

    `cache_gb` (0.25 or more) bounds its memory, `oplog_mb` its operation log on a first start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(find_mongod()),
        *("--replSet", REPLICA_SET),
        *("--dbpath", str(folder)),
        *("--bind_ip", HOST),
        *("--port", str(port)),
        "--nounixsocket",  # it would be /tmp/mongodb-PORT.sock, a place shared by all stacks
        *("--wiredTigerCacheSizeGB", f"{cache_gb:g}"),
        *("--oplogSize", str(oplog_mb)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),  # a sampler nobody here reads
    ]
    return Part(name, command, environment, partial(why_no_primary, [port]), stop_seconds=30.0)


def why_no_primary(ports: Sequence[int]) -> str | None:
    """Return None when the first of the members is primary, else why not, after doing what it needs to become it.

    A new set is initiated. A set whose members had other addresses when it ran last is told the new ones: they are
    part of its data, and a member that does not find its own address among them refuses to take part.
    """
    if not _listens(ports[0]):
        return f"port {ports[0]} does not answer"
    client: MongoClient[dict[str, Any]] = MongoClient(
        HOST,
        ports[0],
        directConnection=True,
        serverSelectionTimeoutMS=_PROBE_MS,
        connectTimeoutMS=_PROBE_MS,
        socketTimeoutMS=_PROBE_MS * 5,
    )
    try:
        return _advance(client, [f"{HOST}:{port}" for port in ports])
    except PyMongoError as error:
        return str(error)
    finally:
        client.close()


def _advance(client: "MongoClient[dict[str, Any]]", addresses: Sequence[str]) -> str | None:
    hello = client.admin.command("hello")
    if hello.get("isWritablePrimary"):
        return None
    members = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        return "the replica set was initiated just now"
    if [member["host"] for member in config["members"]] != list(addresses):
        moved = config | {"members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", moved, force=True)
        return "the replica set was moved to another address just now"
    return "the replica set has no primary yet"


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=_PROBE_MS / 1000).close()
    except OSError:
        return False
    return True
