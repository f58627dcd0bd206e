"""The faults: how each begins, how long it lasts, how it ends. The run waits for recovery."""

import contextlib
import errno
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.faults.cluster import MEMBERS, SERVERS, Cluster, NotWholeError
from infra.local.services.tcp_proxy import ALL, of_server
from infra.local.services.tcp_proxy import SERVERS as FROM_SERVERS
from infra.local.stack import PROJECT, numbered

_BALLAST = "ballast"
_BLOCK_BYTES = 1024 * 1024
_MORE_MB = 8
"""Does not fit the member's files, which may have room for what traders write meanwhile."""

_TRIES, _TRY_SECONDS = 100, 0.2
BUSY, BUSY_AT_ONCE, LOGS_AT_ONCE = "busy", 16, 2
DELAY_MS = 100

CLOCK_STEPS_MS = (3_600_000, 61_000, -600_000)
"""An hour ahead, longer than an order lives, ten minutes behind."""

ROLLING_UPGRADE = "rolling-upgrade"
NO_DESCRIPTORS = "no-descriptors"


@dataclass(frozen=True, slots=True)
class Breakage:
    """A fault in progress: its target, and what ends it."""

    target: str
    end: Callable[[], None]


Begin = Callable[[Cluster, random.Random], Breakage]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. Two kinds with the same `thing` at the same time would leave no majority."""

    name: str
    says: str
    seconds: float
    thing: str
    begin: Begin


def _killed(cluster: Cluster, name: str) -> Breakage:
    cluster.tell("kill", name)
    return Breakage(name, lambda: cluster.tell("restart", name))


def _paused(cluster: Cluster, name: str) -> Breakage:
    cluster.tell("pause", name)
    return Breakage(name, lambda: cluster.tell("resume", name))


def _cut(cluster: Cluster, name: str, strand: str) -> Breakage:
    cluster.cut(name, strand)
    return Breakage(name, lambda: cluster.heal(name))


def _cut_from_one_server(cluster: Cluster, source: random.Random) -> Breakage:
    server = _a_server(source)
    cut = _cut(cluster, cluster.primary(), of_server(server))
    return Breakage(f"{cut.target} from {server}", cut.end)


def _disk_stalled(cluster: Cluster, _: random.Random) -> Breakage:
    name = cluster.primary()
    return Breakage(name, cluster.hold_up_writes(name))


def _a_server(source: random.Random) -> str:
    return source.choice(numbered("gateway", SERVERS))


def _sent_twice(cluster: Cluster, _: random.Random) -> Breakage:
    cluster.proxy.twice = True

    def end() -> None:
        cluster.proxy.twice = False

    return Breakage("every request", end)


def _clock_stepped(cluster: Cluster, source: random.Random) -> Breakage:
    name, step_ms = _a_server(source), source.choice(CLOCK_STEPS_MS)
    cluster.step_clock(name, step_ms)
    return Breakage(f"{name} by {step_ms / 1000:+g} s", lambda: cluster.step_clock(name, 0))


def _late_requests(cluster: Cluster, source: random.Random) -> Breakage:
    name = _a_server(source)
    cluster.tell("pause", name)
    stop = cluster.late.begin()

    def end() -> None:
        stop()
        cluster.tell("resume", name)

    return Breakage(name, end)


def _other_code(cluster: Cluster, source: random.Random) -> Breakage:
    assert cluster.older is not None, "there is an upgrade only from an older version"
    name = _a_server(source)
    cluster.run_code(name, cluster.older.folder)

    def end() -> None:
        cluster.count_older(name)
        cluster.run_code(name, PROJECT)

    return Breakage(f"{name} on {cluster.older.name}", end)


def _all_members_killed(cluster: Cluster, _: random.Random) -> Breakage:
    names = numbered("mongod", MEMBERS)
    for name in names:
        cluster.tell("kill", name)

    def end() -> None:
        for name in names:
            cluster.tell("restart", name)

    return Breakage(", ".join(names), end)


def _members_changed(cluster: Cluster, source: random.Random) -> Breakage:
    gone: list[dict[str, Any]] = []

    def remove(members: list[dict[str, Any]], primary: str) -> None:
        gone[:] = [source.choice([member for member in members if member["host"] != primary])]
        members.remove(gone[0])

    def add(members: list[dict[str, Any]], _primary: str) -> None:
        members.append(gone[0])

    def end() -> None:
        for _ in range(_TRIES):
            with contextlib.suppress(NotWholeError):
                cluster.change_members(add)
                return
            time.sleep(_TRY_SECONDS)
        cluster.change_members(add)

    cluster.change_members(remove)
    return Breakage(gone[0]["host"], end)


def _primary_slow(cluster: Cluster, _: random.Random) -> Breakage:
    name = cluster.primary()
    cluster.delay(name, DELAY_MS)
    return Breakage(name, lambda: cluster.heal(name))


def _no_descriptors(cluster: Cluster, source: random.Random) -> Breakage:
    name = _a_server(source)
    return Breakage(name, cluster.limit_descriptors(name))


def _spoiled(cluster: Cluster, source: random.Random) -> Breakage:
    cluster.spoil_cache(source)
    return Breakage("redis", lambda: cluster.spoil_cache(source))


def _quotes_away(cluster: Cluster, _: random.Random) -> Breakage:
    broken = _killed(cluster, "quote-server")
    cluster.empty_cache()  # or its quotes would outlast the outage
    return broken


def _disk_full(cluster: Cluster, _: random.Random) -> Breakage:
    assert cluster.disk is not None, "the disk can be full only where a small one could be mounted"
    ballast = cluster.disk / _BALLAST
    member, primary = cluster.disk.name, cluster.primary()
    fill(ballast)
    cluster.write_more(primary, _MORE_MB)
    cluster.flush(member)

    def end() -> None:
        cluster.wait_for_end_of(member)  # or it would die later, when there is room again, during other faults
        ballast.unlink()

    return Breakage(member, end)


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)) as file:
        for size in (_BLOCK_BYTES, 4_096):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "primary-killed",
            "the primary is killed (SIGKILL) and comes back",
            6.0,
            "member",
            lambda cluster, _: _killed(cluster, cluster.primary()),
        ),
        Kind(
            "secondary-killed",
            "a secondary is killed (SIGKILL) and comes back",
            5.0,
            "member",
            lambda cluster, source: _killed(cluster, source.choice(cluster.secondaries())),
        ),
        Kind(
            "redis-killed",
            "Redis is killed and comes back empty",
            4.0,
            "redis",
            lambda cluster, _: _killed(cluster, "redis"),
        ),
        Kind("redis-paused", "Redis stands still", 5.0, "redis", lambda cluster, _: _paused(cluster, "redis")),
        Kind(
            "server-killed",
            "a server is killed (SIGKILL) and comes back",
            5.0,
            "server",
            lambda cluster, source: _killed(cluster, _a_server(source)),
        ),
        Kind(
            "server-paused",
            "a server stands still, longer than HAProxy waits for it",
            9.0,
            "server",
            lambda cluster, source: _paused(cluster, _a_server(source)),
        ),
        Kind(
            "quotes-away",
            "the quote server is killed, with no quote in the cache, and comes back",
            5.0,
            "quotes",
            _quotes_away,
        ),
        Kind("disk-full", "the disk of a member is full", 8.0, "member", _disk_full),
        Kind(
            "primary-cut-from-servers",
            "the network between the servers and the primary is cut; the members still see each other",
            6.0,
            "member",
            lambda cluster, _: _cut(cluster, cluster.primary(), FROM_SERVERS),
        ),
        Kind(
            "primary-cut-from-all",
            "the primary is cut off from everybody, and another one is elected",
            8.0,
            "member",
            lambda cluster, _: _cut(cluster, cluster.primary(), ALL),
        ),
        Kind(
            "cut-from-one-server",
            "the network between one server and the primary is cut; the other server sees it, and so do the members",
            9.0,
            "member",
            _cut_from_one_server,
        ),
        Kind("disk-stalled", "the disk of the primary takes nothing, and goes on", 6.0, "member", _disk_stalled),
        Kind(
            "clock-stepped",
            "the clock of a server is set wrong, and right again",
            6.0,
            "server",
            _clock_stepped,
        ),
        Kind(
            "late-request",
            "a server stands still with keyed requests that the other does meanwhile, and their user goes on",
            9.0,
            "server",
            _late_requests,
        ),
        Kind(
            ROLLING_UPGRADE,
            "a server runs an older version of the code, and is upgraded again",
            15.0,
            "server",
            _other_code,
        ),
        Kind(
            "all-members-killed",
            "all members are killed (SIGKILL) at once, and come back",
            4.0,
            "member",
            _all_members_killed,
        ),
        Kind(
            "members-changed",
            "a member is taken out of the set, and put into it again",
            6.0,
            "member",
            _members_changed,
        ),
        Kind("primary-slow", "all that the primary sends or gets is 100 to 200 ms late", 6.0, "member", _primary_slow),
        Kind("redis-spoiled", "all that is in Redis is garbage or of a wrong type, twice", 4.0, "redis", _spoiled),
        Kind(NO_DESCRIPTORS, "a server can open no further file or connection", 6.0, "server", _no_descriptors),
        Kind(
            "busy-user",
            "one user sends requests over and over, 16 at a time",
            6.0,
            "user",
            lambda cluster, _: Breakage(BUSY, cluster.pressure.begin(f"/users/{BUSY}/commit-buy", {}, BUSY_AT_ONCE)),
        ),
        Kind(
            "logs-asked-for",
            "an operator has the log of all users written over and over, two at a time",
            6.0,
            "logs",
            lambda cluster, _: Breakage(
                "DUMPLOG", cluster.pressure.begin("/dumplog", {"filename": "asked"}, LOGS_AT_ONCE)
            ),
        ),
        Kind("sent-twice", "every request is sent twice at the same time", 6.0, "proxy", _sent_twice),
    )
}
