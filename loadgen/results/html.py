"""A report as one self-contained HTML page: nothing is loaded from anywhere, no script runs, and it prints well."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from loadgen.results import charts
from loadgen.results.charts import Series, number
from loadgen.results.latencies import Latencies
from loadgen.results.report_files import latency, statistics_of
from loadgen.results.statistics import Statistics
from loadgen.results.timeline import Interval

_POINTS = 240
"""How many intervals a chart has at most: neighbours are joined, exactly."""

_CURVE = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.99)
_TIMED = (("p50", "s1"), ("p90", "s2"), ("p99", "s3"), ("max", "s4"))

Rows = Sequence[tuple[str, str]]


def page(report: Mapping[str, Any]) -> str:
    """Return the page of a report."""
    run = report["run"]
    statistics = statistics_of(report)
    title = f"Replay of {Path(run['workload']).name}"
    body = "".join(
        (
            _head(report, title),
            _tiles(report),
            _gates(report),
            _over_time(report, statistics),
            _latencies(report, statistics),
            _outcomes(report),
            _verification(report),
            _about(report),
        )
    )
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def verdict(report: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether the run was good (`good`, `warning`, `bad`), and in words."""
    found = "good", "Every command was answered"
    if report["errors"]:
        found = "bad", f"{report['errors']:,} commands without a final answer"
    if report["interrupted"]:
        found = "warning", "Interrupted: figures of what was done"
    if report["stopped"] is not None:
        found = "bad", f"Ended early: {report['stopped']}"
    if any(gate["failed"] for gate in report.get("gates", ())):
        found = "bad", "A gate failed"
    verification = report.get("verification")
    if verification is not None:
        if not verification["passed"]:
            found = "bad", "Not verified: answers, accounts or log are not what they must be"
        elif found[0] == "good":
            found = "good", "Every command was answered, and everything verified"
    return found


def _head(report: Mapping[str, Any], title: str) -> str:
    run = report["run"]
    kind, words = verdict(report)
    when = datetime.fromtimestamp(run["started_at_ms"] / 1000, UTC)
    model = "as fast as answers came" if run["model"] == "closed" else f"on schedule, {run['pace']}"
    return (
        f'<header><h1>{escape(title)}</h1><p class="verdict {kind}">{escape(words)}</p>'
        f"<p>{run['commands']:,} commands of {run['users_sent']:,} users to {escape(run['url'])}, {model}, "
        f"on {when:%Y-%m-%d at %H:%M:%S} UTC.</p></header>"
    )


def _tiles(report: Mapping[str, Any]) -> str:
    counted = latency(report)
    tiles = [
        ("commands", f"{report['commands']:,}", f"in {number(report['seconds'])} s"),
        ("commands/s", f"{report['rate']:,.0f}" if report["rate"] >= 100 else number(report["rate"]), "answered"),
        *((name, _ms(counted.get(name)), "ms") for name in ("p50", "p99", "p99.9")),
        ("errors", f"{report['errors']:,}", "no final answer"),
        ("retries", f"{report['retries']:,}", "tries that failed"),
    ]
    return (
        '<section class="tiles">'
        + "".join(
            f'<div class="{"alarm" if name == "errors" and report["errors"] else ""}"><b>{escape(value)}</b>'
            f"<span>{escape(name)}</span><small>{escape(more)}</small></div>"
            for name, value, more in tiles
        )
        + "</section>"
    )


def _gates(report: Mapping[str, Any]) -> str:
    gates = report.get("gates", ())
    if not gates:
        return ""
    lines = "".join(
        f'<li class="{"bad" if gate["failed"] else "good"}"><b>{"failed" if gate["failed"] else "passed"}</b> '
        f"{escape(gate['said'])}</li>"
        for gate in gates
    )
    return f'<section><h2>Gates</h2><p class="note">A gate names what no good run shows.</p><ul>{lines}</ul></section>'


