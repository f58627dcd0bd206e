"""A report as one self-contained HTML page: it loads nothing, runs no script, and prints well."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadgen.results import charts
from loadgen.results.charts import Range, Series, number
from loadgen.results.latencies import Latencies
from loadgen.results.lateness import CAUSES
from loadgen.results.report_files import latency, statistics_of
from loadgen.results.statistics import Statistics
from loadgen.results.timeline import Interval, Timeline

_STYLE = Path(__file__).with_name("page.css")

_POINTS = 240
"""The most intervals in a chart: neighbours are merged, exactly."""

_CHARTED = 8
"""With fewer intervals there are no charts over time: a table shows everything."""

_CURVE = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99)
_CURVE_SHOWN = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_TIMED = (("p50", "s1"), ("p90", "s2"), ("p99", "s3"), ("max", "s4"))
_COLUMNS = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
_SHOWN_DIFFERENCES = 50

Report = Mapping[str, Any]
Rows = Sequence[tuple[str, str]]


def page(report: Report) -> str:
    """Return the page of a report."""
    here = PackageLoader("loadgen", "results")
    environment = Environment(loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("page.html.j2").render(_context(report)) + "\n"


def _context(report: Report) -> dict[str, Any]:
    """Return the template's variables."""
    run, statistics = report["run"], statistics_of(report)
    timeline = statistics.timeline.joined(_POINTS)
    intervals = [interval for _, interval in timeline.rows()]
    every = "second" if timeline.seconds == 1 else f"{timeline.seconds} seconds"
    charted = len(intervals) >= _CHARTED
    return {
        "style": "".join(style.read_text(encoding="utf-8") for style in (charts.STYLE, _STYLE)),
        "title": run["title"] or f"Replay of {Path(run['workload']).name}",
        "subtitle": _subtitle(report),
        "labels": list(run["labels"].items()),
        "verdict": verdict(report),
        "tiles": _tiles(report),
        "gates": report.get("gates", ()),
        "verification": _verification(report),
        "schedule": _schedule(report),
        "which": _which(report),
        "over_time": _over_time(report, timeline, intervals, every) if charted else None,
        "troubles": _troubles(report, timeline, intervals, every) if charted else None,
        "seconds": _seconds(report, timeline),
        "latencies": _latencies(report, statistics),
        "outcomes": _outcomes(report),
        "errors": _errors(report),
        "traces": _traces(report),
        "about": _about(report),
    }


def verdict(report: Report) -> tuple[str, str]:
    """Return a verdict on the run (`good`, `warning`, `bad`), and its text."""
    found = "good", "Every command was answered"
    if report["schedule"] is not None and not report["schedule"]["held"]:
        found = "warning", "The rate was not held"
    if report["errors"]:
        found = "bad", f"{report['errors']:,} of {report['commands']:,} commands got no final answer"
    if report["interrupted"]:
        found = "warning", "Interrupted: the figures cover what was done"
    if report["stopped"] is not None:
        found = "bad", f"Ended early: {report['stopped']}"
    if any(gate["failed"] for gate in report.get("gates", ())):
        found = "bad", "A gate failed"
    verification = report.get("verification")
    if verification is not None:
        if not verification["passed"]:
            found = "bad", "Verification failed: answers, accounts or log differ from the model"
        elif found[0] == "good":
            found = "good", "Every command was answered and verified"
    return found


def _subtitle(report: Report) -> str:
    run = report["run"]
    when = datetime.fromtimestamp(run["started_at_ms"] / 1000, UTC)
    model = "as fast as answers came" if run["model"] == "closed" else f"on schedule, {run['pace']}"
    system = f" (version {run['system_version']})" if run["system_version"] else ""
    sent = report["commands"] + report["warm_up_commands"]
    counted = f"{sent:,}" if sent == run["commands"] else f"{sent:,} of {run['commands']:,}"
    return (
        f"{counted} commands of {run['users_sent']:,} users to {run['url']}{system}, {model}, "
        f"on {when:%Y-%m-%d at %H:%M:%S} UTC."
    )


def _tiles(report: Report) -> Iterator[tuple[str, str, str, bool]]:
    """Yield name, value, description, and whether it is alarming."""
    counted, schedule = latency(report), report["schedule"]
    rate = f"{report['rate']:,.0f}" if report["rate"] >= 100 else number(report["rate"])
    yield "commands", f"{report['commands']:,}", f"in {number(report['seconds'])} s", False
    asked = "answered" if schedule is None else f"of {number(schedule['asked_rate'])} asked"
    yield "commands/s", rate, asked, schedule is not None and not schedule["held"]
    for name in ("p50", "p99", "p99.9"):
        yield name, _ms(counted.get(name)), "ms", False
    yield "errors", f"{report['errors']:,}", "no final answer", bool(report["errors"])
    yield "retries", f"{report['retries']:,}", "tries that failed", False


