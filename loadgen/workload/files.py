"""Workload files: one command per line, `[N] COMMAND,user,args`, where N is its transaction number.

The parser checks the format of a line, not its values: the server decides whether an amount is money or a symbol
exists, and its refusal is an answer like any other. Untidy lines (a byte order mark, blank and comment lines, blanks
around a line or its fields, no or several blanks after the number) are fixed and counted, unless the reader is strict.
docs/loadgen.md describes the format.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import BinaryIO, NamedTuple

from loadgen.workload.commands import COMMANDS, WHOLE_LOG

MAX_LINE_BYTES = 4096
"""The longest line, including its end. A longer one is not a command: the file is damaged."""

MAX_PROBLEMS = 20
"""How many problems of a file are reported."""

MAX_TRANSACTION = 2**63 - 1
"""The largest transaction number."""


class Command(NamedTuple):
    """One line of a workload.

    `user` is None for a DUMPLOG of all users. `value` is the command's field besides user and symbol, as written: an
    amount, a price or a file name.
    """

    transaction: int
    name: str
    user: str | None
    symbol: str | None
    value: str | None


class Problem(NamedTuple):
    """Why a line (counted from 1; 0 is the whole file) is not a command."""

    line: int
    reason: str


class WorkloadError(Exception):
    """A workload file that cannot be used; `problems` are the first of its problems, by line."""

    def __init__(self, source: str, problems: list[Problem], total: int) -> None:
        self.source = source
        self.problems = problems
        self.total = total
        lines = [f"{source}: {_where(problem)}{problem.reason}" for problem in problems]
        if total > len(problems):
            lines.append(f"{source}: and {total - len(problems)} more problems")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Workload:
    """The commands of a file, in order; `mended` is how many of its lines were untidy."""

    source: str
    commands: list[Command]
    mended: int = 0

    def users(self) -> list[str]:
        """Return the users, each once, in order of first appearance."""
        return list(dict.fromkeys(command.user for command in self.commands if command.user is not None))


def load(path: Path, *, strict: bool = False) -> Workload:
    """Return the workload in a file. Raises WorkloadError, also if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return parse(file, str(path), strict=strict)
    except OSError as error:
        raise WorkloadError(str(path), [Problem(0, error.strerror or str(error))], 1) from error


def parse(file: BinaryIO, source: str = "workload", *, strict: bool = False) -> Workload:
    """Return the workload in an open file, read line by line.

    Raises WorkloadError naming every bad line; with `strict` also those that would be fixed.
    """
    commands: list[Command] = []
    problems: list[Problem] = []
    total = mended = 0
    lines_of: dict[int, int] = {}
    for number, line in _lines(file):
        parsed = _parse_line(line)
        if isinstance(parsed, str) and not strict and (mended_line := _mended(line, number)) is not None:
            mended += 1
            if not mended_line:
                continue
            parsed = _parse_line(mended_line)
        if isinstance(parsed, Command):
            first = lines_of.setdefault(parsed.transaction, number)
            if first == number:
                commands.append(parsed)
                continue
            parsed = f"transaction number {parsed.transaction} was used before, in line {first}"
        total += 1
        if len(problems) < MAX_PROBLEMS:
            problems.append(Problem(number, parsed))
    if not commands and not problems:
        total = 1
        problems.append(Problem(0, "the file is empty: it has no command"))
    if problems:
        raise WorkloadError(source, problems, total)
    return Workload(source, commands, mended)


def format_command(command: Command) -> str:
    """Return a command as its line in a workload file, without the line end."""
    fields = (field for field in (command.user, command.symbol, command.value) if field is not None)
    return f"[{command.transaction}] {','.join((command.name, *fields))}"


