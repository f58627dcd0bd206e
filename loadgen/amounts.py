"""Money and counts as answers write them."""

import re

MONEY_FIELDS = frozenset({"cash", "price", "cost", "proceeds", "amount"})
"""The fields of answers that are money."""

_MONEY = re.compile(r"(-?)([0-9]+)\.([0-9]{2})", re.ASCII)


def read_money(value: object) -> int:
    """Return an answer's money in cents. Raises ValueError unless it is a string with two decimal places."""
    match = _MONEY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not money")
    cents = int(match[2]) * 100 + int(match[3])
    return -cents if match[1] else cents


def read_whole(value: object) -> int:
    """Return an answer's whole number. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def spell(cents: int) -> str:
    """Return cents as money is written."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
