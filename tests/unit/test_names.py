"""Users, symbols and file names: what is let in."""

import pytest

from chalicelib.domain.errors import InvalidFilenameError, InvalidOrderError, InvalidSymbolError, InvalidUserError
from chalicelib.domain.names import (
    MAX_FILENAME_BYTES,
    MAX_ORDER,
    parse_filename,
    parse_order,
    parse_symbol,
    parse_user,
    plain_name,
)


@pytest.mark.parametrize("user", ["a", "oY01WVirLr", "A-b_9", "x" * 64])
def test_user_ids_are_kept_as_they_are(user: str) -> None:
    assert parse_user(user) == user


@pytest.mark.parametrize("user", ["", "x" * 65, "a b", "a.b", "a:b", "é", "a\n", "٣", "$x", "a/b", None, 7, ["a"]])
def test_other_user_ids_are_refused(user: object) -> None:
    with pytest.raises(InvalidUserError):
        parse_user(user)


@pytest.mark.parametrize(("given", "symbol"), [("S", "S"), ("abc", "ABC"), ("aB", "AB")])
def test_symbols_are_stored_in_upper_case(given: str, symbol: str) -> None:
    assert parse_symbol(given) == symbol


@pytest.mark.parametrize("symbol", ["", "ABCD", "A1", "A ", "ß", "ſ", "A\n", None, 1, {"$ne": ""}])
def test_other_symbols_are_refused(symbol: object) -> None:
    with pytest.raises(InvalidSymbolError):
        parse_symbol(symbol)


@pytest.mark.parametrize(
    ("given", "name"),
    [("./testLOG", "testLOG"), ("log.xml", "log.xml"), ("a b", "a b"), ("..x", "..x"), ("größe.xml", "größe.xml")],
)
def test_plain_file_names_are_accepted_as_given_and_name_a_file_without_a_leading_dot_slash(
    given: str, name: str
) -> None:
    assert parse_filename(given) == given
    assert plain_name(given) == name


@pytest.mark.parametrize(
    "name",
    ["", "./", ".", "..", "../x", "./../x", "././x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "x" * 300, "é" * 101]
    + ["a\x00b", "a\nb", " a", "a ", "\u202ea", "\ud800", None, 3],
)
def test_names_that_could_leave_the_place_are_refused(name: object) -> None:
    with pytest.raises(InvalidFilenameError):
        parse_filename(name)


@pytest.mark.parametrize("name", ["x" * MAX_FILENAME_BYTES, "é" * (MAX_FILENAME_BYTES // 2)])
def test_a_name_may_be_as_long_as_the_limit_and_no_byte_longer(name: str) -> None:
    assert parse_filename(name) == name
    with pytest.raises(InvalidFilenameError, match="must be at most 200 bytes"):
        parse_filename(f"{name}x")


@pytest.mark.parametrize("order", [1, 2, MAX_ORDER])
def test_an_order_is_a_whole_number_from_1(order: int) -> None:
    assert parse_order(order) == order


@pytest.mark.parametrize("order", [0, -1, MAX_ORDER + 1, True, "1", 1.0, None])
def test_what_is_no_number_of_an_order_is_refused(order: object) -> None:
    with pytest.raises(InvalidOrderError):
        parse_order(order)
