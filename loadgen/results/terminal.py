"""The report of a replay as tables in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from loadgen.results.findings import Verification
from loadgen.results.report_files import latency
from loadgen.results.tables import print_whole


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print a replay's figures: latencies and outcomes by command, then the totals."""
    print_whole(console, _latency_table(report))
    print_whole(console, _outcome_table(report))
    if report["retry_reasons"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in report["retry_reasons"].items())
        console.print(f"Reasons for retries: {reasons}")
    if report["reconnects"] or report["replayed"]:
        console.print(
            f"Reconnects after a kept connection had closed: {report['reconnects']:,}; "
            f"replayed answers: {report['replayed']:,}"
        )
    schedule = report["schedule"]
    if schedule is not None:
        late = schedule["late_ms"]
        console.print(
            f"Rate: {schedule['sent_rate']:,.6g} of {schedule['asked_rate']:,.6g} commands/s sent; delay "
            f"p50 {_ms(late.get('p50'))}, p99 {_ms(late.get('p99'))}, max {_ms(late.get('max'))} ms",
            style=None if schedule["held"] else "red",
        )
    if report.get("traces") is not None:
        print_whole(console, _trace_table(report["traces"]))
    style = "bold red" if report["errors"] else "bold green"
    unfinished = " (interrupted)" if report.get("interrupted") else ""
    console.print(
        f"[{style}]{report['commands']:,} commands in {report['seconds']:,.2f} s: {report['rate']:,.1f} commands/s, "
        f"{report['errors']:,} errors, {report['retries']:,} retries{unfinished}[/]"
    )


def print_verification(verification: Verification, console: Console) -> None:
    """Print the result of a verification: each kept difference, what was not checked, and the verdict."""
    for line in verification.findings.lines():
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    for note in verification.findings.notes:
        console.print(f"Note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    verdict = "Verified" if verification.passed else "NOT VERIFIED"
    style = "bold green" if verification.passed else "bold red"
    console.print(f"{verdict}: {verification.sentence()}", style=style, markup=False, highlight=False, soft_wrap=True)


def _latency_table(report: Mapping[str, Any]) -> Table:
    is_open = report["corrected_ms"] is not None
    start = "when a command was due" if is_open else "the first send"
    table = Table(title=f"{'Corrected l' if is_open else 'L'}atency in ms: from {start} to the end of the final answer")
    table.add_column("command", no_wrap=True)
    for heading in ("commands", *_SHOWN):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, command in report["by_command"].items():
        _add_latencies(table, name, command["commands"], latency(command))
    table.add_section()
    _add_latencies(table, "all", report["commands"], latency(report))
    if is_open:
        _add_latencies(table, "all, uncorrected", report["commands"], report["latency_ms"])
    if report["retries"]:
        first_try = report["first_try_ms"]
        _add_latencies(table, "all, first try", first_try["count"], first_try)
    return table


_SHOWN = ("p50", "p90", "p99", "p99.9", "max")


def _add_latencies(table: Table, name: str, commands: int, latency_ms: Mapping[str, float]) -> None:
    table.add_row(name, f"{commands:,}", *(_ms(latency_ms.get(key)) for key in _SHOWN))


def _outcome_table(report: Mapping[str, Any]) -> Table:
    table = Table(title="Outcomes")
    table.add_column("status and code")
    table.add_column("commands", justify="right")
    for outcome, count in report["outcomes"].items():
        table.add_row(outcome, f"{count:,}")
    return table


def _trace_table(traces: Mapping[str, Any]) -> Table:
    table = Table(title=f"Traces of {traces['commands']:,} commands are kept; the slowest and the failed of them")
    for heading in ("trace", "command", "number"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("outcome")
    for one in (*traces["slowest"], *traces["failed"]):
        number = "-" if one["transaction"] is None else str(one["transaction"])
        table.add_row(one["trace"], one["command"], number, _ms(one["latency_ms"]), one.get("outcome", "answered"))
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
