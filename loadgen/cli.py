"""The command line: `python -m loadgen COMMAND ...`."""

import argparse
import importlib
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from loadgen import arguments
from loadgen.arguments import REPORT_OUTPUTS
from loadgen.pacing_arguments import UsageError
from loadgen.pacing_arguments import pacing as pacing_of
from loadgen.results.answers import AnswerFile, AnswersError
from loadgen.results.compare import compare, differences, print_comparison, too_low
from loadgen.results.findings import Verification
from loadgen.results.html import page
from loadgen.results.lateness import missed_rate
from loadgen.results.outputs import STANDARD_OUTPUT, OutputError, Outputs, check_distinct
from loadgen.results.report_files import (
    Report,
    ReportError,
    as_csv,
    as_csv_by_command,
    as_json,
    merge,
    read_report,
)
from loadgen.results.terminal import print_report, print_verification
from loadgen.results.thresholds import Gate, judge
from loadgen.run.dry_run import print_plan
from loadgen.run.interrupt import Interrupt, signals_handled
from loadgen.run.pacing import Pacing
from loadgen.run.server import ReplayError, Server, version_of
from loadgen.run.session import ReplayOptions, replay
from loadgen.run.single import SingleCommands, converse, lines_of, meant
from loadgen.verify.verify import VerifyOptions, verify
from loadgen.workload.files import Workload, WorkloadError, write
from loadgen.workload.generate import GenerateError, generate
from loadgen.workload.http_lines import load_any
from loadgen.workload.selection import Selection, SelectionError

