"""The counters of commands, of sweeps and of the gateway, in the Prometheus form.

What is counted for each command is kept in plain numbers under one lock, and becomes metrics on request: the library's
counters would take a lock each, eight times per command.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from threading import Lock

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from chalicelib.observe.commands import QuotedFrom, SeenCommand
from chalicelib.sweep.report import Report

_STEPS_A_DECADE = 24
_BUCKETS = tuple(round(0.001 * 10 ** (step / _STEPS_A_DECADE), 6) for step in range(4 * _STEPS_A_DECADE + 1))
"""From 1 ms to 10 s, each 1.1 times the one before: quantiles read from them are accurate to 10 %."""

_DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class _Histogram:
    """How many values were at most each of some bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Add what was counted to a metric."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        family.add_metric(labels, list(zip(names, accumulate(self._counts), strict=True)), self._sum)


class Counters(Collector):
    """Counts commands, and the time they took, of this process; safe to share between threads."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._lock = Lock()  # of those who count; who collects copies what changes size, and may be a command behind
        self._commands: dict[tuple[str, str], int] = defaultdict(int)
        self._seconds: dict[str, _Histogram] = defaultdict(lambda: _Histogram(_BUCKETS))
        self._stages = {"load": 0.0, "quote": 0.0, "save": 0.0}
        self._quotes = dict.fromkeys(QuotedFrom, 0)
        self._reads = 0
        self._lost_races = 0
        self._late = _Histogram(_DELAYS)
        self._groups: dict[str, _Histogram] = defaultdict(lambda: _Histogram(_SIZES))
        registry.register(self)

    def __call__(self, seen: SeenCommand) -> None:
        """Count one command."""
        with self._lock:
            self._commands[seen.command, seen.outcome] += 1
            self._seconds[seen.command].observe(seen.seconds)
            self._stages["load"] += seen.load_seconds
            self._stages["save"] += seen.save_seconds
            if seen.quoted is not None:
                self._stages["quote"] += seen.quote_seconds
                self._quotes[seen.quoted] += 1
            self._reads += seen.kept is False
            self._lost_races += seen.lost_races
            if seen.late_seconds:
                self._late.observe(seen.late_seconds)

    def group_sent(self, operation: str, size: int) -> None:
        """Count one group."""
        with self._lock:
            self._groups[operation].observe(size)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all that was counted."""
        commands = CounterMetricFamily(
            "trading_commands",
            "Commands answered, and requests for one that were refused.",
            labels=["command", "outcome"],
        )
        for labels, count in self._commands.copy().items():
            commands.add_metric(labels, count)
        seconds = HistogramMetricFamily(
            "trading_command_seconds", "From a request to its answer, without the server around it.", labels=["command"]
        )
        for command, histogram in self._seconds.copy().items():
            histogram.add_to(seconds, [command])
        stages = CounterMetricFamily(
            "trading_stage_seconds", "Seconds spent loading accounts, getting quotes and saving.", labels=["stage"]
        )
        for stage, spent in self._stages.items():
            stages.add_metric([stage], spent)
        quotes = CounterMetricFamily(
            "trading_quotes", "Commands that needed a quote, by where it came from.", labels=["source"]
        )
        for source, count in self._quotes.items():
            quotes.add_metric([source], count)
        reads = CounterMetricFamily(
            "trading_account_reads",
            "Commands whose account was not one that the process kept: it was read from the database.",
            self._reads,
        )
        lost_races = CounterMetricFamily(
            "trading_lost_races", "Writes of commands that came second, and were decided again.", self._lost_races
        )
        late = HistogramMetricFamily(
            "trading_arrival_delay_seconds",
            "From the arrival of a request, at the proxy in front where there is one, to its command, from 1 ms on.",
            labels=[],
        )
        self._late.add_to(late, [])
        groups = HistogramMetricFamily(
            "trading_group_size", "Reads and writes of accounts that went out as one message.", labels=["operation"]
        )
        for operation, histogram in self._groups.copy().items():
            histogram.add_to(groups, [operation])
        return commands, seconds, stages, quotes, reads, lost_races, late, groups


class GatewayCounters(Collector):
    """Counts the connections of a gateway, and the time in which its loop stood still."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._idle = self._active = 0
        self._stalls = _Histogram(_DELAYS)
        registry.register(self)

    def connected(self, idle: int, active: int) -> None:
        """Note how many connections there are."""
        self._idle, self._active = idle, active

    def stood_still(self, seconds: float) -> None:
        """Count a time in which the loop stood still."""
        self._stalls.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all that was noted."""
        connections = GaugeMetricFamily(
            "gateway_connections",
            "Open connections: idle ones, and those with a request that was begun.",
            None,
            ["state"],
        )
        connections.add_metric(["idle"], self._idle)
        connections.add_metric(["active"], self._active)
        stalls = HistogramMetricFamily(
            "gateway_loop_stall_seconds",
            "Times in which the loop of a server served nobody else, because one thing took so long.",
            labels=[],
        )
        self._stalls.add_to(stalls, [])
        return connections, stalls


class SweepCounters:
    """Counts this process's sweeps, and what they did."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        sweeps = Counter(
            "trading_sweeps", "Sweeps for due triggers and expired orders.", ["outcome"], registry=registry
        )
        self._sweeps = {outcome: sweeps.labels(outcome) for outcome in ("ok", "failed")}
        self._seconds = Counter("trading_sweep_seconds", "Seconds that sweeps took.", registry=registry)
        left = Counter("trading_sweep_left", "What sweeps left for the next one.", ["reason"], registry=registry)
        self._left = {reason: left.labels(reason) for reason in ("unpriced", "outdated", "failed")}
        self._fired = Counter("trading_sweep_fired", "Triggers that fired.", registry=registry)
        self._expired = Counter("trading_sweep_expired", "Expired orders given back.", registry=registry)
        self._succeeded = Gauge(
            "trading_sweep_last_success_timestamp_seconds",
            "When the last sweep that did not fail ended, since the Unix epoch.",
            registry=registry,
        )

    def __call__(self, report: Report | None) -> None:
        """Count one sweep; None is one that failed."""
        self._sweeps["failed" if report is None else "ok"].inc()
        if report is not None:
            self._seconds.inc(report.seconds)
            self._fired.inc(report.fired)
            self._expired.inc(report.expired)
            self._succeeded.set_to_current_time()
            for reason, counter in self._left.items():
                counter.inc(getattr(report, reason))


class _Server(Collector):
    """Labels the counters with the server's name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def collect(self) -> Iterable[Metric]:
        """Return one metric, with the name as its label."""
        yield InfoMetricFamily("trading_server", "The server that was asked.", {"server": self._name})


def text(registry: CollectorRegistry, server: str, more: Path | None) -> tuple[str, bytes]:
    """Return the content type and the text of a server's counters, and of those that a file has, if it is there."""
    named = CollectorRegistry()
    named.register(_Server(server))
    found = generate_latest(named) + generate_latest(registry)
    with suppress(FileNotFoundError):
        found += b"" if more is None else more.read_bytes()
    return CONTENT_TYPE_LATEST, found
