"""Money is exact, and nothing that is not money becomes some."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.errors import InvalidAmountError
from chalicelib.domain.money import MAX_CENTS, format_cents, parse_cents, spell_decimal


@given(st.integers(min_value=1, max_value=MAX_CENTS))
def test_what_is_written_is_what_is_read(cents: int) -> None:
    assert parse_cents(format_cents(cents)) == cents
    assert parse_cents(Decimal(cents).scaleb(-2)) == cents


@pytest.mark.parametrize(
    ("given", "cents"),
    [
        ("63511.53", 6351153),
        ("1", 100),
        ("0.01", 1),
        ("1.5", 150),
        ("0000000000007", 700),
        (12, 1200),
        (Decimal("1E+2"), 10000),
    ]
    + [("1000000000.00", MAX_CENTS), (1_000_000_000, MAX_CENTS), ("100.000", 10000), ("0.50000", 50)]
    + [("1000000000.000", MAX_CENTS), (Decimal("100.000"), 10000), (Decimal("1." + 5000 * "0"), 100)],
)
def test_decimal_strings_and_numbers_are_money(given: object, cents: int) -> None:
    assert parse_cents(given) == cents


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        "0",
        "0.00",
        "-1",
        "-0.01",
        "+1",
        "1.",
        ".5",
        "1.234",
        "1.0010",
        "1e3",
        "1,000",
        "abc",
        "1000000000.01",
        "٣",
        "1\n",
    ]
    + [
        0,
        -1,
        1_000_000_001,
        Decimal("1.001"),
        Decimal("1.0010"),
        Decimal("1." + 5000 * "0" + "1"),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1E+400"),
        Decimal("1E-400"),
    ]
    + [1.5, True, None, [], {}, {"$gt": ""}, b"1"],
)
def test_everything_else_is_an_invalid_amount_that_names_its_field(given: object) -> None:
    with pytest.raises(InvalidAmountError, match=r"^price: "):
        parse_cents(given, "price")


@pytest.mark.parametrize("given", ["-5", "-0.01", "0", "12345678901", "12345678901.500", "1" * 50, -5, 10**12])
def test_a_decimal_that_is_out_of_range_is_not_said_to_be_no_decimal(given: object) -> None:
    with pytest.raises(InvalidAmountError, match=r"^amount: must be greater than 0 and at most 1000000000\.00$"):
        parse_cents(given)


def test_a_difference_below_zero_is_shown_with_its_sign() -> None:
    assert format_cents(-5) == "-0.05"


def test_an_amount_that_is_refused_is_named_as_the_field_it_stands_in() -> None:
    for more, name in (({}, "amount"), ({"field": "price"}, "price")):
        with pytest.raises(InvalidAmountError) as raised:
            parse_cents("x", **more)
        assert str(raised.value).startswith(name)


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("-73280.58", "-73280.58"),
        ("0", "0.00"),
        ("-0.00", "0.00"),
        ("+5.5", "5.50"),
        ("007", "7.00"),
        (".5", "0.50"),
        ("5.", "5.00"),
        ("1.230000", "1.23"),
        (7, "7.00"),
        (-7, "-7.00"),
        (Decimal("1E+3"), "1000.00"),
        (Decimal("-1.50"), "-1.50"),
        (10**39, f"{10**39}.00"),
    ],
)
def test_any_number_of_at_most_two_places_can_be_recorded_with_its_sign(given: object, spelled: str) -> None:
    assert spell_decimal(given) == spelled


@pytest.mark.parametrize(
    "given",
    ["", ".", "-", "1.234", "1e3", "many", "\u0661", "1 ", "1\n", "1" * 41, 10**41, Decimal("1E+999999")]
    + [Decimal("1E-999999"), Decimal("NaN"), Decimal("Infinity"), Decimal("0.001"), True, None, 1.5, [], {}],
)
def test_what_is_no_such_number_is_not_recorded_as_one(given: object) -> None:
    assert spell_decimal(given) is None
