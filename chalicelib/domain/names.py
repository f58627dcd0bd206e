"""The names in a command: users, stock symbols, file names, order numbers (docs/rules.md sections 1, 3 and 6)."""

import re

from chalicelib.domain.errors import InvalidFilenameError, InvalidOrderError, InvalidSymbolError, InvalidUserError

MAX_FILENAME_BYTES = 200
"""Leaves room for the prefix of an unfinished dump within the 255 bytes of common file systems."""

MAX_ORDER = 2**53 - 1
"""The largest order number; every JSON parser reads it exactly."""

_USER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z]{1,3}", re.ASCII)


def parse_user(value: object, field: str = "user") -> str:
    """Return a user id unchanged. Raises InvalidUserError unless it is 1 to 64 of `A-Z a-z 0-9 _ -`."""
    if not isinstance(value, str) or not _USER.fullmatch(value):
        raise InvalidUserError(field, "must be 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def parse_symbol(value: object, field: str = "symbol") -> str:
    """Return a stock symbol in upper case. Raises InvalidSymbolError unless it is 1 to 3 ASCII letters."""
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise InvalidSymbolError(field, "must be 1 to 3 ASCII letters")
    return value.upper()


def parse_filename(value: object, field: str = "filename") -> str:
    """Return a file name unchanged; `plain_name` gives the name of the file on disk.

    Raises InvalidFilenameError for a name that could escape its folder (a path, `..`), cannot be written (empty, over
    200 bytes) or is misleading (control characters, leading or trailing blanks).
    """
    if not isinstance(value, str):
        raise InvalidFilenameError(field, "must be a string")
    name = plain_name(value)
    if not name or name in {".", ".."}:
        raise InvalidFilenameError(field, "must name a file")
    if "/" in name or "\\" in name:
        raise InvalidFilenameError(field, "must be a plain name, not a path")
    if not name.isprintable() or name != name.strip():
        raise InvalidFilenameError(field, "must be printable, with no blank at either end")
    if len(name.encode("utf-8")) > MAX_FILENAME_BYTES:
        raise InvalidFilenameError(field, f"must be at most {MAX_FILENAME_BYTES} bytes")
    return value


def plain_name(filename: str) -> str:
    """Return a file name without a leading `./`."""
    return filename.removeprefix("./")


def parse_order(value: object, field: str = "order") -> int:
    """Return an order number. Raises InvalidOrderError unless it is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ORDER:
        raise InvalidOrderError(field, "must be the number of an order, a whole number from 1")
    return value
