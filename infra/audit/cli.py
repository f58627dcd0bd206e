"""The command line: `python -m infra.audit COMMAND ...`."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from infra.audit.findings import AuditFindings
from infra.audit.logfile import UnreadableLogError, events, opened
from infra.audit.replay import KINDS, Comparison, LogReplay
from infra.audit.summaries import AskedServer, from_file
from infra.host.arguments import add_examples, positive

SOUND, BROKEN, UNCHECKED = 0, 1, 2
"""The exit codes."""

TOKEN_VARIABLE = "AUDIT_TOKEN"  # noqa: S105  # the name of a variable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (UnreadableLogError, ValueError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return UNCHECKED


_CHECK_EXAMPLE = "python -m infra.audit check .data/dumps/all/log.xml"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.audit",
        description="Check audit logs, archive old journals, measure a dump.",
        epilog="exit codes: 0 the log is sound, 1 it is not, 2 it could not be checked.",
    )
    add_examples(parser, _CHECK_EXAMPLE)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="check an audit log by its schema and by replaying it")
    check.set_defaults(run=_check)
    add_examples(check, _CHECK_EXAMPLE, f"{_CHECK_EXAMPLE} --url http://127.0.0.1:8000 --token TOKEN")
    check.add_argument("log", metavar="FILE|URL", help="the log, gzipped or not; - is standard input")
    check.add_argument("--url", help="also compare each account with its summary and its history, from this server")
    check.add_argument("--token", help=f"an operator's, for --url (default: the variable {TOKEN_VARIABLE})")
    check.add_argument("--summaries", type=Path, metavar="FILE", help="likewise, with summaries from a file of lines")
    archive = commands.add_parser("archive", help="archive old journals once, by the settings in the environment")
    archive.set_defaults(run=_archive)
    add_examples(archive, "ARCHIVE_DAYS=30 python -m infra.audit archive")
    bench = commands.add_parser("bench", help="generate a journal in an empty database, dump it, and print the cost")
    bench.set_defaults(run=_bench)
    add_examples(bench, "python -m infra.audit bench --mongo-uri mongodb://127.0.0.1:27017/?replicaSet=rs0 --users 100")
    bench.add_argument("--mongo-uri", required=True)
    bench.add_argument("--database", default="audit_bench", help="it is dropped first (%(default)s)")
    bench.add_argument("--users", type=positive, default=1_000, help="(%(default)s)")
    bench.add_argument("--commands", type=positive, default=1_200_000, help="(%(default)s)")
    bench.add_argument("--place", help="where the log goes, as DUMP_PLACE (default: a temporary folder)")
    return parser


def _check(options: argparse.Namespace) -> int:
    token = options.token or os.environ.get(TOKEN_VARIABLE, "")
    if options.url and not token:
        raise UnreadableLogError(f"--url needs --token or the variable {TOKEN_VARIABLE}")
    findings = AuditFindings()
    replay = LogReplay(findings, time.time_ns() // 1_000_000)
    with opened(options.log) as file:
        for event in events(file, findings):
            replay.take(event)
    replay.end()
    comparison = Comparison(replay)
    if options.summaries:
        for user, summary in from_file(options.summaries):
            comparison.take(user, summary)
    if options.url:
        with AskedServer(options.url, token) as server:
            for user in sorted(replay.cash):
                comparison.take(user, server.summary(user))
                comparison.take_holding(user, *server.holding(user))
    _report(replay, comparison if options.url or options.summaries else None)
    return BROKEN if len(findings) else SOUND


def _report(replay: LogReplay, comparison: Comparison | None) -> None:
    for kind in KINDS:
        print(f"{kind:<20}{replay.kinds[kind]:>12,}")
    print(f"{'events':<20}{replay.kinds.total():>12,}")
    print(f"{'users':<20}{len(replay.cash):>12,}")
    if replay.first_ms:
        print(f"from {_shown(replay.first_ms)} to {_shown(replay.last_ms)}")
    if comparison is not None:
        print(f"summaries: {comparison.equal:,} equal, {comparison.moved_on:,} changed after the log and not compared")
        if comparison.holding_equal or comparison.archived:
            archived = f"{comparison.archived:,} with history in archives and not compared"
            print(f"shares, orders and triggers: {comparison.holding_equal:,} equal, {archived}")
    for line in replay.findings.lines():
        print(line)
    count = len(replay.findings)
    print("the log is sound" if count == 0 else f"the log is not sound: {count:,} findings")


def _shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _archive(_options: argparse.Namespace) -> int:
    from chalicelib.runtime import forget, runtime  # noqa: PLC0415  # needs the settings of the system

    try:
        moved = asdict(runtime().retention.run())
    finally:
        forget()
    print(", ".join(f"{name} {count:,}" for name, count in moved.items()))
    return SOUND


def _bench(options: argparse.Namespace) -> int:
    from infra.audit.bench import bench  # noqa: PLC0415  # needs a database

    measured = bench(options.mongo_uri, options.database, options.users, options.commands, options.place)
    print(json.dumps(asdict(measured), indent=1))
    return SOUND
