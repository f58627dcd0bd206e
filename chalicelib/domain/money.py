"""Money: exact cents inside, decimal strings with two places on the wire (SPEC.md section 1)."""

import re
from decimal import Decimal

from chalicelib.domain.errors import InvalidAmountError

MAX_CENTS = 100_000_000_000
"""The largest amount or price a command may give: 1,000,000,000.00."""

_WRITTEN = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,2})?", re.ASCII)


def parse_cents(value: object, field: str = "amount") -> int:
    """Return an amount or price in cents, from a decimal string or a JSON number parsed as int or Decimal.

    Raises InvalidAmountError, naming `field`, unless the value is greater than 0, at most 1,000,000,000.00 and
    has at most two decimal places. A float is refused: it has lost the digits that were written.
    """
    if isinstance(value, str):
        if not _WRITTEN.fullmatch(value):
            raise InvalidAmountError(field, "must be a decimal number with at most two places, such as 63511.53")
        units, _, rest = value.partition(".")
        return _in_range(int(units) * 100 + int(rest.ljust(2, "0")), field)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidAmountError(field, "must be a decimal string or number")
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidAmountError(field, "must be a finite number")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -2:
        raise InvalidAmountError(field, "must have at most two decimal places")
    if not 0 < number <= MAX_CENTS // 100:  # before it is made an integer: 1e999999 is a number too
        raise _out_of_range(field)
    return _in_range(int(number.scaleb(2)), field)


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
