"""Compares runs: ratios of the second side to the first, and how much of each may be noise.

A ratio has an interval of 95 %. With several runs per side it comes from the variance between runs (Student's t, on
logarithms). Within a run it comes from the histogram: a percentile lies between two order statistics; as a run's
latencies depend on each other, half of them count. The wider interval is used. A single run says nothing about the
variance between runs, so with one run per side the interval is at least 10 % either way, and wider for a short run, by
the effect of a hiccup of 50 ms.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from loadgen.results.latencies import Latencies
from loadgen.results.report_files import latency, statistics_of
from loadgen.results.tables import print_whole

DEFAULT_METRICS = ("rate", "p50", "p99")
_PERCENTILES = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
METRICS = ("rate", *_PERCENTILES)
"""The metrics that a ratio can be required of."""

ONE_RUN_NOISE, HICCUP_S = 0.10, 0.05
_DEPENDENCE = 2
_NORMAL_95 = 1.960
_STUDENT_95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""For 1, 2, ... degrees of freedom; the last value is for more."""

_SETTINGS = (
    "workload", "commands", "users_sent", "threads", "processes", "model", "pace", "duration_s", "warm_up_s", "users",
    "from_transaction", "limit", "repeat",
)  # fmt: skip

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of both sides, the median of their runs.

    `ratio` is above 1 if the second side is better, and lies between `low` and `high`; None if it is not known.
    """

    name: str
    first: float | None
    second: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """A metric of one side's runs: its median, and its uncertainty as logarithms below and above."""

    value: float
    below: float
    above: float


def compare(first: Sequence[Report], second: Sequence[Report]) -> list[Metric]:
    """Return the metrics of two sides' runs."""
    sides = first, second
    metrics = [_metric("rate", sides, _rate, more_is_better=True)]
    metrics += [_metric(name, sides, _latency_of(name)) for name in _PERCENTILES]
    for name in ("errors", "retries"):
        metrics.append(Metric(name, *(statistics.median(report[name] for report in side) for side in sides)))
    metrics.append(_metric("load generator CPU, us", sides, _cost))
    commands = set.intersection(*(set(report["by_command"]) for side in sides for report in side))
    for command in sorted(commands):
        metrics += [_metric(f"{command} {name}", sides, _latency_of(name, command)) for name in ("p50", "p99")]
    return metrics


def differences(reports: Sequence[Report]) -> list[str]:
    """Return in words which settings the runs do not share."""
    runs = [report["run"] for report in reports]
    found = []
    for name in _SETTINGS:
        values = list(dict.fromkeys(str(run[name]) for run in runs))
        if len(values) > 1:
            found.append(f"{name} {' and '.join(values)}")
    return found


def too_low(metrics: Sequence[Metric], names: Sequence[str], least: float) -> list[str]:
    """Return in words which ratios are below `least`, beyond the noise; an unknown ratio counts as below."""
    by_name = {metric.name: metric for metric in metrics}
    found = []
    for name in names:
        metric = by_name[name]
        if metric.ratio is None:
            found.append(f"{name}: no ratio, so it cannot be said to be at least {least:g}")
        elif metric.high is not None and metric.high < least:
            found.append(f"{name}: {metric.ratio:.3f} ({metric.low:.3f} to {metric.high:.3f}) is below {least:g}")
    return found


def print_comparison(metrics: Sequence[Metric], names: Sequence[str], notes: Sequence[str], console: Console) -> None:
    """Print the comparison of two sides with these names."""
    table = Table(title="Ratio: how the second side does beside the first; above 1 is better. Latencies in ms")
    table.add_column("figure", no_wrap=True)
    for name in (*names, "ratio", "interval"):
        table.add_column(name, justify="right")
    for metric in metrics:
        style = None
        if metric.low is not None and metric.high is not None:
            style = "green" if metric.low > 1 else "red" if metric.high < 1 else None
        ratio = "-" if metric.ratio is None else f"{metric.ratio:.3f}"
        table.add_row(metric.name, _number(metric.first), _number(metric.second), ratio, _interval(metric), style=style)
    print_whole(console, table)
    console.print("Coloured figures differ by more than the noise.")
    if notes:
        console.print(f"The runs differ: {'; '.join(notes)}.", style="yellow", markup=False, soft_wrap=True)


