"""The floor: what MongoDB and its bare driver achieve with the same writes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.processes import Sampler, failure, program
from infra.bench.sections.base import Plain
from infra.bench.servers import mongod

_WORDS = {"single": "one update a command", "grouped": "updates grouped"}


@dataclass(frozen=True)
class Floor(Plain):
    """The workload's writes with the bare driver, one by one and grouped."""

    name: str = "floor"
    measures: str = "the same guarded, journaled updates by the bare driver, as many at a time as users"
    seconds: float = 14.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Make the workload's writes in both ways."""
        sizes = bench.sizes
        bench.say("the writes of the workload by the bare driver")
        log = bench.folder / "driver.log"
        arguments = [f"--users={sizes.users}", f"--commands={sizes.commands}"]
        arguments += [f"--symbols={sizes.symbols}", f"--seed={sizes.seed}"]
        with (
            mongod(bench.folder) as (uri, pid),
            program(log, "infra.bench.driver", f"--mongo-uri={uri}", *arguments) as driver,
        ):
            sampler = Sampler({"mongod": pid})
            with sampler.running():
                status = driver.wait()
            if status != 0:
                raise failure("the bare driver failed", log.read_text(errors="replace"))
        return list(_measured(json.loads(log.read_text().splitlines()[-1]), sampler))


def _measured(found: dict[str, Any], sampler: Sampler) -> Iterator[Measured]:
    for kind, words in _WORDS.items():
        one = found[kind]
        start_s, writes = one["began_s"], one["writes"]
        server_s = sampler.cpu_seconds(start_s, start_s + one["seconds"])["mongod"]
        yield Measured(f"rate.{kind}", f"{words}: rate", writes / one["seconds"], "/s", MORE)
        yield Measured(f"p50.{kind}", f"{words}: p50 of a write", one["p50_ms"], "ms", LESS)
        yield Measured(f"driver.{kind}", f"{words}: CPU of the driver", one["cpu_s"] * 1e6 / writes, "us", LESS)
        yield Measured(f"mongod.{kind}", f"{words}: CPU of mongod", server_s * 1e6 / writes, "us", LESS)
    yield Measured("bytes", "size of an update", found["single"]["bytes"], "bytes")
