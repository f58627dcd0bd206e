"""The faults, one by one: how each begins, how long it lasts, how it ends. What comes back is awaited by the run."""

import contextlib
import errno
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.faults.cluster import MEMBERS, SERVERS, NotWholeError, Site
from infra.local.services.tcp_proxy import ALL, of_server
from infra.local.services.tcp_proxy import SERVERS as FROM_SERVERS
from infra.local.stack import PROJECT, numbered

_BALLAST = "ballast"
_BLOCK_BYTES = 1024 * 1024
_MORE_MB = 8
"""What has no room in the files of a member: what traders write meanwhile may have."""

_TRIES, _TRY_SECONDS = 100, 0.2
BUSY, BUSY_AT_ONCE, LOGS_AT_ONCE = "busy", 16, 2
DELAY_MS = 100

CLOCK_STEPS_MS = (3_600_000, 61_000, -600_000)
"""An hour ahead, longer than an order lives, ten minutes behind."""

ROLLING_UPGRADE = "rolling-upgrade"
NO_DESCRIPTORS = "no-descriptors"


@dataclass(frozen=True, slots=True)
class Breakage:
    """A fault that has begun: what was hit, and what ends it."""

    target: str
    end: Callable[[], None]


Begin = Callable[[Site, random.Random], Breakage]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. Of two that hit the same `thing` at the same time, no majority would be left."""

    name: str
    says: str
    seconds: float
    thing: str
    begin: Begin


def _killed(site: Site, name: str) -> Breakage:
    site.tell("kill", name)
    return Breakage(name, lambda: site.tell("restart", name))


def _paused(site: Site, name: str) -> Breakage:
    site.tell("pause", name)
    return Breakage(name, lambda: site.tell("resume", name))


def _cut(site: Site, name: str, strand: str) -> Breakage:
    site.cut(name, strand)
    return Breakage(name, lambda: site.heal(name))


def _cut_from_one_server(site: Site, source: random.Random) -> Breakage:
    server = _a_server(source)
    cut = _cut(site, site.primary(), of_server(server))
    return Breakage(f"{cut.target} from {server}", cut.end)


def _disk_stalled(site: Site, _: random.Random) -> Breakage:
    name = site.primary()
    return Breakage(name, site.hold_up_writes(name))


def _a_server(source: random.Random) -> str:
    return source.choice(numbered("gateway", SERVERS))


def _sent_twice(site: Site, _: random.Random) -> Breakage:
    site.front.twice = True

    def end() -> None:
        site.front.twice = False

    return Breakage("every request", end)


def _clock_stepped(site: Site, source: random.Random) -> Breakage:
    name, step_ms = _a_server(source), source.choice(CLOCK_STEPS_MS)
    site.step_clock(name, step_ms)
    return Breakage(f"{name} by {step_ms / 1000:+g} s", lambda: site.step_clock(name, 0))


def _late_requests(site: Site, source: random.Random) -> Breakage:
    name = _a_server(source)
    site.tell("pause", name)
    stop = site.late.begin()

    def end() -> None:
        stop()
        site.tell("resume", name)

    return Breakage(name, end)


def _other_code(site: Site, source: random.Random) -> Breakage:
    assert site.older is not None, "there is an upgrade only from an older version"
    name = _a_server(source)
    site.run_code(name, site.older.folder)

    def end() -> None:
        site.count_older(name)
        site.run_code(name, PROJECT)

    return Breakage(f"{name} on {site.older.name}", end)


def _all_members_killed(site: Site, _: random.Random) -> Breakage:
    names = numbered("mongod", MEMBERS)
    for name in names:
        site.tell("kill", name)

    def end() -> None:
        for name in names:
            site.tell("restart", name)

    return Breakage(", ".join(names), end)


def _members_changed(site: Site, source: random.Random) -> Breakage:
    gone: list[dict[str, Any]] = []

    def remove(members: list[dict[str, Any]], primary: str) -> None:
        gone[:] = [source.choice([member for member in members if member["host"] != primary])]
        members.remove(gone[0])

    def add(members: list[dict[str, Any]], _primary: str) -> None:
        members.append(gone[0])

    def end() -> None:
        for _ in range(_TRIES):
            with contextlib.suppress(NotWholeError):
                site.change_members(add)
                return
            time.sleep(_TRY_SECONDS)
        site.change_members(add)

    site.change_members(remove)
    return Breakage(gone[0]["host"], end)


def _primary_slow(site: Site, _: random.Random) -> Breakage:
    name = site.primary()
    site.delay(name, DELAY_MS)
    return Breakage(name, lambda: site.heal(name))


def _no_descriptors(site: Site, source: random.Random) -> Breakage:
    name = _a_server(source)
    return Breakage(name, site.limit_descriptors(name))


def _spoiled(site: Site, source: random.Random) -> Breakage:
    site.spoil_cache(source)
    return Breakage("redis", lambda: site.spoil_cache(source))


def _quotes_away(site: Site, _: random.Random) -> Breakage:
    broken = _killed(site, "quote-server")
    site.empty_cache()  # or the quotes in it would outlast the outage
    return broken


def _disk_full(site: Site, _: random.Random) -> Breakage:
    assert site.disk is not None, "the disk can be full only where a small one could be mounted"
    ballast = site.disk / _BALLAST
    member, primary = site.disk.name, site.primary()
    fill(ballast)
    site.write_more(primary, _MORE_MB)
    site.flush(member)

    def end() -> None:
        site.wait_for_end_of(member)  # or it would come when there is room again, and other faults
        ballast.unlink()

    return Breakage(member, end)


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
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
            lambda site, _: _killed(site, site.primary()),
        ),
        Kind(
            "secondary-killed",
            "a secondary is killed (SIGKILL) and comes back",
            5.0,
            "member",
            lambda site, source: _killed(site, source.choice(site.secondaries())),
        ),
        Kind(
            "redis-killed", "Redis is killed and comes back empty", 4.0, "redis", lambda site, _: _killed(site, "redis")
        ),
        Kind("redis-paused", "Redis stands still", 5.0, "redis", lambda site, _: _paused(site, "redis")),
        Kind(
            "server-killed",
            "a server is killed (SIGKILL) and comes back",
            5.0,
            "server",
            lambda site, source: _killed(site, _a_server(source)),
        ),
        Kind(
            "server-paused",
            "a server stands still, longer than HAProxy waits for it",
            9.0,
            "server",
            lambda site, source: _paused(site, _a_server(source)),
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
            lambda site, _: _cut(site, site.primary(), FROM_SERVERS),
        ),
        Kind(
            "primary-cut-from-all",
            "the primary is cut off from everybody, and another one is elected",
            8.0,
            "member",
            lambda site, _: _cut(site, site.primary(), ALL),
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
            lambda site, _: Breakage(BUSY, site.pressure.begin(f"/users/{BUSY}/commit-buy", {}, BUSY_AT_ONCE)),
        ),
        Kind(
            "logs-asked-for",
            "an operator has the log of all users written over and over, two at a time",
            6.0,
            "logs",
            lambda site, _: Breakage("DUMPLOG", site.pressure.begin("/dumplog", {"filename": "asked"}, LOGS_AT_ONCE)),
        ),
        Kind("sent-twice", "every request is sent twice at the same time", 6.0, "front", _sent_twice),
    )
}
