"""Two reports side by side, with ratios that say how the second run does beside the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from loadgen.results.report_files import latency

DEFAULT_METRICS = ("rate", "p50", "p99")
_PERCENTILES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
METRICS = ("rate", *_PERCENTILES)
"""What a ratio can be demanded of."""

_SETTINGS = (
    "workload", "commands", "users_sent", "threads", "processes", "model", "pace", "duration_s", "warm_up_s", "users",
    "from_transaction", "limit", "repeat",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both runs. `ratio` is above 1 where the second run is better; None where that cannot be said."""

    name: str
    first: float | None
    second: float | None
    ratio: float | None


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Line]:
    """Return the figures of two reports side by side."""
    lines = [_line("rate", first["rate"], second["rate"], more_is_better=True)]
    lines += [_line(name, latency(first).get(name), latency(second).get(name)) for name in _PERCENTILES]
    lines += [Line(name, first[name], second[name], None) for name in ("errors", "retries")]
    cost = (report["cost"]["cpu_us_per_command"] for report in (first, second))
    lines.append(_line("CPU of the load generator, us a command", *cost))
    for name in sorted(first["by_command"].keys() & second["by_command"].keys()):
        one, other = (latency(report["by_command"][name]) for report in (first, second))
        lines += [_line(f"{name} {figure}", one.get(figure), other.get(figure)) for figure in ("p50", "p99")]
    return lines


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return in words which settings the runs do not share."""
    one, other = first["run"], second["run"]
    return [f"{name} {one[name]} and {other[name]}" for name in _SETTINGS if one[name] != other[name]]


def too_low(lines: Sequence[Line], metrics: Sequence[str], least: float) -> list[str]:
    """Return in words which of the metrics have a ratio below `least`, or none at all."""
    by_name = {line.name: line for line in lines}
    found = [(name, by_name[name].ratio) for name in metrics]
    return [
        f"{name}: {'no ratio' if ratio is None else f'{ratio:.3f}'} is below {least:g}"
        for name, ratio in found
        if ratio is None or ratio < least
    ]


def print_comparison(lines: Sequence[Line], names: Sequence[str], notes: Sequence[str], console: Console) -> None:
    """Print the comparison of two runs with these names."""
    table = Table(title="Ratio: how the second run does beside the first; above 1 is better. Latencies in ms")
    table.add_column("figure", no_wrap=True)
    for name in (*names, "ratio"):
        table.add_column(name, justify="right")
    for line in lines:
        style = None if line.ratio is None or 0.95 <= line.ratio <= 1.05 else "green" if line.ratio > 1 else "red"
        ratio = "-" if line.ratio is None else f"{line.ratio:.3f}"
        table.add_row(line.name, _number(line.first), _number(line.second), ratio, style=style)
    console.print(table)
    if notes:
        console.print(f"The runs are not alike: {'; '.join(notes)}.", style="yellow", markup=False, soft_wrap=True)


def _line(name: str, first: float | None, second: float | None, *, more_is_better: bool = False) -> Line:
    above, below = (second, first) if more_is_better else (first, second)
    return Line(name, first, second, above / below if above is not None and below else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
