"""The local stack in the foreground: MongoDB, Redis and the server, started and stopped in order."""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

from chalicelib.config.settings import SettingError
from infra.host.binaries import BinaryMissingError
from infra.host.folders import FolderError
from infra.host.ports import PortTakenError, reserve
from infra.local import control
from infra.local.arguments import parse
from infra.local.folder import FolderInUseError, StackFolder, existing_secret, write_privately
from infra.local.parts import check_programs, check_settings, parts_in_order
from infra.local.process import PartError
from infra.local.stack import DATABASE, DUMPS, TRACES, FolderMismatchError, Stack, StackOptions, plan
from infra.local.supervisor import PartStatus, State, StopRequestedError, StopSignals, Supervisor
from infra.tokens import RenewedToken, operator_token, page_link, trader_token
from infra.traces.files import read_trace
from infra.traces.waterfall import waterfall

_PRIVATE = 0o077
"""The umask of a stack's files: no access for others."""


_EXPLANATION = """
the page, as jane: {trader}
as an operator:    {operator}
operator's token:  {token}
                   good for a day: the newest stands in {data}/stack.json
a trader's token:  .venv/bin/python -m infra.tokens --user jane --data {data}
                   with --link {url} the address of the page for that trader
try it:            echo "Authorization: Bearer TOKEN" | curl -H @- {url}/users/jane/summary
logs and data:     {data}
Ctrl-C stops everything."""


def up(options: StackOptions, data: Path, *, explain: bool = False) -> int:
    """Run a stack until a signal to stop (0), or until it cannot start or a part dies (1, after a message).

    With `explain` it also prints how to use it.
    """
    os.umask(_PRIVATE)
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
        FolderError,
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
            contextlib.closing(control.ControlSocket(stack.folder.path, supervisor)) as control_socket,
            _announced(stack, supervisor) as (token, announce),
        ):
            print(f"ready {stack.url}", flush=True)
            if explain:
                print(_explanation(stack, token), flush=True)
                if stack.login_port is not None:
                    print(f"sign in:           {stack.url}/ as jane, john or operator", flush=True)
                if stack.statistics_url is not None:
                    print(f"HAProxy's page:    {stack.statistics_url}", flush=True)

            def look() -> None:
                control_socket.poll()
                announce()

            supervisor.watch(look)
    finally:
        supervisor.stop()


def _explanation(stack: Stack, token: str) -> str:
    links = {
        "trader": page_link(stack.url, trader_token(stack.folder.secret(), "jane")),
        "operator": page_link(stack.url, token),
    }
    return _EXPLANATION.format(token=token, data=shlex.quote(str(stack.folder.path)), url=stack.url, **links)


@contextlib.contextmanager
def _announced(stack: Stack, supervisor: Supervisor) -> Iterator[tuple[str, Callable[[], None]]]:
    """Write how to reach the stack to stack.json; yields the operator's token, and a function that updates the file."""
    token = RenewedToken(partial(operator_token, stack.folder.secret()))
    file = stack.folder.stack_file
    written: tuple[dict[str, int], str] | None = None

    def announce() -> None:
        nonlocal written
        if (now := (supervisor.pids, token.current())) == written:
            return
        written = now
        write_privately(
            file,
            {
                "url": stack.url,
                "statistics_url": stack.statistics_url,
                "mongo_uri": stack.mongo_uri,
                "mongo_database": DATABASE,
                "redis_url": stack.redis_url,
                "quote_source": stack.quote_source,
                "traces_url": stack.traces_url,
                "operator_token": now[1],
                "pids": now[0],
            },
        )

    announce()
    try:
        yield token.current(), announce
    finally:
        file.unlink(missing_ok=True)


def show_environment(data: Path) -> int:
    """Print a running stack's settings for a shell to `eval`; return the exit status."""
    folder = data.resolve()
    try:
        facts = json.loads((folder / "stack.json").read_text())
        settings = {
            "MONGO_URI": facts["mongo_uri"],
            "MONGO_DATABASE": facts["mongo_database"],
            "REDIS_URL": facts["redis_url"],
            "QUOTE_SOURCE": facts["quote_source"],
            "AUTH_SECRET": existing_secret(folder),
            "DUMP_PLACE": str(folder / DUMPS),
        }
    except (OSError, ValueError, KeyError):
        print(f"no stack runs in {folder}: start one, or name its folder with --data", file=sys.stderr)
        return 1
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items()))
    return 0


def show_trace(trace: str, data: Path) -> int:
    """Print a trace kept by the stack in `data`, which need not run; return the exit status."""
    folder = data.resolve() / TRACES
    spans = read_trace(folder, trace)
    if not spans:
        hint = "" if folder.is_dir() else "; start the stack with --traces"
        print(
            f"{folder} has no span of trace {trace}: only the latest are kept, and only of sampled traces{hint}",
            file=sys.stderr,
        )
        return 1
    print("\n".join(waterfall(spans)))
    return 0


def tell(what: str, name: str, data: Path, seconds: float) -> int:
    """Tell a running stack what to do with a part, wait for it and show the part; return the exit status."""
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
    options = parse(arguments)
    if options.command == "env":
        return show_environment(options.data)
    if options.command == "trace":
        return show_trace(options.id, options.data)
    if options.command != "up":
        name, seconds = ("", 0.0) if options.command == "status" else (options.name, options.seconds)
        return tell(options.command, name, options.data, seconds)
    names = [field.name for field in fields(StackOptions)]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return up(StackOptions(**given), options.data, explain=options.explain)


if __name__ == "__main__":
    sys.exit(main())
