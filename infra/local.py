"""The local stack in the foreground: MongoDB, Redis and the server, started in order, stopped without a trace.

python -m infra.local up --port 8000 --data .data --server gateway --workers 2
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from chalicelib.settings import SettingError
from infra.binaries import BinaryMissingError
from infra.folder import DEFAULT_FOLDER, FolderInUseError, StackFolder, write_privately
from infra.gateway.server import add_server_options
from infra.mongo import DEFAULT_CACHE_GB, DEFAULT_OPLOG_MB
from infra.parts import PartError
from infra.ports import PortTakenError, reserve
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.redis_server import DEFAULT_MEMORY_MB
from infra.stack import DATABASE, LEGACY, Stack, StackOptions, check_settings, parts_in_order, plan
from infra.supervisor import StopRequestedError, StopSignals, Supervisor
from infra.tokens import operator_token

_OPERATOR_HOURS = 30 * 24.0


_EXPLANATION = """
operator's token:  {token}
a trader's token:  .venv/bin/python -m infra.tokens --user jane --data {data}
try it:            curl -H "Authorization: Bearer TOKEN" {url}/users/jane/summary
logs and data:     {data}
Ctrl-C stops everything."""


def up(options: StackOptions, data: Path, *, explain: bool = False) -> int:
    """Run a stack until a signal to stop (0), or until it cannot start or a part dies (1, after saying why).

    With `explain` it also prints how to use it.
    """
    try:
        with StopSignals() as signals:
            folder = StackFolder(data)
            with folder.locked(signals.pause) as lock, contextlib.closing(reserve(options.port)):
                stack = plan(options, folder)
                check_settings(stack)
                _run(stack, Supervisor(folder.logs, signals, [lock]), explain=explain)
    except StopRequestedError:
        return 0
    except (PartError, PortTakenError, FolderInUseError, BinaryMissingError, SettingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(stack: Stack, supervisor: Supervisor, *, explain: bool) -> None:
    try:
        for part in parts_in_order(stack):
            supervisor.start(part)
        with _announced(stack, supervisor.pids) as token:
            print(f"ready {stack.url}", flush=True)
            if explain:
                print(_EXPLANATION.format(token=token, data=stack.folder.path, url=stack.url), flush=True)
            supervisor.watch()
    finally:
        supervisor.stop()


@contextlib.contextmanager
def _announced(stack: Stack, pids: dict[str, int]) -> Iterator[str]:
    """Say in stack.json how to reach the stack; yields the operator's token."""
    token = operator_token(stack.folder.secret(), _OPERATOR_HOURS)
    file = stack.folder.stack_file
    write_privately(
        file,
        {
            "url": stack.url,
            "mongo_uri": stack.mongo_uri,
            "mongo_database": DATABASE,
            "redis_url": stack.redis_url,
            "operator_token": token,
            "pids": pids,
        },
    )
    try:
        yield token
    finally:
        file.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    return up(
        StackOptions(
            port=options.port,
            server=options.server,
            workers=options.workers,
            threads=options.threads,
            connections=options.connections,
            backlog=options.backlog,
            quote_source=options.quote_source,
            quote_delay=options.quote_delay,
            quote_fail=options.quote_fail,
            trigger_seconds=options.trigger_seconds,
            mongo_cache_gb=options.mongo_cache_gb,
            mongo_oplog_mb=options.mongo_oplog_mb,
            redis_memory_mb=options.redis_memory_mb,
        ),
        options.data,
        explain=options.explain,
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description="The local stack.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("up", help="run a stack in the foreground until Ctrl-C")
    command.add_argument("--port", type=int, default=8000, help="of the server (%(default)s)")
    command.add_argument("--data", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")
    command.add_argument("--server", choices=["gateway", "chalice"], default="gateway", help="(%(default)s)")
    add_server_options(command)
    command.add_argument(
        "--quote-source",
        default="simulated:1",
        help=f"as QUOTE_SOURCE, or {LEGACY}: a quote server of the stack's own (%(default)s)",
    )
    command.add_argument("--quote-delay", default=DEFAULT_DELAY, help="of that server's answers (%(default)s)")
    command.add_argument("--quote-fail", type=float, default=DEFAULT_FAIL_RATE, help="how often it does (%(default)s)")
    command.add_argument(
        "--trigger-seconds", type=_seconds, default=5, help="between two sweeps, 0 = off (%(default)s)"
    )
    command.add_argument("--mongo-cache-gb", type=float, default=DEFAULT_CACHE_GB, help="(%(default)s)")
    command.add_argument("--mongo-oplog-mb", type=int, default=DEFAULT_OPLOG_MB, help="(%(default)s)")
    command.add_argument("--redis-memory-mb", type=int, default=DEFAULT_MEMORY_MB, help="(%(default)s)")
    command.add_argument("--explain", action="store_true", help="print a token and how to use the stack, too")
    return parser.parse_args(arguments)


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("takes whole seconds, 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
