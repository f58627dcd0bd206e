"""The command line of the local stack."""

import argparse
import re
from collections.abc import Sequence

from infra.host.arguments import add_examples, decimal, folder_name, port, whole
from infra.local.folder import DEFAULT_FOLDER
from infra.local.services import haproxy, login
from infra.local.services.mongo import DEFAULT_CACHE_GB, DEFAULT_ELECTION_MS, DEFAULT_OPLOG_MB
from infra.local.services.redis_server import DEFAULT_MEMORY_MB
from infra.local.stack import LEGACY
from infra.quote_server.behaviour import parse_delay
from infra.quote_server.cli import DEFAULT_DELAY, DEFAULT_FAIL_RATE
from infra.servers.gateway.server import add_server_options

_PROG = "python -m infra.local"
_UP_EXAMPLES = ("up --port 8000 --data .data --server gateway --workers 2", "up --servers 2 --replicas 3")
_EXAMPLE_PART = "gateway-1"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line: its `command`, and for `up` the fields of StackOptions."""
    parser = argparse.ArgumentParser(
        prog=_PROG,
        description="The local stack: MongoDB, Redis and the server, started and stopped in order.",
    )
    add_examples(parser, *(f"{_PROG} {example}" for example in (*_UP_EXAMPLES, "status", "kill gateway-1")))
    commands = parser.add_subparsers(dest="command", required=True)
    _add_controls(commands)
    _add_trace(commands)
    says = "run a stack in the foreground until Ctrl-C"
    command = commands.add_parser("up", help=says, description=f"{says.capitalize()}.")
    add_examples(command, *(f"{_PROG} {example}" for example in _UP_EXAMPLES))
    command.add_argument("--port", type=port, default=8000, help="of the server (%(default)s)")
    command.add_argument("--data", type=folder_name, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")
    command.add_argument("--server", choices=["gateway", "chalice"], default="gateway", help="(%(default)s)")
    add_server_options(command)
    command.add_argument("--servers", type=whole(1, 16), default=1, help="several are put behind HAProxy (%(default)s)")
    command.add_argument(
        "--workers", type=whole(1, 64), default=1, help="processes for each server, which are servers too (%(default)s)"
    )
    command.add_argument(
        "--balance",
        choices=list(haproxy.BALANCES),
        default="user",
        help="how HAProxy picks a server: by user, or each in turn (%(default)s)",
    )
    command.add_argument(
        "--replicas", type=int, choices=[1, 3, 5], default=1, help="members of the replica set (%(default)s)"
    )
    command.add_argument(
        "--election-ms",
        type=whole(500, 60_000),
        default=DEFAULT_ELECTION_MS,
        help="how long a new set is without a primary before it elects one (%(default)s)",
    )
    command.add_argument("--proxied", action="store_true", help="put a proxy that can be cut before each member")
    command.add_argument(
        "--traces", action="store_true", help="keep traces of commands and sweeps: see `trace` (needs OpenTelemetry)"
    )
    command.add_argument(
        "--linked-code",
        action="store_true",
        help="for tests: the server NAME runs the code that DATA/code/NAME links to at its start",
    )
    command.add_argument(
        "--settable-clocks",
        action="store_true",
        help="for tests: add the ms in DATA/clocks/NAME to the clock of the server NAME and of the ticker",
    )
    command.add_argument(
        "--quote-source",
        default="simulated:1",
        help=f"as QUOTE_SOURCE, or {LEGACY}: the stack's own quote server (%(default)s)",
    )
    command.add_argument("--quote-delay", type=_delay, help=f"of that server's answers ({DEFAULT_DELAY})")
    command.add_argument("--quote-fail", type=decimal(0, 1, "a share"), help=f"share that fails ({DEFAULT_FAIL_RATE})")
    command.add_argument("--quote-price", metavar="SOURCE", help="of that server: fixed:PRICE or simulated:SEED")
    command.add_argument(
        "--trigger-seconds", type=whole(0, 3_600), default=5, help="between two sweeps, 0 = off (%(default)s)"
    )
    command.add_argument(
        "--mongo-cache-gb", type=decimal(0.25, 10_000, "GB"), default=DEFAULT_CACHE_GB, help="(%(default)s)"
    )
    command.add_argument("--mongo-oplog-mb", type=whole(1, 1_000_000), default=DEFAULT_OPLOG_MB, help="(%(default)s)")
    command.add_argument("--redis-memory-mb", type=whole(1, 1_000_000), default=DEFAULT_MEMORY_MB, help="(%(default)s)")
    command.add_argument("--login", action="store_true", help="start a login provider for the page")
    command.add_argument("--login-seconds", type=whole(1, 86_400), help=f"of its tokens ({login.DEFAULT_SECONDS})")
    command.add_argument("--explain", action="store_true", help="print a token and how to use the stack, too")
    options = parser.parse_args(arguments)
    if options.command == "up":
        options.servers *= options.workers
        legacy = f"--quote-source {LEGACY}", options.quote_source == LEGACY
        owners = dict.fromkeys(("quote_delay", "quote_fail", "quote_price"), legacy)
        owners["login_seconds"] = "--login", options.login
        for name, (owner, is_given) in owners.items():
            if getattr(options, name) is not None and not is_given:
                command.error(f"--{name.replace('_', '-')} is for {owner}")
    return options


def _add_controls(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands for a running stack."""
    for name, says in {
        "status": "show the parts of a running stack",
        "env": "print the settings of a running stack, for `eval` in a shell",
        "stop": "stop a part in order: what it has begun is finished",
        "kill": "end a part at once, as a crash would",
        "restart": "start a part again, after stopping it if it runs",
        "pause": "let a part stand still (SIGSTOP)",
        "resume": "let a paused part go on",
    }.items():
        command = commands.add_parser(name, help=says, description=says)
        wanted = f" {_EXAMPLE_PART}" if name not in {"status", "env"} else ""
        example = f"{_PROG} {name}{wanted}"
        add_examples(command, f'eval "$({example})"' if name == "env" else example)
        if wanted:
            command.add_argument("name", metavar="NAME", help="of the part, as status shows it")
            command.add_argument(
                "--seconds",
                type=decimal(0, 86_400, "seconds"),
                default=120.0,
                help="how long to wait for it (%(default)g)",
            )
        command.add_argument("--data", type=folder_name, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")


def _add_trace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    says = "show a trace of a stack that was started with --traces, as a waterfall"
    command = commands.add_parser("trace", help=says, description=f"{says.capitalize()}.")
    add_examples(command, f"{_PROG} trace 0af7651916cd43dd8448eb211c80319c")
    command.add_argument(
        "id", metavar="ID", type=_trace_id, help="32 hexadecimal digits: `trace_id` in the servers' logs"
    )
    command.add_argument("--data", type=folder_name, default=DEFAULT_FOLDER, metavar="DIR", help="(%(default)s)")


def _trace_id(text: str) -> str:
    if re.fullmatch("[0-9a-f]{32}", text.lower()) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a trace id: needs 32 hexadecimal digits")
    return text.lower()


def _delay(text: str) -> str:
    try:
        parse_delay(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
