"""What a deployed stack costs a month, with the arithmetic: AWS's list prices times what a command takes.

The prices are those of us-east-1 as they were known when this was written: look them up before you rely on them, and
give others with --price. What AWS gives away each month is not taken off. MongoDB, and the Redis of Network=none, are
bought elsewhere: --mongodb and --redis say for how much.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.host.arguments import add_examples, decimal

SECONDS = 30.44 * 24 * 3600
"""Of a month."""

PRICES: Mapping[str, tuple[float, str]] = {
    "api": (3.50, "a million requests of a REST API, the first 333 million"),
    "api-more": (2.80, "a million requests, the next 667 million"),
    "api-most": (2.38, "a million requests beyond 1,000 million"),
    "lambda": (0.20, "a million requests of a function"),
    "gb-second": (0.0000133334, "a GB of a function's memory for a second, on arm64, initialisation included"),
    "log-gb": (0.50, "a GB of log taken in"),
    "out-gb": (0.09, "a GB sent to the internet"),
    "metric": (0.30, "a metric of one's own"),
    "alarm": (0.10, "an alarm"),
    "dashboard": (3.00, "a dashboard; three are free"),
    "secret": (0.40, "a secret"),
    "secret-reads": (5.00, "a million reads of secrets"),
    "trace": (5.00, "a million traces; the first 100,000 are free"),
    "nat-hour": (0.045, "an hour of a NAT gateway"),
    "nat-gb": (0.045, "a GB through a NAT gateway"),
    "cache-hour": (0.0256, "an hour of a node cache.t4g.small with Valkey"),
}
_MILLION, _GB, _BYTES_A_GB = 1e6, 1024, 1e9
CACHE_NODES, ALARMS, SECRETS, SWEEP_METRICS = 2, 12, 2, 11
_HOURS = SECONDS / 3600
_SWEEPS = SECONDS / 60


@dataclass(frozen=True, slots=True)
class Use:
    """What is used: commands a second, and what one takes."""

    rate: float
    memory_mb: float
    command_ms: float
    start_ms: float
    starts_an_hour: float
    log_bytes: float
    answer_bytes: float
    database_bytes: float
    metrics: float
    method_metrics: float
    sweep_ms: float
    traced: float

    @property
    def commands(self) -> float:
        """Return the commands of a month."""
        return self.rate * SECONDS


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: what for, how it is worked out, dollars."""

    what: str
    how: str
    dollars: float


def bill(use: Use, prices: Mapping[str, float], *, vpc: bool, mongodb: float, redis: float) -> Iterator[Line]:
    """Yield the lines of a month's bill."""
    commands = use.commands
    yield Line("API Gateway", f"{commands / _MILLION:,.2f} million requests", _api(commands / _MILLION, prices))
    yield _times("Lambda, requests", (commands + _SWEEPS) / _MILLION, "million", prices["lambda"])
    gb = use.memory_mb / _GB
    yield _times("Lambda, commands", commands * use.command_ms / 1000 * gb, "GB-seconds", prices["gb-second"])
    yield _times("Lambda, sweeps", _SWEEPS * use.sweep_ms / 1000 * gb, "GB-seconds", prices["gb-second"])
    starts = use.starts_an_hour * _HOURS
    yield _times("Lambda, starts", starts * use.start_ms / 1000 * gb, "GB-seconds", prices["gb-second"])
    yield _times("logs", (commands + _SWEEPS) * use.log_bytes / _BYTES_A_GB, "GB", prices["log-gb"])
    yield _times("answers to clients", commands * use.answer_bytes / _BYTES_A_GB, "GB", prices["out-gb"])
    is_used = commands > 0  # a metric of which nothing is told costs nothing
    yield _times("metrics of commands", use.metrics * is_used, "metrics", prices["metric"])
    yield _times("metrics of methods", use.method_metrics * is_used, "metrics", prices["metric"])
    yield _times("metrics of sweeps", SWEEP_METRICS, "metrics", prices["metric"])
    yield _times("alarms", ALARMS, "alarms", prices["alarm"])
    yield _times("dashboard", 1, "dashboard", prices["dashboard"])
    yield _times("secrets", SECRETS + vpc * 2, "secrets", prices["secret"])
    yield _times("reads of secrets", starts * (SECRETS + vpc) / _MILLION, "million", prices["secret-reads"])
    yield _times("X-Ray", use.traced * commands / _MILLION, "million", prices["trace"])
    traffic = commands * use.database_bytes / _BYTES_A_GB
    if vpc:
        yield _times("NAT gateway, two", 2 * _HOURS, "hours", prices["nat-hour"])
        yield _times("through NAT", traffic, "GB", prices["nat-gb"])
        yield _times("ElastiCache, two nodes", CACHE_NODES * _HOURS, "hours", prices["cache-hour"])
    else:
        yield _times("to the database", traffic, "GB", prices["out-gb"])
        yield Line("Redis", "of a provider", redis)
    yield Line("MongoDB", "of a provider", mongodb)


