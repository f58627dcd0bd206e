"""What a command costs where it is a function's: one request at a time, any container."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.functions import FunctionCost, by_containers, by_driver, deploy
from infra.bench.sections.base import Plain
from infra.bench.servers import mongod, redis
from infra.bench.tls import encrypted_mongod
from infra.cloud.cold import start
from loadgen.workload.generate import generate

DRIVER = "driver"
COMPRESSED = "compressors=zlib"
"""Of an address of MongoDB: what the driver sends and gets is compressed."""


@dataclass(frozen=True)
class Functions(Plain):
    """The deployment's code in containers, beside the bare driver's read and write."""

    name: str = "functions"
    measures: str = (
        "a command by containers of the deployed function, one at a time, beside the bare driver; cold starts"
    )
    seconds: float = 60.0

    def set_up(self, bench: Bench) -> None:
        """Package the app as it is deployed."""
        bench.say("packaging what is deployed")
        deploy(bench.folder / self.name)

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Give the same commands to the bare driver and to containers, on a database of their own each."""
        sizes = bench.sizes
        commands = list(generate(sizes.users, sizes.function_commands, sizes.symbols, sizes.seed))[:-1]
        warm_up = len(commands) // 10
        deployed = deploy(bench.folder / self.name)
        with mongod(bench.folder) as (uri, _), redis(bench.folder) as redis_url:
            bench.say("a read and a write a command by the bare driver")
            found = list(_measured(DRIVER, "the bare driver", by_driver(commands, warm_up, uri)))
            for count in sizes.containers:
                words = f"{count} container{'s' * (count > 1)}"
                bench.say(words)
                cost = by_containers(deployed, count, commands, warm_up, uri, redis_url, bench.folder)
                found += _measured(str(count), words, cost)
            bench.say(f"{words}, compressed")
            cost = by_containers(deployed, count, commands, warm_up, f"{uri}&{COMPRESSED}", redis_url, bench.folder)
            found += _measured(f"{count}.zlib", f"{words}, `{COMPRESSED}`", cost)
        with encrypted_mongod(bench.folder) as uri, redis(bench.folder) as redis_url:
            bench.say("cold starts")
            environment = deployed.environment(uri, redis_url, bench.folder)
            starts = [start(deployed.code, environment) for _ in range(sizes.cold_starts)]
        for key, words, seconds in zip(
            ("import", "answer"), ("import", "first answer, with TLS and login"), zip(*starts, strict=True), strict=True
        ):
            found.append(Measured(f"cold.{key}", f"cold start: {words}", statistics.median(seconds), "s", LESS))
        return found


def _measured(key: str, words: str, cost: FunctionCost) -> Iterator[Measured]:
    yield Measured(f"wall.{key}", f"{words}: a command", cost.wall_ms, "ms", LESS)
    yield Measured(f"cpu.{key}", f"{words}: CPU", cost.cpu_ms, "ms", LESS)
    yield Measured(f"runtime.{key}", f"{words}: CPU of Lambda's runtime client", cost.runtime_ms, "ms", LESS)
    yield Measured(f"reads.{key}", f"{words}: reads", cost.reads, "a command", LESS)
    yield Measured(f"writes.{key}", f"{words}: writes", cost.writes, "a command", LESS)
    yield Measured(f"wire.{key}", f"{words}: to and from MongoDB", cost.wire_bytes, "bytes", LESS)
