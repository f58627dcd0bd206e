"""The command line's arguments."""

import argparse
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from loadgen import __version__, values
from loadgen.client.encoding import Target
from loadgen.client.retry import RetryPolicy
from loadgen.examples import EXAMPLES, show_example
from loadgen.pacing_arguments import UsageError, add_pacing
from loadgen.results.compare import DEFAULT_METRICS, METRICS
from loadgen.results.outputs import STANDARD_OUTPUT, OutputError, Outputs
from loadgen.run.affinity import ANY, LAST, parse_processor
from loadgen.run.replay import DEFAULT_THREADS
from loadgen.run.server import Server
from loadgen.workload.selection import Selection
from loadgen.workload.streams import WHOLE

TOKEN_VARIABLE = "LOADGEN_TOKEN"  # noqa: S105 (the name of a variable)

Command = Callable[[argparse.Namespace], int]


@dataclass(frozen=True, slots=True)
class Commands:
    """The function that runs each command."""

    replay: Command
    verify: Command
    generate: Command
    merge: Command
    compare: Command
    report: Command
    do: Command


def parser(commands: Commands) -> argparse.ArgumentParser:
    """Return the parser; its result has `run`, one of the commands."""
    parser = argparse.ArgumentParser(
        prog="loadgen",
        description="Replay day-trading workloads over HTTP, measure, and prove the result.",
        epilog="exit codes: 0 success, 1 failure, 2 bad input, 3 gate failed or rate not held, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"loadgen {__version__}")
    adding = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, add, summary in (
        ("replay", commands.replay, _add_replay, "send a workload file to a server and report what happened"),
        ("verify", commands.verify, _add_verify, "verify a recorded replay against an independent model"),
        ("generate", commands.generate, _add_generate, "make a workload file"),
        ("merge", commands.merge, _add_merge, "add up the reports of several machines"),
        ("compare", commands.compare, _add_compare, "compare two reports, with ratios"),
        ("report", commands.report, _add_report, "show a saved report as tables or a page; check it against gates"),
        ("do", commands.do, _add_do, "send single commands and show their answers"),
    ):
        one = adding.add_parser(name, help=summary)
        one.set_defaults(run=run, run_name=name)
        add(one)
        show_example(one, EXAMPLES[name])
    show_example(parser, EXAMPLES["replay"])
    return parser


def server(options: argparse.Namespace, run_id: str, *, speaks_trading: bool = True) -> Server:
    """Return the server that the arguments describe. Raises UsageError."""
    headers: Sequence[tuple[str, str]] = options.header
    token = options.token or os.environ.get(TOKEN_VARIABLE, "")
    authorized = any(name.lower() == "authorization" for name, _ in headers)
    if speaks_trading and not token and not authorized and not getattr(options, "dry_run", False):
        raise UsageError(f"no token: give --token, the variable {TOKEN_VARIABLE} or --header 'Authorization: ...'")
    if not re.fullmatch(r"[!-~]*", token):
        raise UsageError("the token contains characters that are not allowed in a header")
    target: Target = options.url
    policy = RetryPolicy(options.timeout, options.retries, options.give_up)
    share = _trace_share(options, headers)
    return Server(target, token, run_id, policy, _tls(options, target), tuple(headers), speaks_trading, share)


def _trace_share(options: argparse.Namespace, headers: Sequence[tuple[str, str]]) -> float:
    share: float = getattr(options, "trace_sample", 0.0)
    if share and any(name.lower() == "traceparent" for name, _ in headers):
        raise UsageError("--trace-sample sets each request's traceparent: leave out --header 'traceparent: ...'")
    if share and find_spec("opentelemetry") is None:
        raise UsageError("--trace-sample needs OpenTelemetry: pip install 'day-trading-loadgen[traces]'")
    return share


def selection(options: argparse.Namespace) -> Selection:
    """Return which commands to send."""
    return Selection(options.users, options.from_transaction, options.limit, options.shard, options.repeat)


REPORT_OUTPUTS = ("json", "csv", "csv_by_command", "html")
"""The arguments that name outputs of a report."""


def outputs(options: argparse.Namespace, names: Sequence[str], inputs: Sequence[Path]) -> Outputs:
    """Open the outputs that these arguments name. Raises OutputError."""
    others = {"--answers": options.answers} if options.run_name == "replay" else {}
    if STANDARD_OUTPUT in others.values():
        raise OutputError("--answers cannot be standard output (-): name a file")
    return Outputs({name: getattr(options, name) for name in names}, others, inputs)


def _tls(options: argparse.Namespace, target: Target) -> ssl.SSLContext | None:
    ca: Path | None = options.ca
    if target.scheme != "https":
        if ca is not None or options.insecure:
            raise UsageError("--ca and --insecure are for https addresses")
        return None
    context = ssl.create_default_context()
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{ca} has no certificates that can be trusted: {error}") from error
    return context


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send every command in FILE to the server, each user's commands in order, and report outcomes and latencies. "
        "A command without a user waits for all commands before it and holds back all after it."
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="workload file: `[N] COMMAND,user,args` or a JSON object a line"
    )
    _add_strict(parser)
    _add_server(parser)
    load = parser.add_argument_group("load")
    _add_threads(load)
    load.add_argument(
        "--processes",
        type=values.processes,
        default=1,
        metavar="P",
        help="processes that share users and threads (default 1)",
    )
    load.add_argument(
        "--processor",
        type=parse_processor,
        default=LAST,
        metavar=f"N|{LAST}|{ANY}",
        help=f"processor to stay on, from 0; further processes stay on those before it (default {LAST})",
    )
    add_pacing(load)
    load.add_argument("--run-id", type=values.run_id, help="prefix of this run's idempotency keys (default: random)")
    chosen = parser.add_argument_group("which commands")
    chosen.add_argument("--users", type=values.names, metavar="A,B", help="only the commands of these users")
    chosen.add_argument("--limit", type=values.positive, metavar="N", help="only the first N")
    chosen.add_argument(
        "--from-transaction",
        type=values.positive,
        metavar="N",
        help="only from command [N] on: with the --run-id of an interrupted run, resume it",
    )
    chosen.add_argument(
        "--shard",
        type=values.shard,
        default=WHOLE,
        metavar="I/N",
        help="only the users of machine I of N, from 1/N to N/N",
    )
    chosen.add_argument(
        "--repeat",
        type=values.positive,
        default=1,
        metavar="N",
        help="send the workload N times in a row (default 1)",
    )
    chosen.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")
    results = parser.add_argument_group("results")
    _add_outputs(results)
    results.add_argument(
        "--answers", type=Path, metavar="FILE", help="record every answer as JSON lines (gzip if FILE ends in .gz)"
    )
    results.add_argument(
        "--verify",
        action="store_true",
        help="after the replay, prove answers, accounts and audit log (as `verify` does)",
    )
    _add_no_log(results)
    results.add_argument(
        "--no-baseline",
        dest="baseline",
        action="store_false",
        help="do not read the accounts before a recorded run; --verify then assumes that they were empty",
    )
    results.add_argument("--title", metavar="TEXT", help="the title of the report (default: the workload's name)")
    results.add_argument(
        "--label",
        type=values.label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="add this label to the report (repeatable)",
    )
    results.add_argument(
        "--system-version", metavar="TEXT", help="version of the system under test (default: from its OpenAPI document)"
    )
    results.add_argument("--quiet", action="store_true", help="show no progress and no tables, only failures")
    results.add_argument(
        "--trace-sample",
        type=values.share,
        default=0.0,
        metavar="P",
        help="start a trace for each command, keep this share, and list those of the slowest and failed commands",
    )


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the recorded answers of a replay, the accounts as they are now and the audit log with an independent "
        "model of the accounts. Nobody else may change these accounts between the replay and this."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the workload file that was replayed")
    _add_strict(parser)
    parser.add_argument("--answers", type=Path, required=True, metavar="FILE", help="what `replay --answers` recorded")
    _add_server(parser)
    _add_threads(parser)
    parser.add_argument("--users", type=values.names, metavar="A,B", help="check these users only (default: all)")
    _add_no_log(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result as JSON to OUT")


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="reject a file with untidy lines instead of fixing them")


