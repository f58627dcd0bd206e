"""The arguments of the command line, and what each may be."""

import argparse
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from loadgen.client.encoding import HeaderError, Target, UrlError, parse_header, parse_url
from loadgen.client.retry import RetryPolicy
from loadgen.results.compare import DEFAULT_METRICS, METRICS
from loadgen.results.outputs import Outputs
from loadgen.results.thresholds import Gate, GateError, parse_gate
from loadgen.run.affinity import ANY, LAST, parse_processor
from loadgen.run.processes import can_fork
from loadgen.run.replay import DEFAULT_THREADS, Server
from loadgen.workload.selection import Selection
from loadgen.workload.streams import WHOLE, Part

TOKEN_VARIABLE = "LOADGEN_TOKEN"  # noqa: S105 (the name of a variable)

Command = Callable[[argparse.Namespace], int]
Value = TypeVar("Value")


class UsageError(Exception):
    """Arguments that cannot be used together or at all."""


@dataclass(frozen=True, slots=True)
class Commands:
    """What carries out each command."""

    replay: Command
    verify: Command
    generate: Command
    merge: Command
    compare: Command
    report: Command


def parser(commands: Commands) -> argparse.ArgumentParser:
    """Return the parser; what it finds has `run`, one of the commands."""
    parser = argparse.ArgumentParser(
        prog="loadgen",
        description="Replay day-trading workloads over HTTP, measure, and prove the result.",
        epilog="Exit codes: 0 all well, 1 something failed, 2 bad file or arguments, 3 a gate failed, 130 interrupted.",
    )
    adding = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, add, summary in (
        ("replay", commands.replay, _add_replay, "send a workload file to a server and report what happened"),
        ("verify", commands.verify, _add_verify, "prove a recorded replay against an independent model"),
        ("generate", commands.generate, _add_generate, "make a workload file"),
        ("merge", commands.merge, _add_merge, "add up the reports of several machines"),
        ("compare", commands.compare, _add_compare, "two reports side by side, with ratios"),
        ("report", commands.report, _add_report, "show a saved report again, as tables or a page; judge it by gates"),
    ):
        one = adding.add_parser(name, help=summary)
        one.set_defaults(run=run, run_name=name)
        add(one)
    return parser


def server(options: argparse.Namespace, run_id: str) -> Server:
    """Return the server that the arguments describe. Raises UsageError."""
    headers: Sequence[tuple[str, str]] = options.header
    token = options.token or os.environ.get(TOKEN_VARIABLE, "")
    authorized = any(name.lower() == "authorization" for name, _ in headers)
    if not token and not authorized and not getattr(options, "dry_run", False):
        raise UsageError(f"a token is needed: --token, the variable {TOKEN_VARIABLE} or --header 'Authorization: ...'")
    if not re.fullmatch(r"[!-~]*", token):
        raise UsageError("the token holds characters that a header cannot have")
    target: Target = options.url
    policy = RetryPolicy(options.timeout, options.retries, options.give_up)
    return Server(target, token, run_id, policy, _tls(options, target), tuple(headers))


def selection(options: argparse.Namespace) -> Selection:
    """Return which commands are to be sent."""
    return Selection(options.users, options.from_transaction, options.limit, options.shard)


REPORT_OUTPUTS = ("json", "csv", "csv_by_command", "html")
"""The attributes of arguments that name outputs of a report."""


def outputs(options: argparse.Namespace, names: Sequence[str], inputs: Sequence[Path]) -> Outputs:
    """Return the outputs that these attributes of the arguments name, opened. Raises OutputError."""
    others = {"--answers": options.answers} if options.run_name == "replay" else {}
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
        "Send every command of FILE to the server, each user's commands in their order, and report what was "
        "answered and how fast. A command without a user waits for all before it and holds all after it."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="workload file, one `[N] COMMAND,user,args` a line")
    _add_strict(parser)
    _add_server(parser)
    load = parser.add_argument_group("load")
    _add_threads(load)
    load.add_argument(
        "--processes",
        type=_processes,
        default=1,
        metavar="P",
        help="processes that share users and threads (default 1)",
    )
    load.add_argument(
        "--processor",
        type=parse_processor,
        default=LAST,
        metavar=f"N|{LAST}|{ANY}",
        help=f"index of the processor it stays on, further processes on those before it (default {LAST})",
    )
    load.add_argument(
        "--rate",
        type=_rate,
        metavar="N",
        help="open model: commands leave on schedule, N a second (default: as fast as answers come)",
    )
    load.add_argument("--run-id", type=_run_id, help="begins the idempotency keys of this run (default: random)")
    chosen = parser.add_argument_group("which commands")
    chosen.add_argument("--users", type=_names, metavar="A,B", help="only those of these users")
    chosen.add_argument("--limit", type=_positive, metavar="N", help="only the first N")
    chosen.add_argument(
        "--from-transaction",
        type=_positive,
        metavar="N",
        help="only from command [N] on: with the --run-id of an interrupted run, go on with it",
    )
    chosen.add_argument(
        "--shard", type=_shard, default=WHOLE, metavar="I/N", help="only the users of machine I of N, from 1/N to N/N"
    )
    chosen.add_argument("--dry-run", action="store_true", help="say what would be sent and send nothing")
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
        help="do not read the accounts before a recorded run; --verify then takes them to have been empty",
    )
    results.add_argument("--quiet", action="store_true", help="show no progress and no tables, only what went wrong")


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
    parser.add_argument("--users", type=_names, metavar="A,B", help="check these users only (default: all)")
    _add_no_log(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result as JSON to OUT")


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="refuse a file with untidy lines instead of mending them")


