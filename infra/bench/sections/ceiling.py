"""The framework's ceiling: routes that do nothing, behind the same gateway, and the bare HTTP server."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, MORE, Measured
from infra.bench.replays import LOADGEN, replay_at, write_workload
from infra.bench.sections.base import Plain
from infra.bench.servers import server
from loadgen.workload.generate import generate

_KINDS = {
    "framework": ("a route that does nothing", "infra.bench.noop_app:app"),
    "http": ("the gateway without a framework", "infra.bench.noop_app:bare"),
}


@dataclass(frozen=True)
class Ceiling(Plain):
    """The workload sent to servers that do nothing with it."""

    name: str = "ceiling"
    measures: str = "the same requests to a route that does nothing: the limit of framework and load generator"
    seconds: float = 9.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Send the workload to each of the servers."""
        sizes = bench.sizes
        workload = bench.folder / "ceiling.txt"
        write_workload(workload, generate(sizes.users, sizes.commands, sizes.symbols, sizes.seed))
        found = []
        for kind, (words, app) in _KINDS.items():
            bench.say(words)
            with server(bench.folder, "infra.servers.gateway", ("--app", app), {}) as (port, pid):
                url = f"http://127.0.0.1:{port}"
                replayed = replay_at(url, "t" * 200, {"server": pid}, bench.folder, workload)
            found += [
                Measured(f"rate.{kind}", f"{words}: rate", replayed.rate, "/s", MORE),
                Measured(f"p50.{kind}", f"{words}: p50", replayed.latency_ms["p50"], "ms", LESS),
                Measured(f"cpu.{kind}", f"{words}: CPU of the server", replayed.cpu_us["server"], "us", LESS),
                Measured(f"loadgen.{kind}", f"{words}: load generator", replayed.cpu_us[LOADGEN], "us", LESS),
            ]
        return found
