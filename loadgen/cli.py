"""The command line: `python -m loadgen COMMAND ...`."""

import argparse
import os
import re
import secrets
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from loadgen.answers import AnswerFile, AnswersError
from loadgen.delivery import RetryPolicy
from loadgen.findings import Verification
from loadgen.generate import GenerateError, generate
from loadgen.interrupt import Interrupt
from loadgen.replay import DEFAULT_THREADS, ReplayError, Server
from loadgen.report import print_report, print_verification, write_json
from loadgen.session import ReplayOptions, replay
from loadgen.verify import VerifyOptions, verify
from loadgen.wire import Target, UrlError, parse_url
from loadgen.workload import Workload, WorkloadError, load, write

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""The exit codes (docs/loadgen.md)."""

TOKEN_VARIABLE = "LOADGEN_TOKEN"  # noqa: S105 (the name of a variable)


class UsageError(Exception):
    """Arguments that cannot be used together or at all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (WorkloadError, UsageError, GenerateError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    except (ReplayError, AnswersError, OSError) as error:
        print(f"loadgen: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("loadgen: stopped at once", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loadgen",
        description="Replay day-trading workloads over HTTP, measure, and prove the result.",
        epilog="Exit codes: 0 all well, 1 something failed, 2 bad file or arguments, 130 interrupted.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_replay(commands.add_parser("replay", help="send a workload file to a server and report what happened"))
    _add_verify(commands.add_parser("verify", help="prove a recorded replay against an independent model"))
    _add_generate(commands.add_parser("generate", help="make a workload file"))
    return parser


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send every command of FILE to the server, each user's commands in their order, and report what was "
        "answered and how fast. A command without a user waits for all before it and holds all after it."
    )
    parser.set_defaults(run=_replay)
    parser.add_argument("file", type=Path, metavar="FILE", help="workload file, one `[N] COMMAND,user,args` a line")
    _add_server(parser)
    _add_threads(parser)
    parser.add_argument("--run-id", type=_run_id, help="begins the idempotency keys of this run (default: random)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the report as JSON to OUT")
    parser.add_argument(
        "--answers", type=Path, metavar="FILE", help="record every answer as JSON lines (gzip if FILE ends in .gz)"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="after the replay, prove answers, accounts and audit log (as `verify` does)",
    )
    _add_no_log(parser)
    parser.add_argument(
        "--no-baseline",
        dest="baseline",
        action="store_false",
        help="do not read the accounts before a recorded run; --verify then takes them to have been empty",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress and no tables")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compare the recorded answers of a replay, the accounts as they are now and the audit log with an independent "
        "model of the accounts. Nobody else may change these accounts between the replay and this."
    )
    parser.set_defaults(run=_verify)
    parser.add_argument("file", type=Path, metavar="FILE", help="the workload file that was replayed")
    parser.add_argument("--answers", type=Path, required=True, metavar="FILE", help="what `replay --answers` recorded")
    _add_server(parser)
    _add_threads(parser)
    parser.add_argument("--users", type=_names, metavar="A,B", help="check these users only (default: all)")
    _add_no_log(parser)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the result as JSON to OUT")


def _add_no_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-log", dest="log", action="store_false", help="verify without asking the server for its audit log"
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads",
        type=_positive,
        default=DEFAULT_THREADS,
        metavar="N",
        help=f"most users served at once, each by a thread with a connection (default {DEFAULT_THREADS})",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    policy = RetryPolicy()
    parser.add_argument("--url", type=_url, required=True, help="the server's address, such as http://127.0.0.1:8000")
    parser.add_argument("--token", help=f"JWT, normally an operator's (default: the variable {TOKEN_VARIABLE})")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=policy.timeout_s,
        metavar="S",
        help="time-out of a try (default %(default)g s)",
    )
    parser.add_argument(
        "--retries",
        type=_count,
        default=policy.retries,
        metavar="N",
        help="most retries of a command (default %(default)d)",
    )
    parser.add_argument(
        "--give-up",
        type=_seconds,
        default=policy.give_up_s,
        metavar="S",
        help="no retry of a command later than this after its first try (default %(default)g s)",
    )


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make a workload file of the form and mix of recorded ones; the same for the same seed."
    parser.set_defaults(run=_generate)
    parser.add_argument("--users", type=_positive, required=True, metavar="N", help="how many users")
    parser.add_argument(
        "--commands", type=_positive, required=True, metavar="N", help="how many lines, the DUMPLOG at the end included"
    )
    parser.add_argument("--symbols", type=_positive, required=True, metavar="N", help="how many stock symbols")
    parser.add_argument("--seed", type=int, required=True, metavar="N", help="same seed, same file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to (default: standard output)")