def _add_merge(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Add up the reports of the shards of one run: counts, and latencies exactly, from their histograms."
    )
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="what `replay --shard --json` wrote")
    parser.add_argument("--partial", action="store_true", help="take some of the shards of the run for all of them")
    _add_outputs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no tables")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show a report that `replay --json` or `merge --json` wrote, and judge it by gates."
    parser.add_argument("reports", type=Path, nargs=1, metavar="REPORT", help="the report")
    _add_outputs(parser)
    parser.add_argument("--quiet", action="store_true", help="show no tables")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show two reports side by side. A ratio says how B does beside A: B's rate by A's, A's latency by B's; above 1 "
        "B is better."
    )
    parser.add_argument("first", type=Path, metavar="A", help="a report")
    parser.add_argument("second", type=Path, metavar="B", help="another report")
    parser.add_argument(
        "--fail-below", type=_ratio, metavar="R", help="exit 3 when a ratio of --metrics is below R, such as 0.9"
    )
    parser.add_argument(
        "--metrics",
        type=_metrics,
        default=DEFAULT_METRICS,
        metavar="A,B",
        help=f"what --fail-below looks at, of {', '.join(METRICS)} (default {','.join(DEFAULT_METRICS)})",
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a workload file of the form and mix of recorded ones; the same for the same seed."
    parser.add_argument("--users", type=_positive, required=True, metavar="N", help="how many users")
    parser.add_argument(
        "--commands", type=_positive, required=True, metavar="N", help="how many lines, the DUMPLOG at the end included"
    )
    parser.add_argument("--symbols", type=_positive, required=True, metavar="N", help="how many stock symbols")
    parser.add_argument("--seed", type=int, required=True, metavar="N", help="same seed, same file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")


def _add_outputs(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write the report as JSON to OUT (- is standard output)"
    )
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write the figures by second as CSV to OUT")
    parser.add_argument("--csv-by-command", type=Path, metavar="OUT", help="write the figures by command as CSV to OUT")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write the report as one self-contained page to OUT")
    parser.add_argument(
        "--fail-on",
        type=_gate,
        action="extend",
        nargs="+",
        default=[],
        metavar="GATE",
        help="exit 3 when this is so: 'p99>50ms', 'errors>0', 'rate<500', 'BUY.p99.9>=1s' (may be repeated)",
    )


def _add_no_log(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--no-log", dest="log", action="store_false", help="verify without asking the server for its audit log"
    )


def _add_threads(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument(
        "--threads",
        type=_positive,
        default=DEFAULT_THREADS,
        metavar="N",
        help=f"most users served at once, each by a thread with a connection (default {DEFAULT_THREADS})",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    policy = RetryPolicy()
    group = parser.add_argument_group("server")
    group.add_argument("--url", type=_url, required=True, help="the server's address, such as http://127.0.0.1:8000")
    group.add_argument("--token", help=f"JWT, normally an operator's (default: the variable {TOKEN_VARIABLE})")
    group.add_argument(
        "--header", type=_header, action="append", default=[], metavar="K:V", help="send this header (may be repeated)"
    )
    trust = group.add_mutually_exclusive_group()
    trust.add_argument("--ca", type=Path, metavar="FILE", help="trust the certificates in FILE (PEM) too")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=policy.timeout_s,
        metavar="S",
        help="time-out of a try (default %(default)g s)",
    )
    group.add_argument(
        "--retries",
        type=_count,
        default=policy.retries,
        metavar="N",
        help="most retries of a command (default %(default)d)",
    )
    group.add_argument(
        "--give-up",
        type=_seconds,
        default=policy.give_up_s,
        metavar="S",
        help="no retry of a command later than this after its first try (default %(default)g s)",
    )


def _said(parse: Callable[[str], Value], text: str, kind: type[Exception]) -> Value:
    try:
        return parse(text)
    except kind as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _url(text: str) -> Target:
    return _said(parse_url, text, UrlError)


def _header(text: str) -> tuple[str, str]:
    return _said(parse_header, text, HeaderError)


def _gate(text: str) -> Gate:
    return _said(parse_gate, text, GateError)


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names:
        raise argparse.ArgumentTypeError("must name at least one user")
    return names


def _metrics(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(METRICS):
        raise argparse.ArgumentTypeError(f"must be of {', '.join(METRICS)}")
    return names


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text):
        raise argparse.ArgumentTypeError("must be 1 to 100 of A-Z a-z 0-9 . _ -")
    return text


def _shard(text: str) -> Part:
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"must be I/N with I from 1 to N, such as 1/3, not {text!r}")
    return Part(int(match[1]) - 1, int(match[2]))


def _processes(text: str) -> int:
    count = _positive(text)
    if count > 1 and not can_fork():
        raise argparse.ArgumentTypeError("this platform has one process only: use --shard")
    return count


def _positive(text: str) -> int:
    return _number(text, least=1)


def _count(text: str) -> int:
    return _number(text, least=0)


def _number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
    return number


def _seconds(text: str) -> float:
    return _within(text, 0.001, 86_400, "seconds")


def _rate(text: str) -> float:
    return _within(text, 0.001, 1_000_000, "commands a second")


def _ratio(text: str) -> float:
    return _within(text, 0.001, 1000, "a ratio")


def _within(text: str, least: float, most: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"must be {what} from {least:g} to {most:g}, not {text!r}")
    return number
