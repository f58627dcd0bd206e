"""The monthly cost of a deployed stack, with the arithmetic: AWS's list prices times the use of each command.

The use is what `make bench` last measured, with the CPU time that comes with the memory; each figure is printed with
its source. The prices are those of us-east-1 in November 2026: look them up before you rely on them, and give others
with --price. AWS's free tiers are not deducted. MongoDB, and the Redis of Network=none, are bought elsewhere: --mongodb
and --redis give their prices. Not included: storage in S3, and the users of a Cognito pool.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.bench.record import Record, RecordError, figure, newest, read
from infra.host.arguments import add_examples, decimal

SECONDS = 30.44 * 24 * 3600
"""Per month."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price and its service, whose pricing page says more."""

    dollars: float
    a: str
    service: str

    @property
    def page(self) -> str:
        """Return the pricing page."""
        return f"https://aws.amazon.com/{self.service}/pricing/"


PRICES: Mapping[str, Price] = {
    "api": Price(3.50, "a million requests of a REST API, the first 333 million", "api-gateway"),
    "api-more": Price(2.80, "a million requests, the next 667 million", "api-gateway"),
    "api-most": Price(2.38, "a million requests beyond 1,000 million", "api-gateway"),
    "lambda": Price(0.20, "a million requests of a function", "lambda"),
    "gb-second": Price(0.0000133334, "a GB of memory for a second, on arm64, initialisation included", "lambda"),
    "log-gb": Price(0.50, "a GB of log taken in", "cloudwatch"),
    "out-gb": Price(0.09, "a GB sent to the internet", "ec2"),
    "metric": Price(0.30, "a metric of one's own", "cloudwatch"),
    "alarm": Price(0.10, "an alarm", "cloudwatch"),
    "dashboard": Price(3.00, "a dashboard; three are free", "cloudwatch"),
    "secret": Price(0.40, "a secret", "secrets-manager"),
    "secret-reads": Price(5.00, "a million reads of secrets", "secrets-manager"),
    "trace": Price(5.00, "a million traces; the first 100,000 are free", "xray"),
    "nat-hour": Price(0.045, "an hour of a NAT gateway", "vpc"),
    "nat-gb": Price(0.045, "a GB through a NAT gateway", "vpc"),
    "address-hour": Price(0.005, "an hour of a public address, which a NAT gateway has", "vpc"),
    "cache-hour": Price(0.0256, "an hour of a node cache.t4g.small with Valkey", "elasticache"),
}
_MILLION, _GB, _BYTES_A_GB = 1e6, 1024, 1e9
CACHE_NODES, ALARMS, SECRETS, SWEEP_METRICS = 2, 12, 2, 11
_HOURS = SECONDS / 3600
_SWEEPS = SECONDS / 60
ROUND_TRIPS = 2
"""Round trips of a command to the database: a read and a write."""

LAMBDA_LOG_BYTES, GATEWAY_HEADER_BYTES = 370, 300
"""What Lambda logs for an invocation (START, END, REPORT), and what API Gateway adds to an answer: not measured."""