def _schedule(report: Report) -> dict[str, Any] | None:
    schedule = report["schedule"]
    if schedule is None:
        return None
    late, total = schedule["late_ms"], sum(schedule["late_s_by_cause"].values())
    held = "The rate was held" if schedule["held"] else "The rate was not held"
    causes = [
        (cause, f"{100 * part / total:.0f} %", CAUSES[cause])
        for cause, part in sorted(schedule["late_s_by_cause"].items(), key=lambda pair: -pair[1])
        if total and part / total >= 0.005
    ]
    return {
        "words": f"{held}: {number(schedule['sent_rate'])} of {number(schedule['asked_rate'])} commands/s were sent, "
        f"{schedule['missed']:,} of {schedule['planned']:,} not in time.",
        "late": ("ms", *(_ms(late.get(name)) for name in ("p50", "p90", "p99", "max"))),
        "causes": causes,
    }


def _over_time(report: Report, timeline: Timeline, intervals: Sequence[Interval], every: str) -> dict[str, Any]:
    lengths = _lengths(len(intervals), timeline.seconds, report["seconds"])
    rates = [Series("answered", "s1", [one.commands / long for one, long in zip(intervals, lengths, strict=True)])]
    is_open = report["schedule"] is not None
    if is_open:
        rates.append(Series("asked", "s3", [one.due / long for one, long in zip(intervals, lengths, strict=True)]))
    found = [interval.latency_ms() for interval in intervals]
    latencies = [Series(name, style, [row[name] for row in found]) for name, style in _TIMED]
    values = [value for series in latencies for value in series.values if value is not None]
    top = charts.linear(max(value or 0.0 for series in rates for value in series.values))
    late = [Series("late", "s4", [interval.late_us / 1000 for interval in intervals])]
    latest = max(interval.late_us for interval in intervals) / 1000
    return {
        "every": every,
        "rate": charts.over_time(rates, timeline.seconds, top, "commands/s").on_page(),
        "rate_legend": charts.legend([(one.name, one.style) for one in rates]) if is_open else "",
        "latency": charts.over_time(latencies, timeline.seconds, charts.fitting(values), "ms").on_page(),
        "latency_legend": charts.legend(_TIMED),
        "late": charts.over_time(late, timeline.seconds, charts.linear(latest), "ms").on_page() if is_open else None,
    }


def _lengths(count: int, seconds: float, total_s: float) -> list[float]:
    """Return how long each interval was: the last one ends with the run."""
    last = total_s - (count - 1) * seconds
    return [*[seconds] * (count - 1), min(seconds, max(last, 0.05))]


def _troubles(report: Report, timeline: Timeline, intervals: Sequence[Interval], every: str) -> dict[str, Any] | None:
    if not report["errors"] and not report["retries"]:
        return None
    series = [
        Series("errors", "s5", [interval.errors for interval in intervals]),
        Series("retries", "s6", [interval.retries for interval in intervals]),
    ]
    most = max(interval.errors + interval.retries for interval in intervals)
    return {
        "every": every,
        "legend": charts.legend((("errors", "s5"), ("retries", "s6"))),
        "chart": charts.over_time(series, timeline.seconds, charts.linear(most), "", bars=True).on_page(),
    }


def _seconds(report: Report, timeline: Timeline) -> dict[str, Any] | None:
    """Return the table of intervals."""
    is_open = report["schedule"] is not None
    heads = [
        "from",
        "commands",
        *(["due", "late ms"] if is_open else []),
        "errors",
        "retries",
        "p50",
        "p90",
        "p99",
        "max",
    ]
    rows = []
    for start, interval in timeline.rows():
        found = interval.latency_ms()
        plan = [f"{interval.due:,}", _ms(interval.late_us / 1000)] if is_open else []
        counts = [f"{interval.commands:,}", *plan, f"{interval.errors:,}", f"{interval.retries:,}"]
        rows.append([charts.clock(start), *counts, *(_ms(found[name]) for name, _ in _TIMED)])
    return {"heads": heads, "rows": rows} if rows else None


def _which(report: Report) -> str:
    if report["corrected_ms"] is not None:
        return "corrected: from when a command was due"
    return "from a command's first send to its final answer, including retries"


def _latencies(report: Report, statistics: Statistics) -> dict[str, Any] | None:
    if not report["latency_ms"]["count"]:
        return None
    every, first, corrected = statistics.every()
    curves = [("from the first send, including retries", "s1", every)]
    if corrected.count:
        curves = [
            ("corrected: from when it was due", "s4", corrected),
            ("uncorrected: from the first send", "s1", every),
        ]
    elif first.count and report["retries"]:
        curves.append(("answered at the first try", "s2", first))
    ranges, rows = [], []
    for name, command in [*report["by_command"].items(), ("all", report)]:
        counted = latency(command)
        if counted["count"] and name != "all":
            said = f"{name}: " + ", ".join(f"{figure} {_ms(counted[figure])} ms" for figure, _ in _TIMED)
            ranges.append(Range(name, [counted[figure] for figure, _ in _TIMED], said))
        rows.append([name, f"{command['commands']:,}", *(_ms(counted.get(column)) for column in _COLUMNS)])
    return {
        "legend": charts.legend(_TIMED),
        "ranges": charts.ranges(ranges, "ms").on_page(),
        "heads": ("command", "commands", *_COLUMNS),
        "rows": rows,
        "curve_legend": charts.legend([(name, style) for name, style, _ in curves]),
        "curves": charts.by_percentile([(name, style, _curve(found)) for name, style, found in curves], "ms").on_page(),
        "curve_heads": ("within ms", *(f"{percent:g} %" for percent in _CURVE_SHOWN)),
        "curve_rows": [
            [name, *(_ms(found.percentile_ms(percent)) for percent in _CURVE_SHOWN)] for name, _, found in curves
        ],
        "meaning": _meaning(report),
    }


