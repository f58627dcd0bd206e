"""What a command costs in a function: one request at a time, any container."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from infra.bench.cold_start import start
from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.functions import (
    TOKEN_SECRET,
    ContainerSite,
    Deployed,
    FunctionCost,
    bare_commands,
    by_containers,
    by_driver,
    by_driver_processes,
    deploy,
    in_turns,
)
from infra.bench.sections.base import Plain
from infra.bench.servers import mongod, redis
from infra.bench.tls import cloud
from infra.host.cpu_quota import CpuQuotaError
from loadgen.workload.files import Command
from loadgen.workload.generate import generate

DRIVER, ZLIB = "driver", "zlib"
COMPRESSED = "compressors=zlib"
"""An option of MongoDB addresses: the driver's traffic is compressed."""

CORE_MB = 1_769
"""The memory at which Lambda gives a function one virtual CPU; with less it gives proportionally less."""


@dataclass(frozen=True)
class Functions(Plain):
    """The deployment's code in containers, beside the bare driver's read and write."""

    name: str = "functions"
    measures: str = (
        "a command by containers of the deployed function, one at a time, beside the bare driver; cold starts; both "
        "with the CPU time that comes with some memory"
    )
    seconds: float = 120.0

    def set_up(self, bench: Bench) -> None:
        """Package the app as for a deployment."""
        bench.say("packaging what is deployed")
        deploy(bench.folder / self.name)

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Send the same commands to the bare driver and to containers, each on its own database."""
        commands = _commands(bench, bench.sizes.function_commands)
        warm_up = len(commands) // 10
        deployed, counts = deploy(bench.folder / self.name), bench.sizes.containers
        with mongod(bench.folder) as (uri, _), redis(bench.folder) as redis_url:
            bare = bare_commands(commands, uri)
            bench.say("a read and a write a command by the bare driver")
            with by_driver(bare, uri) as run:
                found = list(_measured(DRIVER, "the bare driver", *in_turns([run], len(bare), warm_up)))
            for count, option in (*((count, "") for count in counts), (max(counts), COMPRESSED)):
                key, said = (f"{count}.{ZLIB}", f", `{option}`") if option else (str(count), "")
                at = f"{uri}&{option}" if option else uri
                one = f"the bare driver in {count} process{'es' * (count > 1)}{said}"
                other = f"{count} container{'s' * (count > 1)}{said}"
                bench.say(f"{one} and {other}, taking turns")
                site = ContainerSite.plain(at, redis_url, bench.folder)
                with (
                    by_driver_processes(count, bare, at) as driver,
                    by_containers(deployed, count, commands, site) as run,
                ):
                    costs = in_turns([driver, run], len(commands), warm_up)
                found += _measured(f"{DRIVER}.{key}", one, costs[0])
                found += _measured(key, other, costs[1])
        with cloud(bench.folder, TOKEN_SECRET) as (uri, servers):
            found += _in_the_cloud(bench, deployed, ContainerSite(servers, uri, bench.folder))
        return found


def _in_the_cloud(bench: Bench, deployed: Deployed, site: ContainerSite) -> Iterator[Measured]:
    """Start containers and send commands with servers as in the cloud: with all CPU time, then with some memory's."""
    bench.say("cold starts")
    words = ("cold start: import, two secrets read", "cold start: first answer, with TLS and login")
    for key, said, seconds in zip(("import", "answer"), words, _starts(bench, deployed, site), strict=True):
        yield Measured(f"cold.{key}", said, seconds, "s", LESS)
    try:
        for memory_mb in bench.sizes.memories_mb:
            bench.say(f"{memory_mb} MB")
            yield from _with_memory(bench, deployed, replace(site, cores=memory_mb / CORE_MB), memory_mb)
    except CpuQuotaError as error:
        bench.say(f"left out: {error}")


def _with_memory(bench: Bench, deployed: Deployed, site: ContainerSite, memory_mb: int) -> Iterator[Measured]:
    commands = _commands(bench, bench.sizes.quota_commands)
    warm_up, most = len(commands) // 10, max(bench.sizes.containers)
    begun, answered = _starts(bench, deployed, site)
    shared, busy = (_by_containers(deployed, count, commands, warm_up, site) for count in (most, 1))
    for key, words, value, unit in (
        ("import", "import", begun, "s"),
        ("answer", "first answer", answered, "s"),
        ("billed", f"a command by {most} containers, as it is billed", shared.billed_ms, "ms"),
        ("p99", f"p99 by {most} containers", shared.p99_ms, "ms"),
        ("busy", "a command by one that is never idle, as it is billed", busy.billed_ms, "ms"),
        ("wire", "to and from MongoDB", shared.wire_bytes, "bytes"),
        ("log", "log", shared.log_bytes, "bytes"),
        ("body", "answer", shared.answer_bytes, "bytes"),
    ):
        yield Measured(f"memory.{memory_mb}.{key}", f"{memory_mb} MB: {words}", value, unit, LESS)


def _by_containers(
    deployed: Deployed, count: int, commands: Sequence[Command], warm_up: int, site: ContainerSite
) -> FunctionCost:
    with by_containers(deployed, count, commands, site) as run:
        (cost,) = in_turns([run], len(commands), warm_up)
    return cost


def _starts(bench: Bench, deployed: Deployed, site: ContainerSite) -> list[float]:
    """Return the seconds of an import and of a first answer: the median of some."""
    environment, starts = deployed.environment(site.folder, site.servers), []
    for _ in range(bench.sizes.cold_starts):
        with site.quota() as before:
            starts.append(start(deployed.code, environment, before))
    return [statistics.median(seconds) for seconds in zip(*starts, strict=True)]


def _commands(bench: Bench, count: int) -> list[Command]:
    sizes = bench.sizes
    return list(generate(sizes.users, count, sizes.symbols, sizes.seed))[:-1]


def _measured(key: str, words: str, cost: FunctionCost) -> Iterator[Measured]:
    yield Measured(f"wall.{key}", f"{words}: a command", cost.wall_ms, "ms", LESS)
    yield Measured(f"cpu.{key}", f"{words}: CPU", cost.cpu_ms, "ms", LESS)
    yield Measured(f"runtime.{key}", f"{words}: CPU of Lambda's runtime client", cost.runtime_ms, "ms", LESS)
    yield Measured(f"reads.{key}", f"{words}: reads", cost.reads, "a command", LESS)
    yield Measured(f"writes.{key}", f"{words}: writes", cost.writes, "a command", LESS)
    yield Measured(f"wire.{key}", f"{words}: to and from MongoDB", cost.wire_bytes, "bytes", LESS)
