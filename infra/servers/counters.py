"""The counters of commands and of sweeps, in the Prometheus form.

Import it only where the folder for them is (`infra.servers.metrics`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from chalicelib.observe.commands import QuotedFrom, Seen
from chalicelib.sweep.report import Report

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """Counts commands, and the time they took, of this process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
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
        # Looking up a child by its labels costs more than counting.
        self._known: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def __call__(self, seen: Seen) -> None:
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


class SweepCounters:
    """Counts sweeps, and what they did, of this process."""

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

    def __call__(self, report: Report | None) -> None:
        """Count one sweep, None for one that failed."""
        self._sweeps["failed" if report is None else "ok"].inc()
        if report is not None:
            self._seconds.inc(report.seconds)
            self._fired.inc(report.fired)
            self._expired.inc(report.expired)
            for reason, counter in self._left.items():
                counter.inc(getattr(report, reason))


class _Server(Collector):
    """Says whose counters these are."""

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
