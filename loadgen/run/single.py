"""Single commands, sent one after another as they come: from arguments, a file, or a prompt."""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from loadgen.client.connection import ClientConnection
from loadgen.client.dialect import Verdict
from loadgen.client.encoding import RequestWriter
from loadgen.client.response import Response
from loadgen.client.retry import RetryingClient
from loadgen.dialects.trading import TradingDialect
from loadgen.results.answer_text import as_json, as_text
from loadgen.run.server import Server
from loadgen.workload.commands import COMMANDS
from loadgen.workload.files import Command, WorkloadError, parse

PROMPT = "loadgen> "
FORMS_SHOWN = "\n".join(",".join((name, *form.fields)) for name, form in COMMANDS.items())
_ENDS = {"quit", "exit"}
_HELP = {"help", "?"}


class _SingleTrading(TradingDialect):
    """Commands, each with its own key, and a transaction number only if one was given."""

    key = ""
    numbered = False

    def encode(self, item: Command) -> bytes:
        """Return the request of a command."""
        number = f"X-Transaction-Num: {item.transaction}\r\n" if self.numbered else ""
        return self.request(item, f"Idempotency-Key: {self.key}\r\n{number}")

    def judge(self, response: Response, item: Command | None) -> Verdict:
        """Return the meaning of a response; a command without a number takes the server's."""
        return super().judge(response, item if self.numbered else None)


class SingleCommands:
    """Sends commands over one connection, prints each outcome, and counts failures.

    Each has a key, by default made of the run's id and its position: all its tries are one command to the server.
    """

    def __init__(self, server: Server, output: TextIO, *, json: bool = False, key: str | None = None) -> None:
        """`key` is used for the first command instead of a generated one."""
        self._output = output
        self._json = json
        self._run_id = server.run_id
        self._sent = 0
        self._first_key = key
        self.failed = 0
        writer = RequestWriter(server.target, server.token, server.headers)
        self._dialect = _SingleTrading(writer, server.target, server.run_id)
        connection = ClientConnection(server.target, server.policy.timeout_s, server.tls)
        self._client = RetryingClient(connection, self._dialect, server.policy, threading.Event())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def send(self, line: str) -> None:
        """Send the command in a line and print its outcome. Raises WorkloadError for a line that is not a command."""
        command, self._dialect.numbered = parse_line(line)
        self._sent += 1
        self._dialect.key = key = self._first_key or f"{self._run_id}-{self._sent}"
        self._first_key = None
        outcome = self._client.send(command)
        self.failed += outcome.code != "ok"
        shown = line.strip()
        lines = [as_json(shown, outcome, key)] if self._json else as_text(shown, outcome, key)
        print("\n".join(lines), file=self._output, flush=True)


def parse_line(line: str) -> tuple[Command, bool]:
    """Return the command in a line, and whether it has the optional number. Raises WorkloadError."""
    text = line.strip()
    numbered = text.startswith("[")
    data = text if numbered else f"[1] {text}"
    try:
        (command,) = parse(io.BytesIO(data.encode()), "command").commands
    except WorkloadError as error:
        raise WorkloadError(text[:80] or "nothing", [error.problems[0]._replace(line=0)], 1) from None
    return command, numbered


def lines_of(given: Sequence[str]) -> list[str]:
    """Return the commands in the arguments: a file has one per line, anything else is a command. Raises WorkloadError.

    All are parsed before the first is sent.
    """
    lines: list[str] = []
    for argument in given:
        path = Path(argument)
        with suppress(OSError):  # a command may be too long for a file name
            if path.is_file():
                lines += meant(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
                continue
        lines.append(argument)
    for line in lines:
        parse_line(line)
    return lines


def meant(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines that are neither blank nor comments."""
    return (line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def converse(commands: SingleCommands, ask: Callable[[str], str], output: TextIO) -> None:
    """Prompt for commands, like `input`, until there are no more; errors are explained."""
    print("a command a line, such as ADD,jane,100.00; help lists them, Ctrl-D ends", file=output)
    while True:
        try:
            line = ask(PROMPT)
        except EOFError:
            print(file=output)
            return
        word = line.strip().lower()
        if word in _ENDS:
            return
        if word in _HELP:
            print(FORMS_SHOWN, file=output)
            continue
        for command in meant([line]):
            try:
                commands.send(command)
            except WorkloadError as error:
                print(error, file=output)
