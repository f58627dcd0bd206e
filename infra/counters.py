"""The counters of commands, in the Prometheus form. Import it only where the folder for them is (`infra.metrics`)."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from chalicelib.observe.commands import Seen

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
        if seen.quote_seconds:
            self._quote.inc(seen.quote_seconds)


def text() -> tuple[str, bytes]:
    """Return the content type and the text of the counters of all processes."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return CONTENT_TYPE_LATEST, generate_latest(registry)
