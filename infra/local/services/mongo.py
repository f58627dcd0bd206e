"""mongod as a replica set on this machine: its command line, initiation, and moving to other ports.

`electionTimeoutMillis` is how long a set is without a primary after its primary dies: the other members wait that long
for a heartbeat before they elect. MongoDB's default of 10 s suits networks between data centres; on one machine 2 s is
long. With less, a machine that is merely busy would lose its primary again and again.

A primary that is cut off but alive takes longer: the new one first waits for its heartbeats, to catch up on writes that
no majority has, by default for `heartbeatTimeoutSecs`, 10 s. No client here was told that such a write was done, so
`catchUpTimeoutMillis` ends that wait early.

A lone member has an arbiter, which votes and keeps no data. In a set with one vote, before a write is flushed to the
journal it waits until the oplog has no holes before it, which a thread reports at most once a millisecond: half the
time of a small group of writes. In a set with two votes the majority point stays behind every hole, so confirmed writes
are as safe without that wait (decision 35).
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.host.binaries import find_mongod
from infra.host.ports import HOST
from infra.local.process import Part

REPLICA_SET = "rs0"
DEFAULT_CACHE_GB = 1.0
DEFAULT_OPLOG_MB = 512
DEFAULT_ELECTION_MS = 2_000
ARBITER = "arbiter"
_LEAST_CACHE_GB, _LEAST_OPLOG_MB = 0.25, 16
_PROBE_MS = 2_000
_NOT_YET_INITIALIZED = 94
_SIGNS_OF_LIFE = 4
"""Heartbeats within an election time-out: a late one must not cause an election."""

_QUIESCE_MS = 1_000
"""How long a stopping member still answers, so that clients leave it; MongoDB's 15 s are for slow networks."""


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
    arbiter_port: int | None = None,
) -> Part:
    """Return a mongod with its data in `folder`, ready when it is the primary and only data member of a set.

    `cache_gb` (0.25 or more) bounds its memory, `oplog_mb` its oplog on a first start. `arbiter_port` is that of the
    set's arbiter, which must answer by then; None is a set without one.
    """
    command = [
        *_command(folder, port, cache_gb, oplog_mb),
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),  # there is no other member for clients
    ]
    return Part(name, command, environment, partial(why_no_primary, port, arbiter_port), stop_seconds=30.0)


def arbiter_part(folder: Path, port: int, environment: Mapping[str, str]) -> Part:
    """Return an arbiter, ready when it answers; `folder` is for the little that it stores."""
    command = [
        *_command(folder, port, _LEAST_CACHE_GB, _LEAST_OPLOG_MB),
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=1MB)"),  # instead of 300 MB of journal
    ]
    return Part(ARBITER, command, environment, partial(why_no_answer, port), stop_seconds=30.0)


def member_parts(
    folders: Mapping[str, Path],
    ports: Sequence[int],
    addresses: Sequence[int],
    environment: Mapping[str, str],
    *,
    cache_gb: float = DEFAULT_CACHE_GB,
    oplog_mb: int = DEFAULT_OPLOG_MB,
    election_ms: int = DEFAULT_ELECTION_MS,
) -> Iterator[Part]:
    """Yield the members of one replica set, by name and data folder; the last is ready when the set is.

    They listen on `ports`, and know each other, as do clients, by `addresses`, which may be the ports of proxies.
    `election_ms` is for a new set.
    """
    members = zip(folders.items(), ports, strict=True)
    for number, ((name, folder), port) in enumerate(members, 1):
        command = [
            *_command(folder, port, cache_gb, oplog_mb),
            *("--setParameter", f"shutdownTimeoutMillisForSignaledShutdown={_QUIESCE_MS}"),
        ]
        why_not = (
            partial(why_no_set, ports, addresses, election_ms) if number == len(ports) else partial(why_no_answer, port)
        )
        yield Part(
            name,
            command,
            environment,
            why_not,
            stop_seconds=30.0,
            group=REPLICA_SET,
            why_not_back=partial(why_no_member, port),
        )


def _command(folder: Path, port: int, cache_gb: float, oplog_mb: int) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        str(find_mongod().path),
        *("--replSet", REPLICA_SET),
        *("--dbpath", str(folder)),
        *("--bind_ip", HOST),
        *("--port", str(port)),
        "--nounixsocket",  # it would be /tmp/mongodb-PORT.sock, a place shared by all stacks
        *("--wiredTigerCacheSizeGB", f"{cache_gb:g}"),
        *("--oplogSize", str(oplog_mb)),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),  # nobody here reads it
        # Nobody reads old versions of accounts. By default MongoDB keeps those of five minutes, and an account written
        # a hundred times a second is a long chain of them, which every write walks.
        *("--setParameter", "minSnapshotHistoryWindowInSeconds=0"),
    ]


