"""Money and counts as written in commands and answers (docs/rules.md section 1)."""

import re

MONEY_FIELDS = frozenset({"cash", "price", "cost", "proceeds", "amount"})
"""The answer fields that are money."""

_MONEY = re.compile(r"(-?)([0-9]+)\.([0-9]{2})", re.ASCII)


MAX_CENTS = 100_000_000_000
"""The largest amount or price of a command: 1,000,000,000.00."""

_AMOUNT = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,2})0*)?", re.ASCII)


class AmountError(ValueError):
    """An invalid amount or price in a command."""


def parse_cents(value: str | None) -> int:
    """Return a command's amount or price in cents.

    Raises AmountError unless it is a decimal above 0, at most 1,000,000,000.00, and exact in cents.
    """
    match = _AMOUNT.fullmatch(value or "")
    cents = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) if match else 0
    if not 0 < cents <= MAX_CENTS:
        raise AmountError(
            f"{value!r} is not an amount: needs a decimal above 0 with at most two places, such as 63511.53"
        )
    return cents


_NUMBER = re.compile(r"([+-]?)0*([0-9]{0,40})(?:\.([0-9]{0,2})0*)?", re.ASCII)


def spell_number(value: str | None) -> str | None:
    """Return a number of at most two places as the audit log writes it, signed; None for anything else."""
    match = _NUMBER.fullmatch(value or "")
    if match is None or not any(character.isdigit() for character in match[0]):
        return None
    spelled = f"{match[2] or '0'}.{match[3] or '':0<2}"
    return f"-{spelled}" if match[1] == "-" and any(digit not in "0." for digit in spelled) else spelled


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
    """Return cents as money is written on the wire."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
