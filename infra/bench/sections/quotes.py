"""What a quote costs: cached in the process, in Redis, or asked for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from infra.bench.context import Bench
from infra.bench.figures import LESS, Measured
from infra.bench.processes import run_program
from infra.bench.sections.base import Plain
from infra.bench.servers import redis

_WORDS = {"warm": "warm, as a command gets it", "redis": "read from Redis", "cold": "cold, simulated source"}


@dataclass(frozen=True)
class QuoteCost(Plain):
    """Warm and cold quotes."""

    name: str = "quotes"
    measures: str = "time to get a quote, warm and cold, one thread"
    seconds: float = 5.0

    def run(self, bench: Bench) -> Sequence[Measured]:
        """Ask for quotes."""
        bench.say("quotes, warm and cold")
        size = [f"--symbols={bench.sizes.quote_symbols}", f"--reads={bench.sizes.quote_reads}"]
        with redis(bench.folder) as url:
            said = run_program(bench.folder / "quotes.log", "infra.bench.quotes_client", f"--redis-url={url}", *size)
        found = json.loads(said.splitlines()[-1])
        return [Measured(kind, words, found[kind], "us", LESS) for kind, words in _WORDS.items()]