def _replay(options: argparse.Namespace) -> int:
    _require_writable(options.json)
    _require_writable(options.answers)
    server = _server(options, options.run_id or secrets.token_hex(6))
    workload = load(options.file)
    interrupt = Interrupt()
    console = Console(quiet=options.quiet)
    verification = None
    with _answers_path(options) as answers:
        wanted = ReplayOptions(options.threads, answers, options.baseline, options.quiet)
        report = replay(workload, server, wanted, interrupt)
        print_report(report, console)
        if report["stopped"] is not None:
            print(f"loadgen: {report['stopped']}", file=sys.stderr)
        if options.verify and (interrupt.requested or report["stopped"]):
            print("loadgen: not verified, because the run did not come to its end", file=sys.stderr)
        elif options.verify:
            assert answers is not None
            verification = _prove(workload, answers, server, options, interrupt)
            report["verification"] = verification.figures()
    if options.json is not None:
        write_json(options.json, report)
    if verification is not None:
        print_verification(verification, console)
    if interrupt.requested:
        return INTERRUPTED
    failed = report["errors"] or report["stopped"] or (verification is not None and not verification.passed)
    return FAILED if failed else OK


def _verify(options: argparse.Namespace) -> int:
    _require_writable(options.json)
    server = _server(options, AnswerFile(options.answers).header.run_id)
    interrupt = Interrupt()
    verification = _prove(load(options.file), options.answers, server, options, interrupt)
    if options.json is not None:
        write_json(options.json, verification.figures())
    print_verification(verification, Console())
    return OK if verification.passed else FAILED


def _prove(
    workload: Workload, answers: Path, server: Server, options: argparse.Namespace, interrupt: Interrupt
) -> Verification:
    users = getattr(options, "users", None)
    with interrupt.handled():
        return verify(
            workload,
            AnswerFile(answers),
            server,
            VerifyOptions(options.threads, users, options.log),
            interrupt.stopping,
        )


@contextmanager
def _answers_path(options: argparse.Namespace) -> Iterator[Path | None]:
    """Give where the answers are recorded: where the user wants them, else a file for the verification only."""
    if options.answers is not None or not options.verify:
        yield options.answers
        return
    with tempfile.TemporaryDirectory(prefix="loadgen-") as folder:
        yield Path(folder) / "answers.jsonl"


def _generate(options: argparse.Namespace) -> int:
    _require_writable(options.out)
    commands = generate(options.users, options.commands, options.symbols, options.seed)
    if options.out is None:
        write(commands, sys.stdout.buffer)
    else:
        with options.out.open("wb") as file:
            write(commands, file)
    return OK


def _server(options: argparse.Namespace, run_id: str) -> Server:
    token = options.token or os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise UsageError(f"a token is needed: --token or the variable {TOKEN_VARIABLE}")
    if not re.fullmatch(r"[!-~]+", token):
        raise UsageError("the token holds characters that a header cannot have")
    target: Target = options.url
    policy = RetryPolicy(options.timeout, options.retries, options.give_up)
    tls = ssl.create_default_context() if target.scheme == "https" else None
    return Server(target, token, run_id, policy, tls)


def _require_writable(path: Path | None) -> None:
    """Find out before a long run that its result could not be written."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")


def _url(text: str) -> Target:
    try:
        return parse_url(text)
    except UrlError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text):
        raise argparse.ArgumentTypeError("must be 1 to 100 of A-Z a-z 0-9 . _ -")
    return text


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
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"must be seconds from 0.001 to 86400, not {text!r}")
    return seconds
