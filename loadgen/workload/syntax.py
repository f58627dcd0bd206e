"""What can be wrong with a command before any account is looked at (docs/rules.md section 1)."""

import re

from loadgen.workload.amounts import AmountError, parse_cents
from loadgen.workload.commands import has_money
from loadgen.workload.files import Command

_USER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z]{1,3}", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", re.ASCII)


MAX_FILENAME_BYTES = 200

RECORDED_REFUSALS = frozenset(
    {"invalid_amount", "invalid_symbol", "invalid_filename", "invalid_order", "missing_field", "unknown_field"}
)
"""The codes with which a command is refused but still audited (docs/rules.md section 6)."""


def spell_symbol(symbol: str | None) -> str | None:
    """Return a symbol as the audit log writes it, None for an invalid one."""
    return symbol.upper() if symbol is not None and _SYMBOL.fullmatch(symbol) else None


def spell_filename(filename: str | None) -> str | None:
    """Return a file name as the audit log writes it, None for one that is too long."""
    return filename if filename is not None and len(filename.encode()) <= MAX_FILENAME_BYTES else None


def form_problems(command: Command) -> set[str]:
    """Return the codes with which a malformed command may be refused; empty for a valid command."""
    problems = set()
    if command.user is not None and not _USER.fullmatch(command.user):
        problems.add("invalid_user")
    if command.symbol is not None and not _SYMBOL.fullmatch(command.symbol):
        problems.add("invalid_symbol")
    if has_money(command.name):
        try:
            parse_cents(command.value)
        except AmountError:
            problems.add("invalid_amount")
    if command.name == "DUMPLOG":
        name = (command.value or "").removeprefix("./")
        if "/" in name or "\\" in name or name in {"", ".", ".."}:
            problems.add("invalid_filename")
    return problems


def may_be_refused(command: Command) -> bool:
    """Return whether the rules leave open if a command's file name is acceptable."""
    return command.name == "DUMPLOG" and not _PLAIN_NAME.fullmatch((command.value or "").removeprefix("./"))
