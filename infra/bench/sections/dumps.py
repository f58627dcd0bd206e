"""How fast DUMPLOG writes, measured by the audit tools."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.processes import run_program
from infra.bench.sections.base import Plain
from infra.bench.servers import mongod


@dataclass(frozen=True)
class DumpSpeed(Plain):
    """A log of all users' commands."""

    name: str = "dump"
    measures: str = "events a second that a DUMPLOG of all users writes to a folder"
    seconds: float = 10.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Generate journals and dump them."""
        sizes = bench.sizes
        bench.say(f"the log of {sizes.dump_commands:,} commands of {sizes.dump_users:,} users")
        size = [f"--users={sizes.dump_users}", f"--commands={sizes.dump_commands}"]
        with mongod(bench.folder) as (uri, _):
            said = run_program(bench.folder / "dump.log", "infra.audit", "bench", f"--mongo-uri={uri}", *size)
        found = json.loads(said)
        return [
            Measured("events", "events a second", found["events_per_second"], "/s", MORE),
            Measured("memory", "peak memory above idle", found["peak_mb_above_idle"], "MB", LESS),
            Measured("count", "events in the log", found["events"], "events"),
        ]