def _times(what: str, amount: float, unit: str, price: float) -> Line:
    return Line(what, f"{amount:,.2f} {unit} at ${price:.10g}", amount * price)


def _api(millions: float, prices: Mapping[str, float]) -> float:
    first, second = min(millions, 333), min(max(millions - 333, 0), 667)
    return first * prices["api"] + second * prices["api-more"] + max(millions - 1000, 0) * prices["api-most"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill; return the exit status."""
    options = _parser().parse_args(arguments)
    unknown = sorted({name for name, _ in options.price} - set(PRICES))
    if unknown:
        print(f"no such price: {', '.join(unknown)}; there are {', '.join(PRICES)}", file=sys.stderr)
        return 2
    prices = {name: price for name, (price, _) in PRICES.items()} | dict(options.price)
    use = Use(**{name: getattr(options, name) for name in Use.__dataclass_fields__})
    lines = list(bill(use, prices, vpc=options.network == "vpc", mongodb=options.mongodb, redis=options.redis))
    print(f"Network={options.network}, {use.rate:g} commands a second, a month:")
    for line in lines:
        print(f"{line.what:<24} {line.how:<46} ${line.dollars:>12,.2f}")
    print(f"{'in all':<24} {'':<46} ${sum(line.dollars for line in lines):>12,.2f}")
    return 0


def _price(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, decimal(0, 1e6, "dollars")(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.cloud.costs", description=__doc__)
    add_examples(parser, "python -m infra.cloud.costs --rate 1", "python -m infra.cloud.costs --rate 100 --network vpc")
    amount = decimal(0, 1e9, "units")
    parser.add_argument("--network", choices=["none", "vpc"], default="none", help="(%(default)s)")
    for name, default, told in (
        ("rate", 1.0, "commands a second"),
        ("memory-mb", 512.0, "of each function"),
        ("command-ms", 20.0, "billed for a command"),
        ("start-ms", 2_000.0, "billed for the start of a container, initialisation included"),
        ("starts-an-hour", 4.0, "containers started"),
        ("log-bytes", 1_200.0, "a command, Lambda's own lines included"),
        ("answer-bytes", 600.0, "an answer, headers included"),
        ("database-bytes", 6_000.0, "a command, to and from MongoDB and Redis"),
        ("metrics", 100.0, "metrics of our own: commands and outcomes that occur"),
        ("method-metrics", 100.0, "metrics of API Gateway by method: 5 for each method that is used"),
        ("sweep-ms", 200.0, "billed for a sweep, one a minute"),
        ("traced", 0.0, "the part of commands that X-Ray samples, 0 to 1"),
        ("mongodb", 60.0, "dollars a month for MongoDB"),
        ("redis", 0.0, "dollars a month for Redis, with Network=none"),
    ):
        parser.add_argument(f"--{name}", type=amount, default=default, metavar="N", help=f"{told} (%(default)g)")
    parser.add_argument(
        "--price", action="append", default=[], type=_price, metavar="NAME=DOLLARS", help=f"one of {', '.join(PRICES)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