def write(commands: Iterable[Command], file: BinaryIO) -> int:
    """Write commands as a workload file; return how many."""
    count = 0
    for count, command in enumerate(commands, 1):  # noqa: B007 (the last number is the result)
        file.write(f"{format_command(command)}\n".encode())
    return count


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers, without line ends and trailing blanks; blank lines only inside the file.

    A line that is too long is cut just above the limit and its rest is skipped, so memory is bounded.
    """
    number = 0
    blank: list[int] = []
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            rest = raw
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(1 << 20)
            yield number, raw
            continue
        line = raw.rstrip(b" \r\n")
        if not line:
            if len(blank) <= MAX_PROBLEMS:
                blank.append(number)
            continue
        if blank:
            yield from ((position, b"") for position in blank)
            blank.clear()
        yield number, line


_LINE = re.compile(r"\[([1-9][0-9]{0,18})\] ([A-Z_]+),([^,]+)(?:,([^,]+))?(?:,([^,]+))?", re.ASCII)
_UNTIDY = re.compile(rb"\[([^\]]*)\][ \t]*([^ \t].*)")
_BLANKS = b" \t"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ABSENT = 5
_SHAPES: dict[tuple[str, int], tuple[int, int, int]] = {}
"""By name and number of fields: the groups of _LINE that are the user, the symbol and the value; _ABSENT is none."""

for _name, _form in (*COMMANDS.items(), ("DUMPLOG", WHOLE_LOG)):
    _fields = _form.fields
    _SHAPES[_name, len(_fields)] = (
        2 if "user" in _fields else _ABSENT,
        2 + _fields.index("symbol") if "symbol" in _fields else _ABSENT,
        1 + len(_fields) if _fields[-1] in {"amount", "price", "filename"} else _ABSENT,
    )


def _parse_line(raw: bytes) -> Command | str:
    """Return the command in a line, or why it is not one."""
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8: the file is binary or damaged"
    match = _LINE.fullmatch(line)
    if match is None or len(raw) > MAX_LINE_BYTES or not line.isprintable():
        return _diagnose(line, len(raw))
    groups = match.groups()
    number, name, _first, second, third = groups
    shape = _SHAPES.get((name, 1 if second is None else 2 if third is None else 3))
    transaction = int(number)
    if shape is None or transaction > MAX_TRANSACTION or (line.count(" ") > 1 and _has_blank(groups)):
        return _diagnose(line, len(raw))
    fields = (*groups, None)
    user, symbol, value = fields[shape[0]], fields[shape[1]], fields[shape[2]]
    return Command(
        transaction,
        intern(name),
        None if user is None else intern(user),
        None if symbol is None else intern(symbol),
        value,
    )


def _has_blank(groups: tuple[str | None, ...]) -> bool:
    return any(group is not None and group != group.strip() for group in groups)


def _mended(raw: bytes, number: int) -> bytes | None:
    """Return an untidy line fixed, empty if it means nothing; None if it cannot be fixed."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    text = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
    text = text.strip(_BLANKS)
    if not text or text.startswith(b"#"):
        return b""
    match = _UNTIDY.fullmatch(text)
    if match is not None:
        text = b"[%s] %s" % (match[1], b",".join(field.strip(_BLANKS) for field in match[2].split(b",")))
    return None if text == raw else text


def _diagnose(line: str, length: int) -> str:
    """Return why a line is not a command; `length` is that of the line in bytes."""
    if length > MAX_LINE_BYTES:
        return f"the line is longer than {MAX_LINE_BYTES} bytes"
    if not line:
        return "the line is blank; blank lines are allowed only at the end of the file"
    if line.startswith("\ufeff"):
        return "the line begins with a byte order mark"
    if control := _CONTROL.search(line):
        return f"character {control.start() + 1} is a control character: the file is binary or damaged"
    return _diagnose_text(line)


def _diagnose_text(line: str) -> str:
    bracket = re.match(r"\[([^\]]*)\] ", line)
    if bracket is None:
        return "the line does not begin with a transaction number in brackets and a space, such as [17] "
    number = bracket[1]
    if not re.fullmatch(r"[1-9][0-9]{0,18}", number, re.ASCII) or int(number) > MAX_TRANSACTION:
        return f"transaction number {number[:40]!r} is not a whole number from 1 to {MAX_TRANSACTION}"
    name, *fields = line[bracket.end() :].split(",")
    if name not in COMMANDS:
        return f"unknown command {name[:40]!r}"
    return _diagnose_fields(name, fields)


def _diagnose_fields(name: str, fields: list[str]) -> str:
    form = COMMANDS[name].fields
    wanted = ",".join(form)
    if name == "DUMPLOG":
        wanted += f" or {','.join(WHOLE_LOG.fields)}"
    if (name, len(fields)) not in _SHAPES:
        return f"{name} needs {wanted}; the line has {len(fields)} fields"
    for field, value in zip(form[-len(fields) :], fields, strict=True):
        if not value.strip():
            return f"{name} needs {wanted}; its {field} is empty"
        if value != value.strip(" "):
            return f"its {field} has a blank before or after it: {value[:40]!r}"
    return f"{name} needs {wanted}; the line contains a character that cannot be printed"


def _where(problem: Problem) -> str:
    return f"line {problem.line}: " if problem.line else ""
