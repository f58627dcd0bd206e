"""Money: integer cents inside, decimal strings with two places on the wire (docs/rules.md section 1)."""

import re
from decimal import ROUND_DOWN, Decimal

from chalicelib.domain.errors import InvalidAmountError

MAX_CENTS = 100_000_000_000
"""The largest amount or price a command may give: 1,000,000,000.00."""

_WRITTEN = re.compile(r"0*([0-9]{1,10})(?:\.([0-9]{1,2})0*)?", re.ASCII)
_OUT_OF_RANGE = re.compile(r"-?[0-9]+(?:\.[0-9]{1,2}0*)?", re.ASCII)
"""What else is a decimal: one with a minus, or with too many digits."""

_CENT = Decimal("0.01")


def parse_cents(value: object, field: str = "amount") -> int:
    """Return an amount or price in cents, from a decimal string or a JSON number parsed as int or Decimal.

    Raises InvalidAmountError, naming `field`, unless the value is greater than 0, at most 1,000,000,000.00 and has at
    most two decimal places, not counting trailing zeros. A float is refused: it has lost the digits as written.
    """
    if isinstance(value, str):
        if (written := _WRITTEN.fullmatch(value)) is None:
            if _OUT_OF_RANGE.fullmatch(value) is not None:
                raise _out_of_range(field)
            raise InvalidAmountError(field, "must be digits with at most two decimal places, such as 63511.53")
        return _in_range(int(written[1]) * 100 + int((written[2] or "").ljust(2, "0")), field)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidAmountError(field, "must be a decimal string or number")
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidAmountError(field, "must be a finite number")
    if not 0 < number <= MAX_CENTS // 100:  # before it becomes an integer: 1e999999 is a number too
        raise _out_of_range(field)
    cents = number.quantize(_CENT, ROUND_DOWN)
    if cents != number:
        raise InvalidAmountError(field, "must have at most two decimal places")
    return _in_range(int(cents.scaleb(2)), field)


_DECIMAL = re.compile(r"([+-]?)0*([0-9]{0,40})(?:\.([0-9]{0,2})0*)?", re.ASCII)


def spell_decimal(value: object) -> str | None:
    """Return any decimal that is exact in cents, signed, with two places, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 40:
        text = f"{value:f}"
    match = _DECIMAL.fullmatch(text)
    if match is None or not any(character.isdigit() for character in text):
        return None
    spelled = f"{match[2] or '0'}.{match[3] or '':0<2}"
    return f"-{spelled}" if match[1] == "-" and any(digit not in "0." for digit in spelled) else spelled


def _in_range(cents: int, field: str) -> int:
    if not 0 < cents <= MAX_CENTS:
        raise _out_of_range(field)
    return cents


def _out_of_range(field: str) -> InvalidAmountError:
    return InvalidAmountError(field, "must be greater than 0 and at most 1000000000.00")


def format_cents(cents: int) -> str:
    """Return cents as a decimal string with two places, such as `"63511.53"`."""
    sign = "-" if cents < 0 else ""
    units, rest = divmod(abs(cents), 100)
    return f"{sign}{units}.{rest:02d}"