def why_no_primary(port: int, arbiter_port: int | None = None) -> str | None:
    """Return None if the mongod on `port` is primary, else why not, after doing what it needs to become it.

    A new set is initiated. A set whose members had other addresses when it last ran, or that had no arbiter, gets its
    members reconfigured: they are part of its data, and a member that does not find its own address refuses to take
    part. With an arbiter it is told to stand for election: otherwise it would first wait 10 s for a heartbeat from a
    primary.
    """
    hosts = [f"{HOST}:{port}"]
    arbiter = None if arbiter_port is None else f"{HOST}:{arbiter_port}"

    def ask(client: "MongoClient[dict[str, Any]]") -> str | None:
        hello = client.admin.command("hello")
        is_primary = hello.get("isWritablePrimary")
        if is_primary and arbiter is not None:
            _default_to_majority(client)
        if (said := _give_addresses(client, hosts, {}, arbiter)) is not None:
            return said
        if hello.get("secondary") and arbiter is not None:
            client.admin.command("replSetStepUp")
        return None if is_primary else "the replica set has no primary yet"

    return _asked(port, ask)


def why_no_set(ports: Sequence[int], addresses: Sequence[int], election_ms: int) -> str | None:
    """Return None if each member is primary or secondary, else why not, after initiating or moving the set."""
    hosts = [f"{HOST}:{port}" for port in addresses]
    times = {
        "electionTimeoutMillis": election_ms,
        "heartbeatIntervalMillis": max(100, election_ms // _SIGNS_OF_LIFE),
        "catchUpTimeoutMillis": election_ms // 2,
    }
    said = _asked(ports[-1], lambda client: _give_addresses(client, hosts, times))
    if said is not None:
        return said
    states = [role(port) for port in ports]
    if states.count(PRIMARY) == 1 and states.count(SECONDARY) == len(ports) - 1:
        return None
    return f"the members are {', '.join(states)}"


def why_no_member(port: int) -> str | None:
    """Return None if the member on `port` is primary or secondary."""
    state = role(port)
    return None if state in {PRIMARY, SECONDARY} else f"it is {state}"


def why_no_answer(port: int) -> str | None:
    """Return None if the mongod on `port` answers."""

    def ask(client: "MongoClient[dict[str, Any]]") -> None:
        client.admin.command("ping")

    return _asked(port, ask)


PRIMARY, SECONDARY = "primary", "secondary"


def role(port: int) -> str:
    """Return the role of the mongod on `port`: primary, secondary, or something else in a few words."""
    found: list[str] = []

    def ask(client: "MongoClient[dict[str, Any]]") -> None:
        hello = client.admin.command("hello")
        found.append(PRIMARY if hello.get("isWritablePrimary") else SECONDARY if hello.get("secondary") else "neither")

    return _asked(port, ask) or found[0]


def _asked(port: int, ask: "Callable[[MongoClient[dict[str, Any]]], str | None]") -> str | None:
    """Return the result of `ask` on the mongod on `port`, or why it cannot be asked."""
    if not _listens(port):
        return f"port {port} does not answer"
    client: MongoClient[dict[str, Any]] = MongoClient(
        HOST,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=_PROBE_MS,
        connectTimeoutMS=_PROBE_MS,
        socketTimeoutMS=_PROBE_MS * 5,
    )
    try:
        return ask(client)
    except PyMongoError as error:
        return str(error)
    finally:
        client.close()


def _give_addresses(
    client: "MongoClient[dict[str, Any]]", hosts: Sequence[str], times: Mapping[str, int], arbiter: str | None = None
) -> str | None:
    """Initiate the set, or update its members' addresses, if necessary; return a message if so."""
    members: list[dict[str, Any]] = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    if arbiter is not None:
        members.append({"_id": len(members), "host": arbiter, "arbiterOnly": True})
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        settings = {"settings": dict(times)} if times else {}
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members, **settings})
        return "the replica set was initiated just now"
    if len(config["members"]) == len(hosts) < len(members) and not client.admin.command("hello")["isWritablePrimary"]:
        members.pop()  # the arbiter is added later, when the primary has a default write concern
    if [member["host"] for member in config["members"]] != [member["host"] for member in members]:
        moved = config | {"members": members, "version": config["version"] + 1}
        client.admin.command("replSetReconfig", moved, force=True)
        return "the replica set was told its members just now"
    return None


def _default_to_majority(client: "MongoClient[dict[str, Any]]") -> None:
    """Make majority the default write concern: in a set with an arbiter it would be 1."""
    if client.admin.command("getDefaultRWConcern").get("defaultWriteConcernSource") != "global":
        client.admin.command("setDefaultRWConcern", defaultWriteConcern={"w": "majority"})


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=_PROBE_MS / 1000).close()
    except OSError:
        return False
    return True