OK, FAILED, BAD_INPUT, GATE_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes (docs/loadgen.md)."""


def main(given: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    commands = arguments.Commands(_replay, _verify, _generate, _merge, _compare, _report, _do)
    options = arguments.parser(commands).parse_args(given)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with signals_handled(signal.default_int_handler):
            return run(options)
    except (WorkloadError, UsageError, OutputError, GenerateError, ReportError, SelectionError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except (ReplayError, AnswersError, OSError) as error:
        print(f"loadgen: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("loadgen: stopped", file=sys.stderr)
        return INTERRUPTED


def _replay(options: argparse.Namespace) -> int:
    selection = arguments.selection(options)
    loaded, is_http = _load_any(options)
    if is_http and options.verify:
        raise UsageError(f"{options.file} has HTTP requests: only trading workloads are verified")
    server = arguments.server(options, options.run_id or secrets.token_hex(6), speaks_trading=not is_http)
    workload = selection.choose(loaded)
    mine = selection.part(workload)
    if not mine.commands:
        raise UsageError(f"{options.file}: no commands are left to send")
    pacing = pacing_of(options, workload)
    if options.dry_run:
        print_plan(mine, server, options.processes, pacing, selection.shard, Console(soft_wrap=True))
        return OK
    with arguments.outputs(options, REPORT_OUTPUTS, [options.file]) as outputs:
        print(f"loadgen: run {server.run_id}", file=sys.stderr)
        return _replay_into(outputs, workload, mine, server, selection, pacing, options)


def _replay_into(
    outputs: Outputs,
    workload: Workload,
    mine: Workload,
    server: Server,
    selection: Selection,
    pacing: Pacing,
    options: argparse.Namespace,
) -> int:
    interrupt = Interrupt()
    console = Console(quiet=options.quiet, stderr=outputs.take_standard_output)
    verification = None
    with _answers_path(options) as answers:
        wanted = ReplayOptions(
            options.threads,
            answers,
            options.baseline,
            options.quiet,
            options.processes,
            pacing,
            selection,
            options.title,
            dict(options.label),
            options.system_version or (version_of(server) if server.speaks_trading else None),
            options.processor,
        )
        report = replay(workload, server, wanted, interrupt)
        print_report(report, console)
        _say_how_it_ended(report)
        if options.verify and (interrupt.requested or report["stopped"]):
            print("loadgen: not verified, because the run did not finish", file=sys.stderr)
        elif options.verify:
            assert answers is not None
            try:
                verification = _prove(mine, answers, server, options)
            except KeyboardInterrupt:
                interrupt.requested = True
                print("loadgen: not verified, because the verification was interrupted", file=sys.stderr)
            else:
                report["verification"] = {**verification.figures(), "sentence": verification.sentence()}
    failed_gates = _judge(report, options.fail_on)
    written = _write(report, outputs)
    if verification is not None:
        print_verification(verification, console if verification.passed else Console(stderr=options.quiet))
    if interrupt.requested:
        return INTERRUPTED
    return _exit_code(report, options, failed_gates=failed_gates) if written else FAILED


def _load_any(options: argparse.Namespace) -> tuple[Workload, bool]:
    """Return the workload in a file and whether it is HTTP requests; report how many lines were fixed."""
    workload, is_http = load_any(options.file, strict=options.strict)
    if workload.mended:
        lines = "1 untidy line was" if workload.mended == 1 else f"{workload.mended:,} untidy lines were"
        print(f"loadgen: {workload.source}: {lines} fixed; --strict rejects them", file=sys.stderr)
    return workload, is_http


def _exit_code(report: Report, options: argparse.Namespace, *, failed_gates: bool) -> int:
    """Return the exit code of a run that completed (docs/loadgen.md)."""
    if report["stopped"] is not None or not report.get("verification", {"passed": True})["passed"]:
        return FAILED
    missed = report["schedule"] is not None and not report["schedule"]["held"]
    if failed_gates or (missed and not options.allow_missed_rate):
        return GATE_FAILED
    tolerated = any(gate.judges_errors for gate in options.fail_on)
    return FAILED if (report["errors"] or report["warm_up_errors"]) and not tolerated else OK


def _say_how_it_ended(report: Report) -> None:
    if report["stopped"] is not None:
        print(f"loadgen: {report['stopped']}", file=sys.stderr)
    if report["errors"]:
        outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in report["outcomes"].items())
        counted = f"{report['errors']:,} of {report['commands']:,}"
        print(f"loadgen: {counted} commands got no final answer; outcomes: {outcomes}", file=sys.stderr)
    for outcome, example in report["examples"].items():
        why = " ".join((example["said"] or example["body"] or "the answer had no body").split())[:300]
        print(f"loadgen: {outcome}, such as [{example['transaction']}] {example['command']}: {why}", file=sys.stderr)
    schedule = report["schedule"]
    if schedule is not None and not schedule["held"] and not (report["interrupted"] or report["stopped"]):
        print(f"loadgen: {missed_rate(schedule)}", file=sys.stderr)
    resume = report["resume"]
    if resume is not None and (report["run"]["duration_s"] is None or report["interrupted"] or report["stopped"]):
        how = f"--run-id {resume['run_id']} --from-transaction {resume['from_transaction']}"
        again = f"; at most {resume['repeats']} of a user's commands are then sent again" if resume["repeats"] else ""
        print(f"loadgen: to resume: {how}{again}", file=sys.stderr)
        if not resume["safe"]:
            print("loadgen: that may be more than the server remembers: some may be applied twice", file=sys.stderr)


def _judge(report: Report, gates: Sequence[Gate]) -> bool:
    """Judge a report by gates, report failures, and return whether a gate failed."""
    if not gates:
        return False
    report["gates"] = judge(report, gates)
    failed = [gate for gate in report["gates"] if gate["failed"]]
    for gate in failed:
        print(f"loadgen: gate failed: {gate['said']}", file=sys.stderr)
    return bool(failed)


def _write(report: Report, outputs: Outputs) -> bool:
    """Write a report to its outputs; return whether all succeeded. If the JSON cannot be written, it is printed."""
    forms = {"json": as_json, "csv": as_csv, "csv_by_command": as_csv_by_command, "html": page}
    failures = {name: outputs.write(name, form(report)) for name, form in forms.items() if name in outputs}
    for failure in filter(None, failures.values()):
        print(f"loadgen: {failure}", file=sys.stderr)
    if failures.get("json") is not None:
        print("loadgen: the report as JSON:", file=sys.stderr)
        print(as_json(report))
    return not any(failures.values())


def _verify(options: argparse.Namespace) -> int:
    header = AnswerFile(options.answers).header
    server = arguments.server(options, header.run_id)
    with arguments.outputs(options, ["json"], [options.file, options.answers]) as outputs:
        workload, is_http = _load_any(options)
        if is_http:
            raise UsageError(f"{options.file} has HTTP requests: only trading workloads are verified")
        try:
            replayed = header.selection.part(header.selection.choose(workload))
        except SelectionError as error:
            raise ReplayError(f"these are the answers to another workload: {error}") from error
        verification = _prove(replayed, options.answers, server, options)
        failure = outputs.write("json", as_json(verification.figures())) if "json" in outputs else None
        print_verification(verification, Console(stderr=outputs.take_standard_output))
        if failure is not None:
            print(f"loadgen: {failure}", file=sys.stderr)
    return OK if verification.passed and failure is None else FAILED


def _prove(workload: Workload, answers: Path, server: Server, options: argparse.Namespace) -> Verification:
    """Verify a run. Nothing is changed, so Ctrl-C ends it at once with KeyboardInterrupt."""
    checked = None if options.run is _replay else options.users
    interrupt = Interrupt()
    try:
        wanted = VerifyOptions(options.threads, checked, options.log)
        return verify(workload, AnswerFile(answers), server, wanted, interrupt.stopping)
    except KeyboardInterrupt:
        interrupt.stopping.set()
        raise


@contextmanager
def _answers_path(options: argparse.Namespace) -> Iterator[Path | None]:
    """Yield the path of the answers file: the user's choice, else a temporary file for the verification only."""
    if options.answers is not None or not options.verify:
        yield options.answers
        return
    with tempfile.TemporaryDirectory(prefix="loadgen-") as folder:
        yield Path(folder) / "answers.jsonl"


