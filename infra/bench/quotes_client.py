"""What a quote costs in a process, as a program: `python -m infra.bench.quotes_client --redis-url URL`.

It prints microseconds per quote as JSON: `warm` for a symbol asked for before, as a command gets it; `redis` for the
same read from Redis; `cold` for symbols that nobody has asked for, from a simulated source, with lock and cache.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence

from chalicelib.circuit_breaker import CircuitBreaker
from chalicelib.clock import moment
from chalicelib.connections import connect_redis
from chalicelib.quotes.cache import QuoteCache
from chalicelib.runtime import cached_in_process, connect_quotes
from infra.host.arguments import add_examples, positive
from infra.local.part_settings import settings_with


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.quotes_client", description=__doc__)
    add_examples(parser, "python -m infra.bench.quotes_client --redis-url redis://127.0.0.1:6379/0")
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--symbols", type=positive, default=2_000, help="asked for cold (%(default)s)")
    parser.add_argument("--reads", type=positive, default=10_000, help="of a warm one (%(default)s)")
    options = parser.parse_args(arguments)
    settings = settings_with(REDIS_URL=options.redis_url, QUOTE_SOURCE="simulated:1")
    redis = connect_redis(settings)
    redis.flushdb()
    quotes = cached_in_process(connect_quotes(redis, settings, lambda _: None), settings)
    cache = QuoteCache(redis, settings.redis_namespace, moment, CircuitBreaker(settings.quote_cache_pause_ms / 1000))
    quotes.get("WARM", "bench")
    symbols = [f"C{number}" for number in range(options.symbols)]
    found = {
        "cold": _microseconds(lambda number: _must(not quotes.get(symbols[number], "bench").cached), len(symbols)),
        "warm": _microseconds(lambda _: _must(quotes.get("WARM", "bench").cached), options.reads),
        "redis": _microseconds(lambda _: _must(cache.read("WARM") is not None), options.reads),
    }
    redis.close()
    print(json.dumps(found))
    return 0


def _microseconds(ask: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    for number in range(count):
        ask(number)
    return (time.perf_counter() - began) * 1e6 / count


def _must(held: bool) -> None:
    if not held:
        raise AssertionError("the quote did not come from where it is measured")


if __name__ == "__main__":
    sys.exit(main())