Figure = Callable[[Report], _Side | None]
"""A metric of one run, with its uncertainty."""


def _metric(
    name: str, sides: tuple[Sequence[Report], Sequence[Report]], figure: Figure, *, more_is_better: bool = False
) -> Metric:
    freedom = len(sides[0]) + len(sides[1]) - 2
    one, other = (_combined([figure(report) for report in side], freedom) for side in sides)
    if one is None or other is None:
        return Metric(name, *(None if side is None else side.value for side in (one, other)))
    above, below = (other, one) if more_is_better else (one, other)
    down, up = math.hypot(above.below, below.above), math.hypot(above.above, below.below)
    if len(sides[0]) == 1 or len(sides[1]) == 1:
        shortest_s = min(report["seconds"] for side in sides for report in side)
        least = ONE_RUN_NOISE + HICCUP_S / max(shortest_s, 1e-3)
        down, up = max(down, least), max(up, least)
    ratio = above.value / below.value
    return Metric(name, one.value, other.value, ratio, ratio * math.exp(-down), ratio * math.exp(min(up, 700.0)))


def _combined(runs: Sequence[_Side | None], freedom: int) -> _Side | None:
    """Return a side's metric from its runs', or None if a run does not have it."""
    found = [run for run in runs if run is not None and run.value > 0]
    if not found or len(found) < len(runs):
        return None
    count = len(found)
    logs = [math.log(run.value) for run in found]
    between = 0.0
    if count > 1:
        quantile = _STUDENT_95[min(freedom, len(_STUDENT_95)) - 1]
        between = quantile * statistics.stdev(logs) / math.sqrt(count)
    below, above = (
        statistics.fmean(part) / math.sqrt(count)
        for part in ([run.below for run in found], [run.above for run in found])
    )
    return _Side(statistics.median(run.value for run in found), max(between, below), max(between, above))


def _rate(report: Report) -> _Side | None:
    """Return the rate: it is as uncertain as the mean latency, and as the time of the last answer."""
    rate, found = report["rate"], _mean(_latencies(report, None))
    if not rate or found is None:
        return None
    last = latency(report).get("p99", 0.0) / 1000 / max(report["seconds"], 1e-9)
    spread = max(found.above, math.log1p(last))
    return _Side(rate, spread, spread)


def _cost(report: Report) -> _Side | None:
    cost = report["cost"]["cpu_us_per_command"]
    return None if cost is None else _Side(cost, 0.0, 0.0)


def _latency_of(name: str, command: str | None = None) -> Figure:
    def figure(report: Report) -> _Side | None:
        latencies = _latencies(report, command)
        if not latencies.count:
            return None
        if name == "mean":
            return _mean(latencies)
        return _percentile(latencies, 100.0 if name == "max" else float(name[1:]))

    return figure


def _latencies(report: Report, command: str | None) -> Latencies:
    """Return the latencies that count: the corrected ones, if there are any."""
    found = statistics_of(report)
    if command is None:
        every, _, corrected = found.every()
        return corrected if corrected.count else every
    one = found.commands[command]
    return one.corrected or one.all_tries()


def _mean(latencies: Latencies) -> _Side | None:
    if not latencies.count:
        return None
    mean = latencies.summary_ms()["mean"]
    if not mean:
        return None
    independent = max(1.0, latencies.count / _DEPENDENCE)
    spread = math.log1p(_NORMAL_95 * latencies.deviation_ms() / mean / math.sqrt(independent))
    return _Side(mean, spread, spread)


def _percentile(latencies: Latencies, percent: float) -> _Side:
    """Return a percentile between order statistics; beyond the last one nothing is known."""
    part, count = percent / 100, latencies.count
    value = latencies.summary_ms()["max"] if percent == 100.0 else latencies.percentile_ms(percent)
    reach = _NORMAL_95 * math.sqrt(max(part * (1 - part), 1 / count) / max(1.0, count / _DEPENDENCE))
    low = latencies.percentile_ms(max(0.0, part - reach) * 100)
    high = latencies.percentile_ms((part + reach) * 100) if part + reach < 1 else math.inf
    return _Side(value, math.log(value / low) if low else math.inf, math.log(high / value) if value else math.inf)


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return "-"
    return f"{metric.low:.2f} to {metric.high:.2f}" if metric.high < 1000 else f"{metric.low:.2f} or more"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