def _generate(options: argparse.Namespace) -> int:
    commands = generate(options.users, options.commands, options.symbols, options.seed)
    if options.out in (None, STANDARD_OUTPUT):
        write(commands, sys.stdout.buffer)
        return OK
    check_distinct({"--out": options.out}, [])
    with options.out.open("wb") as file:
        write(commands, file)
    return OK


def _merge(options: argparse.Namespace) -> int:
    return _show(merge([read_report(path) for path in options.reports], partial=options.partial), options)


def _report(options: argparse.Namespace) -> int:
    return _show(read_report(options.reports[0]), options)


def _show(report: Report, options: argparse.Namespace) -> int:
    """Show an existing report; return its exit code."""
    with arguments.outputs(options, REPORT_OUTPUTS, options.reports) as outputs:
        print_report(report, Console(quiet=options.quiet, stderr=outputs.take_standard_output))
        failed_gates = _judge(report, options.fail_on)
        if not _write(report, outputs):
            return FAILED
    if report["interrupted"]:
        return INTERRUPTED
    return _exit_code(report, options, failed_gates=failed_gates)


def _compare(options: argparse.Namespace) -> int:
    first, second = options.reports, options.second
    if second is None:
        if len(first) != 2:
            raise UsageError("give two reports, or several for each side: compare A1 A2 --with B1 B2")
        first, second = first[:1], first[1:]
    sides = [[read_report(path) for path in paths] for paths in (first, second)]
    metrics = compare(*sides)
    names = [paths[0].name if len(paths) == 1 else f"{len(paths)} runs" for paths in (first, second)]
    print_comparison(metrics, names, differences([*sides[0], *sides[1]]), Console())
    low = [] if options.fail_below is None else too_low(metrics, options.metrics, options.fail_below)
    for line in low:
        print(f"loadgen: gate failed: {line}", file=sys.stderr)
    return GATE_FAILED if low else OK


def _do(options: argparse.Namespace) -> int:
    server = arguments.server(options, secrets.token_hex(6))
    lines = lines_of(options.given)
    if options.key is not None and len(lines) != 1:
        raise UsageError("--key is for one command, given as an argument")
    if not options.given and sys.stdin is None:
        raise UsageError("no command is given, and standard input is closed")
    with closing(SingleCommands(server, sys.stdout, json=options.json, key=options.key)) as commands:
        if not options.given and sys.stdin.isatty():
            with suppress(ImportError):
                importlib.import_module("readline")  # `input` then has line editing and a history
            converse(commands, input, sys.stdout)
            return OK
        for line in lines if options.given else meant(sys.stdin):
            commands.send(line)
    return FAILED if commands.failed else OK
