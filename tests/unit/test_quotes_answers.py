"""An answer of a quote server is read leniently where that cannot change a price, and refused everywhere else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.quote import Quote
from chalicelib.quotes.errors import BadAnswerError
from chalicelib.quotes.legacy import MAX_CRYPTOKEY_LENGTH, MAX_LINE_BYTES, Address, parse_answer

NOW = 1_700_000_000_000
KEY = "IRrR7UeTO35kSWUgG0QJKmB35sL27FKM7AVhP5qpjCg="
GOOD = f"12.50,ABC,jane,{NOW},{KEY}\n".encode()


def parse(line: bytes) -> Quote:
    return parse_answer(line, "ABC", "jane")


def test_a_good_answer_is_a_quote_with_the_servers_own_time_and_key() -> None:
    assert parse(GOOD) == Quote("ABC", 1250, "jane", NOW, KEY)


@pytest.mark.parametrize(
    ("price", "cents"),
    [("0.01", 1), ("5", 500), ("5.1", 510), ("9.5", 950), ("5.", 500), ("5.000000", 500), ("9.500", 950), (".99", 99)]
    + [(".5", 50), ("007.50", 750), ("1000000000.00", 100_000_000_000), (" 12.50\t", 1250)],
)
def test_a_price_may_have_any_places_that_are_exact_in_cents(price: str, cents: int) -> None:
    assert parse(GOOD.replace(b"12.50", price.encode())).price_cents == cents


@pytest.mark.parametrize(
    "price",
    ["0", "0.00", "-12.50", "+12.50", "12.505", "1000000000.01", "99999999999", "1e3", "", "12,50", "NaN"]
    + ["Infinity", ".", ".00", "0.001", "12.5000001", "1 2.50", "0x10", "1_000", "9" * 300],
)
def test_an_absurd_price_is_no_price(price: str) -> None:
    with pytest.raises(BadAnswerError):
        parse(GOOD.replace(b"12.50", price.encode()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "1 fields"),
        (b"\n", "1 fields"),
        (GOOD[:25], "4 fields"),
        (GOOD.replace(b"12.50,", b""), "4 fields"),
        (GOOD[:15] + b"\n", "4 fields"),
        (GOOD + GOOD, "fields"),
        (GOOD.replace(b"ABC", b"ABD"), "another symbol"),
        (GOOD.replace(b"ABC", b"abc"), "another symbol"),
        (GOOD.replace(b"jane", b"john"), "another user"),
        (GOOD.replace(b",jane", b""), "4 fields"),
        (GOOD.replace(b"\n", b",more\n"), "6 fields"),
        (GOOD.replace(b"jane", "jané".encode()), "not ASCII"),
        (GOOD.replace(str(NOW).encode(), b"yesterday"), "not a number"),
        (GOOD.replace(str(NOW).encode(), b""), "not a number"),
        (GOOD.replace(str(NOW).encode(), b"NaN"), "not a number"),
        (GOOD.replace(str(NOW).encode(), b"9" * 19), "not a number"),
        (GOOD.replace(KEY.encode(), b""), "not printable"),
        (GOOD.replace(KEY.encode(), b"a\x00b"), "not printable"),
        (GOOD.replace(KEY.encode(), b"a b"), "not printable"),
        (GOOD.replace(KEY.encode(), b"k" * (MAX_CRYPTOKEY_LENGTH + 1)), "not printable"),
        (GOOD.replace(KEY.encode(), b"k" * MAX_LINE_BYTES), "too long"),
    ],
)
def test_any_other_fault_of_the_answer_is_a_failed_try_that_says_what_is_wrong(line: bytes, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        parse(line)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"", b"\r", b" \n", b"\x00\n"])
def test_a_line_ends_with_lf_or_crlf_or_the_connection(end: bytes) -> None:
    assert parse(GOOD.replace(b"\n", end)) == parse(GOOD)


def test_fields_may_have_blanks_around_them() -> None:
    assert parse(GOOD.replace(b",", b" ,\t ")) == parse(GOOD)


@pytest.mark.parametrize(
    ("its_time", "audited"),
    [("1699999746000", NOW - 254_000), ("1700000000", 1_700_000_000), ("1700000000.123", 1_700_000_000), ("0", 0)]
    + [("-1", -1), ("+5", 5), ("42.", 42), ("9" * 18, 10**18 - 1)],
)
def test_any_number_is_the_servers_time_and_decides_nothing(its_time: str, audited: int) -> None:
    assert parse(GOOD.replace(str(NOW).encode(), its_time.encode())) == replace(parse(GOOD), timestamp_ms=audited)


@given(st.binary(max_size=600))
def test_no_bytes_make_anything_but_a_quote_or_a_failed_try(line: bytes) -> None:
    with pytest.raises(BadAnswerError):
        parse(line)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3))
def test_a_damaged_answer_never_becomes_a_quote_of_another_symbol_or_user(place: int, damage: bytes) -> None:
    try:
        quote = parse(GOOD[:place] + damage + GOOD[place + 1 :])
    except BadAnswerError:
        return
    assert (quote.symbol, quote.user) == ("ABC", "jane")
    assert 0 < quote.price_cents <= 100_000_000_000


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:4444", Address("127.0.0.1", 4444)),
        ("tcp://quotes.example.org:1", Address("quotes.example.org", 1)),
        ("tcp://[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["tcp://", "tcp://host", "tcp://:4444", "tcp://host:0", "tcp://host:65536", "tcp://host:port", "http://host:1"]
    + ["tcp://host:1/path", "tcp://me@host:1", "tcp://host:1?x", f"tcp://{'a' * 64}.org:1", "tcp:host:1"],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(text)