@dataclass(frozen=True, slots=True)
class Use:
    """The use: commands per second, and the resources of one command."""

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
        """Return the commands per month."""
        return self.rate * SECONDS


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: the item, the calculation, dollars."""

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
    is_used = commands > 0  # a metric without data points costs nothing
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
        yield _times("their public addresses", 2 * _HOURS, "hours", prices["address-hour"])
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


@dataclass(frozen=True, slots=True)
class Sourced:
    """A figure and its source."""

    value: float
    source: str


class NotMeasuredError(Exception):
    """A figure was neither measured nor given."""


def measured(record: Record, name: str, memory_mb: float, network_ms: float) -> Mapping[str, Sourced]:
    """Return a record's figures of a function with so much memory, by option; raises NotMeasuredError."""

    def of(key: str) -> float:
        found = figure(record, "functions", f"memory.{memory_mb:g}.{key}")
        if found is None:
            raise NotMeasuredError(
                f"{name} has no figures of a function with {memory_mb:g} MB: "
                f"give {', '.join(f'--{option}' for option in _MEASURED)}"
            )
        return float(found["median"])

    said = f"measured, {name}"
    return {
        "command-ms": Sourced(
            of("billed") + ROUND_TRIPS * network_ms,
            f"{of('billed'):.3g} ms {said}, and {ROUND_TRIPS} round trips of {network_ms:g} ms",
        ),
        "start-ms": Sourced(1000 * (of("import") + of("answer")), f"{said}, without a network"),
        "log-bytes": Sourced(of("log") + LAMBDA_LOG_BYTES, f"{of('log'):.0f} {said}, {LAMBDA_LOG_BYTES} assumed"),
        "answer-bytes": Sourced(
            of("body") + GATEWAY_HEADER_BYTES, f"{of('body'):.0f} {said}, {GATEWAY_HEADER_BYTES} assumed"
        ),
        "database-bytes": Sourced(of("wire"), f"{said}, to and from MongoDB, without TLS's own"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the bill and the sources of its figures; return the exit status."""
    options = _parser().parse_args(arguments)
    unknown = sorted({name for name, _ in options.price} - set(PRICES))
    if unknown:
        print(f"no such price: {', '.join(unknown)}; there are {', '.join(PRICES)}", file=sys.stderr)
        return 2
    try:
        figures = _figures(options)
    except (NotMeasuredError, RecordError) as error:
        print(error, file=sys.stderr)
        return 2
    prices = {name: price.dollars for name, price in PRICES.items()} | dict(options.price)
    use = Use(**{name.replace("-", "_"): found.value for name, found in figures.items()})
    lines = list(bill(use, prices, vpc=options.network == "vpc", mongodb=options.mongodb, redis=options.redis))
    print(f"Network={options.network}, {use.rate:g} commands per second, per month:")
    for line in lines:
        print(f"{line.what:<24} {line.how:<46} ${line.dollars:>12,.2f}")
    print(f"{'in all':<24} {'':<46} ${sum(line.dollars for line in lines):>12,.2f}")
    print("\nIts figures:")
    for name, found in figures.items():
        print(f"{name:<24} {found.value:>12,.4g}  {found.source}")
    print("\nIts prices, in dollars:")
    given = dict(options.price)
    for name, price in PRICES.items():
        source = "given" if name in given else price.page
        print(f"{name:<24} {prices[name]:>12.10g}  {price.a}: {source}")
    return 0


def _figures(options: argparse.Namespace) -> Mapping[str, Sourced]:
    """Return the figures by option: those given, then those measured, then those assumed."""
    given = {name: getattr(options, name.replace("-", "_")) for name in (*_ASSUMED, *_MEASURED)}
    if any(given[name] is None for name in _MEASURED):
        path = newest()
        network_ms = _or_assumed("network-ms", given["network-ms"]).value
        memory_mb = _or_assumed("memory-mb", given["memory-mb"]).value
        known = measured(read(path), path.name, memory_mb, network_ms)
    else:
        known = {}
    found = {name: _or_assumed(name, given[name]) for name in _ASSUMED if name != "network-ms"}
    for name in _MEASURED:
        found[name] = known[name] if given[name] is None else Sourced(given[name], "given")
    return found


def _or_assumed(name: str, given: float | None) -> Sourced:
    return Sourced(_ASSUMED[name][0], _ASSUMED[name][2]) if given is None else Sourced(given, "given")


def _price(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, decimal(0, 1e6, "dollars")(value)


_ASSUMED: Mapping[str, tuple[float, str, str]] = {
    "rate": (1.0, "commands a second", "assumed"),
    "memory-mb": (512.0, "of each function", "the parameter MemoryMb as it comes"),
    "network-ms": (1.0, "a round trip between function and database", "assumed, within a region"),
    "starts-an-hour": (4.0, "containers started", "assumed"),
    "metrics": (100.0, "metrics of our own", "assumed: commands and outcomes that occur"),
    "method-metrics": (100.0, "metrics of API Gateway by method", "assumed: 5 for each method that is used"),
    "sweep-ms": (200.0, "billed for a sweep, one a minute", "assumed"),
    "traced": (0.0, "the part of commands that X-Ray samples, 0 to 1", "the parameter Tracing as it comes"),
}
"""Assumptions: the value, its meaning, and why."""

_MEASURED: Mapping[str, str] = {
    "command-ms": "billed for a command",
    "start-ms": "billed for the start of a container, initialisation included",
    "log-bytes": "a command, Lambda's own lines included",
    "answer-bytes": "an answer, headers included",
    "database-bytes": "a command, to and from the database",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.cloud.costs", description=__doc__)
    add_examples(parser, "python -m infra.cloud.costs --rate 1", "python -m infra.cloud.costs --rate 100 --network vpc")
    amount = decimal(0, 1e9, "units")
    parser.add_argument("--network", choices=["none", "vpc"], default="none", help="(%(default)s)")
    for name, (default, told, _) in _ASSUMED.items():
        parser.add_argument(f"--{name}", type=amount, metavar="N", help=f"{told} ({default:g})")
    for name, told in _MEASURED.items():
        parser.add_argument(f"--{name}", type=amount, metavar="N", help=f"{told} (as measured)")
    for name, default, told in (("mongodb", 60.0, "MongoDB"), ("redis", 0.0, "Redis, with Network=none")):
        parser.add_argument(
            f"--{name}", type=amount, default=default, metavar="N", help=f"dollars per month for {told} (%(default)g)"
        )
    parser.add_argument(
        "--price", action="append", default=[], type=_price, metavar="NAME=DOLLARS", help=f"one of {', '.join(PRICES)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
