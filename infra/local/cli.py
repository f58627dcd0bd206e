"""The local stack in the foreground: MongoDB, Redis and the server, started in order, stopped without a trace.

python -m infra.local up --port 8000 --data .data --server gateway --workers 2
python -m infra.local up --servers 2 --replicas 3
python -m infra.local status
python -m infra.local kill gateway-1
python -m infra.local restart gateway-1
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chalicelib.config.settings import SettingError
from infra.host.binaries import BinaryMissingError
from infra.host.ports import PortTakenError, reserve
from infra.local import control
from infra.local.folder import DEFAULT_FOLDER, FolderInUseError, StackFolder, write_privately
from infra.local.process import PartError
from infra.local.services import haproxy
from infra.local.services.mongo import DEFAULT_CACHE_GB, DEFAULT_ELECTION_MS, DEFAULT_OPLOG_MB
from infra.local.services.redis_server import DEFAULT_MEMORY_MB
from infra.local.stack import (
    DATABASE,
    LEGACY,
    FolderMismatchError,
    Stack,
    StackOptions,
    check_programs,
    check_settings,
    parts_in_order,
    plan,
)
from infra.local.supervisor import PartStatus, State, StopRequestedError, StopSignals, Supervisor
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.servers.gateway.server import add_server_options
from infra.tokens import operator_token, page_link, trader_token

_OPERATOR_HOURS = 30 * 24.0


_EXPLANATION = """
the page, as jane: {trader}
as an operator:    {operator}
operator's token:  {token}
a trader's token:  .venv/bin/python -m infra.tokens --user jane --data {data}
                   with --link {url} the address of the page for that trader
try it:            echo "Authorization: Bearer TOKEN" | curl -H @- {url}/users/jane/summary
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
                for remark in check_programs(stack):
                    print(remark, file=sys.stderr)
                _run(stack, Supervisor(folder.logs, signals, [lock]), explain=explain)
    except StopRequestedError:
        return 0
    except (
        PartError,
        PortTakenError,
        FolderInUseError,
        FolderMismatchError,
        BinaryMissingError,
        SettingError,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(stack: Stack, supervisor: Supervisor, *, explain: bool) -> None:
    try:
        for part in parts_in_order(stack):
            supervisor.start(part)
        with (
            contextlib.closing(control.ControlSocket(stack.folder.path, supervisor)) as wishes,
            _announced(stack, supervisor) as (token, announce),
        ):
            print(f"ready {stack.url}", flush=True)
            if explain:
                print(_explanation(stack, token), flush=True)
                if stack.statistics_url is not None:
                    print(f"HAProxy's page:    {stack.statistics_url}", flush=True)

            def look() -> None:
                wishes.look()
                announce()

            supervisor.watch(look)
    finally:
        supervisor.stop()


def _explanation(stack: Stack, token: str) -> str:
    links = {
        "trader": page_link(stack.url, trader_token(stack.folder.secret(), "jane")),
        "operator": page_link(stack.url, token),
    }
    return _EXPLANATION.format(token=token, data=stack.folder.path, url=stack.url, **links)


@contextlib.contextmanager
def _announced(stack: Stack, supervisor: Supervisor) -> Iterator[tuple[str, Callable[[], None]]]:
    """Say in stack.json how to reach the stack; yields the operator's token, and what keeps the file up to date."""
    token = operator_token(stack.folder.secret(), _OPERATOR_HOURS)
    file = stack.folder.stack_file
    written: dict[str, int] = {}

    def announce() -> None:
        nonlocal written
        if (pids := supervisor.pids) == written:
            return
        written = pids
        write_privately(
            file,
            {
                "url": stack.url,
                "statistics_url": stack.statistics_url,
                "mongo_uri": stack.mongo_uri,
                "mongo_database": DATABASE,
                "redis_url": stack.redis_url,
                "operator_token": token,
                "pids": pids,
            },
        )

    announce()
    try:
        yield token, announce
    finally:
        file.unlink(missing_ok=True)


def tell(what: str, name: str, data: Path, seconds: float) -> int:
    """Tell a running stack what to do with a part, wait until that is done and show it; return the exit status."""
    try:
        parts = control.ask(data, what, name)
        if what != "status":
            parts = [control.wait_for(data, name, _WANTED[what], seconds)]
    except control.ControlError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(_line(part) for part in parts))
    return 0


