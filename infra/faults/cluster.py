"""The running system, and what can be done to it."""

import contextlib
import json
import os
import random
import re
import resource
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from chalicelib.clock import set_offset
from infra.faults.archiving import Archiving
from infra.faults.late_requests import LateRequests
from infra.faults.older_version import OlderCode
from infra.faults.pressure import Pressure
from infra.faults.proxy import PacedProxy
from infra.host.ports import HOST
from infra.local import control
from infra.local.background import BackgroundStack
from infra.local.parts import clock_file, link_code
from infra.local.services import haproxy
from infra.local.services import tcp_proxy as network
from infra.local.services.mongo import PRIMARY, SECONDARY, role
from infra.local.stack import NETWORK_SOCKET, numbered
from infra.local.supervisor import State

SERVERS = 2
MEMBERS = 3
DISK_MB = 640
"""The size of the file system with a member's data, so that it can be filled."""

WHOLE_SECONDS = 90.0
_END_SECONDS = 30.0
_WRITE_MS = 5_000
_POLL_SECONDS = 0.2
_TROUBLED_MS = 2_000
_COMMANDS = re.compile(r"^trading_commands_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)


class NotWholeError(Exception):
    """The system did not recover."""


class Cluster:
    """One stack of two servers and three members, behind the proxy.

    `late` sends commands of its own, `disk` is the folder that can be filled, `older` another version of the code;
    `older_commands` counts what servers with that version answered.
    """

    def __init__(
        self, stack: BackgroundStack, proxy: PacedProxy, late: LateRequests, disk: Path | None, older: OlderCode | None
    ) -> None:
        self.stack = stack
        self.proxy = proxy
        self.late = late
        self.disk = disk
        self.older = older
        self.older_commands = 0
        self.archiving = Archiving(stack)
        self.pressure = Pressure(stack.url, stack.operator_token)
        self._ports: dict[str, int] = json.loads((stack.data / "ports.json").read_text())

    def tell(self, what: str, name: str) -> None:
        """Stop, kill, pause, resume or restart a part."""
        control.ask(self.stack.data, what, name)

    def pid(self, name: str) -> int:
        """Return the current process of a part; raises NotWholeError if it has none."""
        found = next(part.pid for part in control.ask(self.stack.data, "status") if part.name == name)
        if found is None:
            raise NotWholeError(f"{name} has no process")
        return found

    def members(self) -> dict[str, str]:
        """Return the role of each member of the replica set that answers."""
        return {name: role(self._ports[name]) for name in numbered("mongod", MEMBERS)}

    def primary(self) -> str:
        """Return the name of the primary; raises NotWholeError if there is none."""
        for name, found in self.members().items():
            if found == PRIMARY:
                return name
        raise NotWholeError("there is no primary")

    def secondaries(self) -> list[str]:
        """Return the names of the secondaries."""
        return [name for name, found in self.members().items() if found == SECONDARY]

    def cut(self, member: str, strand: str) -> None:
        """Cut a member off from all, or from some servers."""
        network.cut(self.stack.data / NETWORK_SOCKET, self._ports[member], strand)

    def hold_up_writes(self, member: str) -> Callable[[], None]:
        """Block writes to a member's disk (`fsyncLock`); return what ends it. Raises NotWholeError."""
        try:
            self._of_member(member, "fsync", lock=True)
        except PyMongoError as error:
            raise NotWholeError(f"{member} does not hold up its writes: {error}") from error

        def end() -> None:
            with contextlib.suppress(PyMongoError):  # a member that was restarted meanwhile blocks nothing
                self._of_member(member, "fsyncUnlock")

        return end

    def _of_member(self, member: str, command: str, **arguments: Any) -> None:
        with MongoClient[dict[str, Any]](
            HOST, self._ports[member], directConnection=True, serverSelectionTimeoutMS=_TROUBLED_MS
        ) as client:
            client.admin.command(command, 1, **arguments)

    def heal(self, member: str) -> None:
        """End a member's cut and delay."""
        network.heal(self.stack.data / NETWORK_SOCKET, self._ports[member])

    def delay(self, member: str, milliseconds: int) -> None:
        """Delay all data to and from a member."""
        network.delay(self.stack.data / NETWORK_SOCKET, self._ports[member], milliseconds)

    def change_members(self, change: Callable[[list[dict[str, Any]], str], None]) -> None:
        """Reconfigure the set by a change of its members, given the primary's address; raises NotWholeError."""
        try:
            with MongoClient[dict[str, Any]](
                HOST, self._ports[self.primary()], directConnection=True, serverSelectionTimeoutMS=_TROUBLED_MS
            ) as client:
                config = client.admin.command("replSetGetConfig")["config"]
                change(config["members"], client.admin.command("hello")["me"])
                config["version"] += 1
                client.admin.command("replSetReconfig", config)
        except PyMongoError as error:
            raise NotWholeError(f"the set does not take other members: {error}") from error

    def limit_descriptors(self, server: str) -> Callable[[], None]:
        """Let a server's processes open no further file descriptors; return what ends it.

        Raises NotWholeError while the server does not run.
        """
        limits: list[tuple[psutil.Process, tuple[int, int]]] = []

        def end() -> None:
            for process, limit in limits:
                with contextlib.suppress(ProcessLookupError):
                    if process.is_running():
                        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limit)

        try:
            parent = psutil.Process(self.pid(server))
            for process in [parent, *parent.children(recursive=True)]:
                limits.append((process, resource.prlimit(process.pid, resource.RLIMIT_NOFILE)))
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.num_fds(), limits[-1][1][1]))
        except (psutil.Error, ProcessLookupError) as error:
            end()
            raise NotWholeError(f"{server} does not run: {error}") from error
        return end

    def spoil_cache(self, source: random.Random) -> None:
        """Replace everything in Redis with garbage of any type, and locks with ones that never expire."""
        with (
            contextlib.suppress(RedisError),
            Redis.from_url(self.stack.redis_url, socket_timeout=_TROUBLED_MS / 1000) as cache,
        ):
            keys = list(cache.scan_iter(count=1_000))
            for key in [*keys, *(key + b":lock" for key in keys if b":quote:" in key)]:
                cache.delete(key)
                match source.randrange(3):
                    case 0:
                        cache.set(key, source.randbytes(64))
                    case 1:
                        cache.rpush(key, "a list")
                    case _:
                        cache.hset(key, "a", "hash")

    def step_clock(self, server: str, offset_ms: int) -> None:
        """Set the clock of a server off by that much."""
        set_offset(clock_file(self.stack.data, server), offset_ms)

    def run_code(self, server: str, code: Path) -> None:
        """Stop a server in order and restart it with the code in a folder."""
        link_code(self.stack.data, server, code)
        self.tell("restart", server)

    def count_older(self, server: str) -> None:
        """Add the commands a server has answered since its start; if it does not answer, none."""
        headers = {"Authorization": f"Bearer {self.stack.operator_token}"}
        request = urllib.request.Request(f"http://{HOST}:{self._ports[server]}/metrics", headers=headers)
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(request, timeout=_TROUBLED_MS / 1000) as answer,  # noqa: S310
        ):
            counts = _COMMANDS.findall(answer.read().decode())
            self.older_commands += round(sum(map(float, counts)))

    def empty_cache(self) -> None:
        """Empty Redis, unless it does not answer."""
        with (
            contextlib.suppress(RedisError),
            Redis.from_url(self.stack.redis_url, socket_timeout=_TROUBLED_MS / 1000) as cache,
        ):
            cache.flushall()

    def flush(self, member: str) -> None:
        """Make a member write its data files now, unless it ends itself over it."""
        with contextlib.suppress(PyMongoError):
            self._of_member(member, "fsync")

    def write_more(self, primary: str, megabytes: int) -> None:
        """Write incompressible data to all members, unless one ends itself over it."""
        some = [{"bytes": os.urandom(1024 * 1024)} for _ in range(megabytes)]
        with (
            contextlib.suppress(PyMongoError),
            MongoClient[dict[str, Any]](
                HOST, self._ports[primary], directConnection=True, timeoutMS=_WRITE_MS, w=MEMBERS
            ) as client,
        ):
            client.faults.more.insert_many(some)

    def wait_for_end_of(self, name: str) -> None:
        """Return when a part has ended on its own; raises ControlError if it does not."""
        control.wait_for(self.stack.data, name, State.DEAD, _END_SECONDS)

    def why_not_whole(self) -> str | None:
        """Return None if every part works, else what does not."""
        for part in control.ask(self.stack.data, "status"):
            if part.state is not State.RUNNING:
                return f"{part.name} is {part.state}: {part.detail}"
        roles = sorted(self.members().values())
        if roles != [PRIMARY, *[SECONDARY] * (MEMBERS - 1)]:
            return f"the members are {', '.join(roles)}"
        for name, server in haproxy.seen(self.stack.data).items():
            if not server.state.startswith("UP"):
                return f"HAProxy finds {name} {server.state}"
        return None

    def wait_until_whole(self) -> None:
        """Return when every part works; dead parts are restarted. Raises NotWholeError."""
        deadline = time.monotonic() + WHOLE_SECONDS
        while (reason := self.why_not_whole()) is not None:
            if time.monotonic() > deadline:
                raise NotWholeError(reason)
            for part in control.ask(self.stack.data, "status"):
                if part.state in {State.DEAD, State.STOPPED}:
                    self.tell("restart", part.name)
                elif part.state is State.PAUSED:
                    self.tell("resume", part.name)
            time.sleep(_POLL_SECONDS)

    def wait_for_answers(self, count: int, still_running: Callable[[], bool]) -> None:
        """Return when the system has given that many further final answers, or no more are to come."""
        until = self.proxy.answered + count
        deadline = time.monotonic() + WHOLE_SECONDS
        while self.proxy.answered < until and still_running():
            if time.monotonic() > deadline:
                raise NotWholeError(f"{until - self.proxy.answered} answers are missing of {count}")
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small file system at a folder; yields None if that is not permitted."""
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and _runs("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "tmpfs", folder)
    try:
        yield folder if mounted else None
    finally:
        if mounted and not _runs("umount", folder):
            _runs("umount", "--lazy", folder)


def release(folder: Path) -> None:
    """Unmount what a killed run has left at a folder."""
    if folder.is_mount():
        _runs("umount", "--lazy", folder)


def _runs(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False
