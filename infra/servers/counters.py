"""Prometheus counters of commands, of sweeps and of the gateway.

Import it only after their folder exists (`infra.servers.metrics`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chalicelib.observe.commands import QuotedFrom, SeenCommand
from chalicelib.sweep.report import Report

_STEPS_A_DECADE = 24
_BUCKETS = tuple(round(0.001 * 10 ** (step / _STEPS_A_DECADE), 6) for step in range(4 * _STEPS_A_DECADE + 1))
"""From 1 ms to 10 s, each 1.1 times the one before: quantiles read from them are accurate to 10 %."""

_DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Counters:
    """Counts this process's commands, and their times."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._commands = Counter(
            "trading_commands",
            "Commands answered, and requests for one that were refused.",
            ["command", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "trading_command_seconds",
            "From a request to its answer, without the server around it.",
            ["command"],
            buckets=_BUCKETS,
            registry=registry,
        )
        stages = Counter(
            "trading_stage_seconds",
            "Seconds spent loading accounts, getting quotes and saving.",
            ["stage"],
            registry=registry,
        )
        self._load, self._quote, self._save = (stages.labels(name) for name in ("load", "quote", "save"))
        quotes = Counter(
            "trading_quotes",
            "Commands that needed a quote, by where it came from.",
            ["source"],
            registry=registry,
        )
        self._quotes = {source: quotes.labels(source) for source in QuotedFrom}
        self._reads = Counter(
            "trading_account_reads",
            "Commands whose account was not one that the process kept: it was read from the database.",
            registry=registry,
        )
        self._lost_races = Counter(
            "trading_lost_races",
            "Writes of commands that came second, and were decided again.",
            registry=registry,
        )
        self._late = Histogram(
            "trading_arrival_delay_seconds",
            "From the arrival of a request, at the proxy in front where there is one, to its command, from 1 ms on.",
            buckets=_DELAYS,
            registry=registry,
        )
        self._groups = Histogram(
            "trading_group_size",
            "Reads and writes of accounts that went out as one message.",
            ["operation"],
            buckets=_SIZES,
            registry=registry,
        )
        # Looking up a child by its labels costs more than counting.
        self._known: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def __call__(self, seen: SeenCommand) -> None:
        """Count one command."""
        found = self._known.get((seen.command, seen.outcome))
        if found is None:
            found = (self._commands.labels(seen.command, seen.outcome), self._seconds.labels(seen.command))
            self._known[seen.command, seen.outcome] = found
        found[0].inc()
        found[1].observe(seen.seconds)
        self._load.inc(seen.load_seconds)
        self._save.inc(seen.save_seconds)
        if seen.quoted is not None:
            self._quote.inc(seen.quote_seconds)
            self._quotes[seen.quoted].inc()
        if seen.kept is False:
            self._reads.inc()
        if seen.lost_races:
            self._lost_races.inc(seen.lost_races)
        if seen.late_seconds:  # most are zero, and an observation costs as much as the rest of a command's counters
            self._late.observe(seen.late_seconds)

    def group_sent(self, operation: str, size: int) -> None:
        """Count one group."""
        self._groups.labels(operation).observe(size)


class GatewayCounters:
    """Counts the connections of the gateway, and the time in which its loop stood still."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        connections = Gauge(
            "gateway_connections",
            "Open connections: idle ones, and those with a request that was begun.",
            ["state"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._connections = {state: connections.labels(state) for state in ("idle", "active")}
        self._stalls = Histogram(
            "gateway_loop_stall_seconds",
            "Times in which the loop of a server served nobody else, because one thing took so long.",
            buckets=_DELAYS,
            registry=registry,
        )

    def connected(self, idle: int, active: int) -> None:
        """Record the number of connections."""
        self._connections["idle"].set(idle)
        self._connections["active"].set(active)

    def stood_still(self, seconds: float) -> None:
        """Record a stall of the loop."""
        self._stalls.observe(seconds)


class SweepCounters:
    """Counts this process's sweeps, and what they did."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
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
            multiprocess_mode="max",
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


def text(folders: Sequence[Path]) -> tuple[str, bytes]:
    """Return the content type and the text of the counters of all processes; the first folder is the server's own."""
    registry = CollectorRegistry()
    registry.register(_Server(folders[0].name))
    for folder in folders:
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return CONTENT_TYPE_LATEST, generate_latest(registry)