def _curve(latencies: Latencies) -> list[tuple[float, float]]:
    return [(percent, latencies.percentile_ms(percent)) for percent in _CURVE]


def _meaning(report: Report) -> str:
    if report["corrected_ms"] is None:
        return (
            "Closed model: a user's next command waits for the previous one. While a server stalls it is sent fewer "
            "commands, and the percentiles do not count those that would have been sent: this is uncorrected latency."
        )
    return (
        "Open model: commands are sent on schedule. Corrected latency runs from when a command was due, so a stall "
        "counts for every command that had to wait; uncorrected latency runs from when it was actually sent."
    )


def _outcomes(report: Report) -> dict[str, Any]:
    total = max(1, report["commands"])
    return {
        "note": "How commands ended. Those in red got no final answer and count as errors.",
        "rows": [
            (outcome, f"{count:,}", f"{100 * count / total:.2f}", _outcome_style(report, outcome))
            for outcome, count in report["outcomes"].items()
        ],
    }


def _outcome_style(report: Report, outcome: str) -> str:
    if outcome in report["examples"]:
        return "s5"
    return "s1" if outcome.endswith(" ok") else "s2"


def _errors(report: Report) -> dict[str, Any]:
    examples = []
    for outcome, example in report["examples"].items():
        number_of = example["transaction"]
        what = example["command"] if number_of is None else f"[{number_of}] {example['command']}"
        examples.append({"outcome": outcome, "what": what, "said": example["said"], "body": example["body"]})
    reasons = [(reason, f"{count:,}") for reason, count in report["retry_reasons"].items()]
    return {"examples": examples, "reasons": reasons}


def _traces(report: Report) -> list[tuple[str, ...]]:
    traces = report.get("traces") or {"slowest": [], "failed": []}
    return [
        (
            one["trace"],
            f"[{one['transaction']}] {one['command']}",
            _ms(one["latency_ms"]),
            one.get("outcome", "answered"),
        )
        for one in (*traces["slowest"], *traces["failed"])
    ]


def _verification(report: Report) -> dict[str, Any] | None:
    found = report.get("verification")
    if found is None:
        return None
    passed = found["passed"]
    words = found.get("sentence") or ("everything matches the model" if passed else "something differs from the model")
    return {"passed": passed, "words": words, "shown": found.get("shown", ())[:_SHOWN_DIFFERENCES]}


def _about(report: Report) -> list[tuple[str, Rows]]:
    tables: list[tuple[str, Rows]] = [("Settings", list(_settings(report)))]
    for index, machine in enumerate(report["machines"], 1):
        name = "Machine of the load generator" if len(report["machines"]) == 1 else f"Machine {index}"
        tables.append((name, [(key.replace("_gb", " (GB)"), _plain(value)) for key, value in machine.items()]))
    return tables


def _settings(report: Report) -> Iterator[tuple[str, str]]:
    run, cost, connect = report["run"], report["cost"], report["connect_ms"]
    yield "run id", run["id"]
    yield "address", run["url"]
    if run["system_version"]:
        yield "version of the system", run["system_version"]
    yield "workload", run["workload"]
    yield "model", "closed" if run["model"] == "closed" else f"open, {run['pace']}"
    yield "processes, threads", f"{run['processes']:,}, {run['threads']:,}"
    if run["shard"] != "1/1":
        yield "shard", run["shard"]
    if run["users"] is not None:
        yield "only the users", ", ".join(run["users"])
    for name in ("from_transaction", "limit", "duration_s"):
        if run[name] is not None:
            yield name.replace("_s", " (s)").replace("_", " "), f"{run[name]:,}"
    if run["repeat"] > 1:
        yield "rounds", f"{run['repeat']:,}"
    if run["warm_up_s"]:
        yield "warm-up (excluded)", f"{run['warm_up_s']:g} s, {report['warm_up_commands']:,} commands"
    yield "time-out of a try", f"{run['timeout_s']:g} s"
    yield "retries, at most", f"{run['retries']:,} within {run['give_up_s']:g} s"
    yield "connections opened", f"{connect['count']:,}, p50 {_ms(connect.get('p50'))} ms"
    yield "reconnects", f"{report['reconnects']:,}"
    yield "replayed answers", f"{report['replayed']:,}"
    if cost["cpu_us_per_command"] is not None:
        yield "CPU of the load generator", f"{cost['cpu_us_per_command']:,.0f} us a command"


def _plain(value: object) -> str:
    return "-" if value is None else str(value)


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"