_WANTED = {
    "stop": State.STOPPED,
    "kill": State.STOPPED,
    "restart": State.RUNNING,
    "pause": State.PAUSED,
    "resume": State.RUNNING,
}


def _line(part: PartStatus) -> str:
    return f"{part.name:<14} {part.state:<9} {part.pid or '-':>8}  {part.detail}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    if options.command != "up":
        name, seconds = ("", 0.0) if options.command == "status" else (options.name, options.seconds)
        return tell(options.command, name, options.data, seconds)
    return up(
        StackOptions(
            port=options.port,
            server=options.server,
            servers=options.servers,
            balance=options.balance,
            workers=options.workers,
            connections=options.connections,
            backlog=options.backlog,
            quote_source=options.quote_source,
            quote_delay=options.quote_delay,
            quote_fail=options.quote_fail,
            quote_price=options.quote_price,
            trigger_seconds=options.trigger_seconds,
            replicas=options.replicas,
            election_ms=options.election_ms,
            proxied=options.proxied,
            settable_clocks=options.settable_clocks,
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
    _add_controls(commands)
    command = commands.add_parser("up", help="run a stack in the foreground until Ctrl-C")
    command.add_argument("--port", type=int, default=8000, help="of the server (%(default)s)")
    command.add_argument("--data", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")
    command.add_argument("--server", choices=["gateway", "chalice"], default="gateway", help="(%(default)s)")
    add_server_options(command)
    command.add_argument(
        "--servers", type=_from(1, 16), default=1, help="more than one are put behind HAProxy (%(default)s)"
    )
    command.add_argument(
        "--balance",
        choices=list(haproxy.BALANCES),
        default="user",
        help="which of several servers gets a request: by its user, or each one in turn (%(default)s)",
    )
    command.add_argument(
        "--replicas", type=int, choices=[1, 3, 5], default=1, help="members of the replica set (%(default)s)"
    )
    command.add_argument(
        "--election-ms",
        type=_from(500, 60_000),
        default=DEFAULT_ELECTION_MS,
        help="after so long without a primary a new set elects another (%(default)s)",
    )
    command.add_argument("--proxied", action="store_true", help="put a proxy that can be cut before each member")
    command.add_argument(
        "--settable-clocks",
        action="store_true",
        help="for tests: add what stands in DATA/clocks/NAME, in ms, to the clock of the server NAME and the ticker",
    )
    command.add_argument(
        "--quote-source",
        default="simulated:1",
        help=f"as QUOTE_SOURCE, or {LEGACY}: a quote server of the stack's own (%(default)s)",
    )
    command.add_argument("--quote-delay", default=DEFAULT_DELAY, help="of that server's answers (%(default)s)")
    command.add_argument("--quote-fail", type=float, default=DEFAULT_FAIL_RATE, help="how often it does (%(default)s)")
    command.add_argument("--quote-price", metavar="SOURCE", help="of that server: fixed:PRICE or simulated:SEED")
    command.add_argument(
        "--trigger-seconds", type=_seconds, default=5, help="between two sweeps, 0 = off (%(default)s)"
    )
    command.add_argument("--mongo-cache-gb", type=float, default=DEFAULT_CACHE_GB, help="(%(default)s)")
    command.add_argument("--mongo-oplog-mb", type=int, default=DEFAULT_OPLOG_MB, help="(%(default)s)")
    command.add_argument("--redis-memory-mb", type=int, default=DEFAULT_MEMORY_MB, help="(%(default)s)")
    command.add_argument("--explain", action="store_true", help="print a token and how to use the stack, too")
    return parser.parse_args(arguments)


def _add_controls(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands that go to a running stack."""
    for name, says in {
        "status": "show the parts of a running stack",
        "stop": "stop a part in order: what it has begun is finished",
        "kill": "end a part at once, as a crash would",
        "restart": "start a part again, after stopping it if it runs",
        "pause": "let a part stand still (SIGSTOP)",
        "resume": "let a paused part go on",
    }.items():
        command = commands.add_parser(name, help=says, description=says)
        if name != "status":
            command.add_argument("name", metavar="NAME", help="of the part, as status shows it")
            command.add_argument("--seconds", type=float, default=120.0, help="how long to wait for it (%(default)g)")
        command.add_argument("--data", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")


def _from(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    return number


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError("takes whole seconds, 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
