"""The command line of the quote server.

python -m infra.quote_server --port 4444 --delay recorded --fail 0.05 --seed 1

It prints `ready HOST:PORT` when it is ready. Ask it like the legacy server, with `ABC,jane` and a line end, or send
`STATS` for its counts. SIGTERM and SIGINT stop it; it then prints the counts.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from chalicelib.clock import now_ms
from chalicelib.config.settings import SettingError
from chalicelib.quotes.sources import QuoteSource, make_source
from infra.host.arguments import add_examples
from infra.host.ports import HOST
from infra.quote_server.behaviour import MAX_SKEW_MS, Behaviour, Delay, Failure, parse_delay
from infra.quote_server.server import DEFAULT_CONNECTIONS, QuoteServer

DEFAULT_DELAY = "recorded"
DEFAULT_FAIL_RATE = 0.05
GRACE_SECONDS = 5.0

Number = TypeVar("Number", int, float)


async def serve(server: QuoteServer, host: str, port: int) -> int:
    """Serve until a signal to stop; return the exit status."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        listening = await server.start(host, port)
    except OSError as error:
        print(f"cannot listen on {host}:{port}: {error}", file=sys.stderr)
        return 1
    print(f"ready {host}:{listening.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    listening.close()
    await server.finish(GRACE_SECONDS)
    print(json.dumps(server.statistics()), flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    behaviour = Behaviour(options.delay, options.fail, options.failures, options.skew_ms)
    prices = options.price or make_source(f"simulated:{options.seed}", now_ms)
    source = random.Random(options.seed)  # noqa: S311  # repeatable, no secret

    async def run() -> int:
        return await serve(
            QuoteServer(prices, behaviour, source, now_ms, options.connections), options.host, options.port
        )

    return asyncio.run(run())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.quote_server", description=__doc__)
    add_examples(parser, "python -m infra.quote_server --port 4444 --delay 0.05:0.2 --fail 0.1")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=_between(int, 0, 65_535), default=4444, help="0: any free one (%(default)s)")
    parser.add_argument(
        "--delay",
        type=_delay,
        default=DEFAULT_DELAY,
        help="of answers in seconds: recorded (like the course's server), X, A:B (uniform) or exp:MEAN (%(default)s)",
    )
    parser.add_argument(
        "--fail", type=_between(float, 0.0, 1.0), default=DEFAULT_FAIL_RATE, help="how often, 0 to 1 (%(default)s)"
    )
    parser.add_argument(
        "--failures",
        type=_failures,
        default=tuple(Failure),
        metavar="KIND,...",
        help=f"the ways to fail, equally often, of {', '.join(Failure)} (all)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of delays, failures and prices (%(default)s)")
    parser.add_argument(
        "--price", type=_prices, metavar="SOURCE", help="fixed:PRICE or simulated:SEED (simulated by --seed)"
    )
    parser.add_argument(
        "--skew-ms",
        type=_between(int, -MAX_SKEW_MS, MAX_SKEW_MS),
        default=0,
        help="by how much the server's clock is ahead, below 0 behind (%(default)s)",
    )
    parser.add_argument(
        "--connections",
        type=_between(int, 1, 60_000),
        default=DEFAULT_CONNECTIONS,
        help="connections at a time; further ones are reset (%(default)s)",
    )
    return parser.parse_args(arguments)


def _between(kind: Callable[[str], Number], low: Number, high: Number) -> Callable[[str], Number]:
    def number(text: str) -> Number:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    return number


def _delay(text: str) -> Delay:
    try:
        return parse_delay(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _failures(text: str) -> tuple[Failure, ...]:
    try:
        return tuple(Failure(name) for name in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _prices(text: str) -> QuoteSource:
    try:
        if text.startswith("tcp:"):
            raise argparse.ArgumentTypeError("prices of another server are not passed on")
        return make_source(text, now_ms)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