def _add_merge(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Add up the reports of the shards of one run: counts, and latencies exactly, from their histograms."
    )
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="what `replay --shard --json` wrote")
    parser.add_argument("--partial", action="store_true", help="accept an incomplete set of shards")
    _add_outputs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no tables")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show a report that `replay --json` or `merge --json` wrote, and judge it by gates."
    parser.add_argument("reports", type=Path, nargs=1, metavar="REPORT", help="the report")
    _add_outputs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no tables")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the reports of two sides, A and B. Ratios are B's rate divided by A's, and A's latency divided by "
        "B's: above 1, B is better. Give several runs per side, so that the noise can be estimated."
    )
    parser.add_argument(
        "reports", type=Path, nargs="+", metavar="A", help="reports of side A, or one of A and one of B"
    )
    parser.add_argument("--with", dest="second", type=Path, nargs="+", metavar="B", help="reports of B")
    parser.add_argument(
        "--fail-below",
        type=values.ratio,
        metavar="R",
        help="exit 3 if a ratio of --metrics is below R by more than the noise",
    )
    parser.add_argument(
        "--metrics",
        type=values.metrics,
        default=DEFAULT_METRICS,
        metavar="A,B",
        help=f"the metrics for --fail-below, of {', '.join(METRICS)} (default {','.join(DEFAULT_METRICS)})",
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a workload file of the form and mix of recorded ones; the same for the same seed."
    parser.add_argument(
        "--users", type=values.positive, default=45, metavar="N", help="how many users (default %(default)s)"
    )
    parser.add_argument(
        "--commands",
        type=values.positive,
        default=10_000,
        metavar="N",
        help="how many lines, including the final DUMPLOG (default %(default)s)",
    )
    parser.add_argument(
        "--symbols", type=values.positive, default=50, metavar="N", help="how many stock symbols (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same file (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: standard output)")


def _add_do(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send single commands one after another, written as in a workload file; their numbers are optional. "
        "Without any, prompt for them."
    )
    parser.add_argument(
        "given", nargs="*", metavar="COMMAND|FILE", help="such as BUY,jane,ABC,100.00, or a file with one a line"
    )
    _add_server(parser)
    parser.add_argument("--json", action="store_true", help="show each outcome as a line of JSON")
    parser.add_argument(
        "--key", type=values.key, help="the command's idempotency key, such as that of an earlier command to repeat it"
    )


def _add_outputs(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write the report as JSON to OUT (- is standard output)"
    )
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write the figures by second as CSV to OUT")
    parser.add_argument("--csv-by-command", type=Path, metavar="OUT", help="write the figures by command as CSV to OUT")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write the report as one self-contained page to OUT")
    parser.add_argument(
        "--fail-on",
        type=values.gate,
        action="extend",
        nargs="+",
        default=[],
        metavar="GATE",
        help="exit 3 if this is true: 'p99>50ms', 'errors>0', 'rate<500', 'BUY.p99.9>=1s', 'http_500>0' (repeatable)",
    )
    parser.add_argument("--allow-missed-rate", action="store_true", help="do not exit 3 if the rate was not held")


def _add_no_log(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--no-log", dest="log", action="store_false", help="verify without asking the server for its audit log"
    )


def _add_threads(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--threads",
        type=values.positive,
        default=DEFAULT_THREADS,
        metavar="N",
        help=f"maximum number of users served at once, each with a thread and a connection (default {DEFAULT_THREADS})",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    policy = RetryPolicy()
    group = parser.add_argument_group("server")
    group.add_argument(
        "--url", type=values.url, required=True, help="the server's address, such as http://127.0.0.1:8000"
    )
    group.add_argument("--token", help=f"JWT, normally an operator's (default: the variable {TOKEN_VARIABLE})")
    group.add_argument(
        "--header",
        type=values.header,
        action="append",
        default=[],
        metavar="K:V",
        help="add this header to every request (repeatable)",
    )
    trust = group.add_mutually_exclusive_group()
    trust.add_argument("--ca", type=Path, metavar="FILE", help="also trust the certificates in FILE (PEM)")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")
    group.add_argument(
        "--timeout",
        type=values.seconds,
        default=policy.timeout_s,
        metavar="S",
        help="time-out of each try (default %(default)g s)",
    )
    group.add_argument(
        "--retries",
        type=values.count,
        default=policy.retries,
        metavar="N",
        help="maximum number of retries of a command (default %(default)d)",
    )
    group.add_argument(
        "--give-up",
        type=values.seconds,
        default=policy.give_up_s,
        metavar="S",
        help="no retry later than this after a command's first try (default %(default)g s)",
    )