def _over_time(report: Mapping[str, Any], statistics: Statistics) -> str:
    joined = statistics.timeline.joined(_POINTS)
    intervals = [interval for _, interval in joined.rows()]
    if not intervals:
        return ""
    lengths = _lengths(len(intervals), joined.seconds, report["seconds"])
    per_second = [interval.commands / length for interval, length in zip(intervals, lengths, strict=True)]
    found = [interval.latency_ms() for interval in intervals]
    latencies = [Series(name, style, [row[name] for row in found]) for name, style in _TIMED]
    values = [value for series in latencies for value in series.values if value is not None]
    every = "second" if joined.seconds == 1 else f"{joined.seconds} seconds"
    throughput = charts.over_time(
        [Series("throughput", "s1", per_second)], joined.seconds, charts.linear(max(per_second)), "commands/s"
    )
    return (
        f"<section><h2>Throughput over time</h2>"
        f'<p class="note">Commands a second that got their outcome, a point every {every}.</p>'
        f"<figure>{throughput}</figure></section>"
        f"<section><h2>Latency over time</h2>"
        f'<p class="note">In ms, {_which(report)}, a point every {every}.</p>{charts.legend(_TIMED)}'
        f"<figure>{charts.over_time(latencies, joined.seconds, charts.fitting(values), 'ms')}</figure></section>"
        + _troubles(report, intervals, joined.seconds, every)
    )


def _lengths(count: int, seconds: float, total_s: float) -> list[float]:
    """Return how long each interval was: the last one ends with the run."""
    last = total_s - (count - 1) * seconds
    return [*[seconds] * (count - 1), min(seconds, max(last, 0.05))]


def _troubles(report: Mapping[str, Any], intervals: Sequence[Interval], seconds: float, every: str) -> str:
    head = "<section><h2>Errors and retries over time</h2>"
    if not report["errors"] and not report["retries"]:
        return f'{head}<p class="note">There were none: every command was answered at its first try.</p></section>'
    series = [
        Series("errors", "s5", [interval.errors for interval in intervals]),
        Series("retries", "s6", [interval.retries for interval in intervals]),
    ]
    most = max(interval.errors + interval.retries for interval in intervals)
    drawn = charts.over_time(series, seconds, charts.linear(most), "", bars=True)
    reasons = ", ".join(f"{escape(reason)} {count:,}" for reason, count in report["retry_reasons"].items())
    why = f" Tries failed because of: {reasons}." if reasons else ""
    return (
        f'{head}<p class="note">Commands that got no final answer, and tries that failed and were repeated, '
        f"counted when the command ended, every {every}.{why}</p>"
        f"{charts.legend((('errors', 's5'), ('retries', 's6')))}<figure>{drawn}</figure></section>"
    )


def _which(report: Mapping[str, Any]) -> str:
    if report["corrected_ms"] is not None:
        return "corrected: from when a command should have left"
    return "from a command's first send to its final answer, retries included"


def _latencies(report: Mapping[str, Any], statistics: Statistics) -> str:
    if not report["latency_ms"]["count"]:
        return ""
    every, first, corrected = statistics.every()
    curves = [("from the send, retries included", "s1", _curve(every))]
    if corrected.count:
        curves = [
            ("corrected: from the intended start", "s4", _curve(corrected)),
            ("uncorrected: from the send", "s1", _curve(every)),
        ]
    elif first.count and report["retries"]:
        curves.append(("answered at the first try", "s2", _curve(first)))
    names = [(name, style) for name, style, _ in curves]
    spans, rows = [], []
    for name, command in report["by_command"].items():
        counted = latency(command)
        if counted["count"]:
            values = [counted[figure] for figure, _ in _TIMED]
            said = f"{name}: " + ", ".join(f"{figure} {_ms(counted[figure])} ms" for figure, _ in _TIMED)
            spans.append((name, values, said))
        rows.append((name, command["commands"], counted))
    rows.append(("all", report["commands"], latency(report)))
    return (
        f'<section><h2>Latency by command</h2><p class="note">In ms, {_which(report)}.</p>{charts.legend(_TIMED)}'
        f"<figure>{charts.ranges(spans, 'ms')}</figure>{_latency_table(rows)}</section>"
        f'<section><h2>Latency by percentile</h2><p class="note">The percentage of all commands that were done within '
        f"so many ms.</p>{charts.legend(names)}<figure>{charts.by_percentile(curves, 'ms')}</figure>"
        f"{_meaning(report)}</section>"
    )


def _curve(latencies: Latencies) -> list[tuple[float, float]]:
    return [(percent, latencies.percentile_ms(percent)) for percent in _CURVE]


def _latency_table(rows: Sequence[tuple[str, int, Mapping[str, float]]]) -> str:
    columns = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")
    head = "".join(f"<th>{name}</th>" for name in ("command", "commands", *columns))
    lines = "".join(
        f"<tr{' class=total' if name == 'all' else ''}><th>{escape(name)}</th><td>{count:,}</td>"
        + "".join(f"<td>{_ms(found.get(column))}</td>" for column in columns)
        + "</tr>"
        for name, count, found in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _meaning(report: Mapping[str, Any]) -> str:
    if report["corrected_ms"] is None:
        text = (
            "The model is closed: a user's next command waits for its last one. A server that stalls is sent fewer "
            "commands meanwhile, and the percentiles do not count those that would have come: this is uncorrected "
            "latency."
        )
    else:
        text = (
            "The model is open: commands leave on schedule. Corrected latency runs from the moment a command should "
            "have left, so a stall counts for all that had to wait; uncorrected latency runs from its actual send."
        )
    return f'<p class="note">{text}</p>'


def _outcomes(report: Mapping[str, Any]) -> str:
    total = max(1, report["commands"])
    lines = "".join(
        f"<tr><th>{escape(outcome)}</th><td>{count:,}</td><td>{100 * count / total:.2f} %</td>"
        f'<td class="share"><i class="{_outcome_style(outcome)}" style="width:{100 * count / total:.2f}%"></i></td>'
        "</tr>"
        for outcome, count in report["outcomes"].items()
    )
    return (
        '<section><h2>Outcomes</h2><p class="note">How commands ended. 200 is a success, 409 a rejection by the rules '
        "of trading, 400 and 422 a refusal for the form; these are final answers. Anything else is an error.</p>"
        f'<div class="scroll"><table class="outcomes"><thead><tr><th>status and code</th><th>commands</th>'
        f'<th>share</th><th class="share"></th></tr></thead><tbody>{lines}</tbody></table></div></section>'
    )


def _outcome_style(outcome: str) -> str:
    status = outcome.partition(" ")[0]
    return "s1" if status == "200" else "s2" if status in {"400", "409", "422"} else "s5"


def _verification(report: Mapping[str, Any]) -> str:
    found = report.get("verification")
    if found is None:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in found.get("shown", ())[:50])
    words = escape(found.get("sentence") or ("passed" if found["passed"] else "failed"))
    kind = "good" if found["passed"] else "bad"
    return (
        '<section><h2>Verification</h2><p class="note">Every answer, every account and the audit log against an '
        f'independent model.</p><ul><li class="{kind}"><b>{"passed" if found["passed"] else "failed"}</b> {words}</li>'
        f"{lines}</ul></section>"
    )


def _about(report: Mapping[str, Any]) -> str:
    tables = [("Settings", list(_settings(report)))]
    for index, machine in enumerate(report["machines"], 1):
        name = "Machine" if len(report["machines"]) == 1 else f"Machine {index}"
        tables.append((name, [(key.replace("_", " "), _plain(value)) for key, value in machine.items()]))
    drawn = "".join(f"<div><h3>{escape(name)}</h3>{_pairs(rows)}</div>" for name, rows in tables)
    return f'<section><h2>Settings and machine</h2><div class="pairs">{drawn}</div></section>'


def _settings(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    run, cost = report["run"], report["cost"]
    yield "run id", run["id"]
    yield "address", run["url"]
    yield "workload", run["workload"]
    yield "model", "closed" if run["model"] == "closed" else f"open, {run['pace']}"
    yield "processes, threads", f"{run['processes']:,}, {run['threads']:,}"
    if run["shard"] != "1/1":
        yield "shard", run["shard"]
    if run["users"] is not None:
        yield "only the users", ", ".join(run["users"])
    for name in ("from_transaction", "limit"):
        if run[name] is not None:
            yield name.replace("_", " "), f"{run[name]:,}"
    yield "time-out of a try", f"{run['timeout_s']:g} s"
    yield "most retries, for at most", f"{run['retries']:,}, {run['give_up_s']:g} s"
    yield "reconnects", f"{report['reconnects']:,}"
    yield "answers that repeat an outcome", f"{report['replayed']:,}"
    if cost["cpu_us_per_command"] is not None:
        yield "CPU of the load generator", f"{cost['cpu_us_per_command']:,.0f} us a command"


def _pairs(rows: Rows) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table><tbody>{lines}</tbody></table>"


def _plain(value: object) -> str:
    return "-" if value is None else str(value)


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"
