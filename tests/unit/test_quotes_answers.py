"""An answer of the legacy server is a price only when it is right in every field."""

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
    return parse_answer(line, "ABC", "jane", NOW)


def test_a_good_answer_is_a_quote_with_the_servers_own_time_and_key() -> None:
    assert parse(GOOD) == Quote("ABC", 1250, "jane", NOW, KEY, ahead_ms=0)


@pytest.mark.parametrize(
    ("price", "cents"), [("0.01", 1), ("5", 500), ("5.1", 510), ("007.50", 750), ("1000000000.00", 100_000_000_000)]
)
def test_a_price_has_up_to_two_places_and_is_within_bounds(price: str, cents: int) -> None:
    assert parse(GOOD.replace(b"12.50", price.encode())).price_cents == cents


@pytest.mark.parametrize(
    "price",
    ["0", "0.00", "-12.50", "+12.50", "12.505", "1000000000.01", "99999999999", "1e3", "", " 12.50", "12,50", "NaN"]
    + ["Infinity", ".5", "5.", "0x10", "1_000", "12.50 "],
)
def test_an_absurd_price_is_no_price(price: str) -> None:
    with pytest.raises(BadAnswerError):
        parse(GOOD.replace(b"12.50", price.encode()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "no end"),
        (b"\n", "1 fields"),
        (GOOD[:-1], "no end"),
        (GOOD[: len(GOOD) // 2], "no end"),
        (GOOD[:15] + b"\n", "4 fields"),
        (GOOD + b"more", "no end"),
        (GOOD + GOOD, "fields"),
        (GOOD.replace(b"ABC", b"ABD"), "another symbol"),
        (GOOD.replace(b"ABC", b"abc"), "another symbol"),
        (GOOD.replace(b"jane", b"john"), "another user"),
        (GOOD.replace(b",jane", b""), "4 fields"),
        (GOOD.replace(b"\n", b",more\n"), "6 fields"),
        (GOOD.replace(b"jane", "jané".encode()), "not ASCII"),
        (GOOD.replace(str(NOW).encode(), b"yesterday"), "not one in milliseconds"),
        (GOOD.replace(str(NOW).encode(), b"-1"), "not one in milliseconds"),
        (GOOD.replace(str(NOW).encode(), b"9" * 16), "not one in milliseconds"),
        (GOOD.replace(KEY.encode(), b""), "not a printable"),
        (GOOD.replace(KEY.encode(), b"a\x00b"), "not a printable"),
        (GOOD.replace(KEY.encode(), b"a b"), "not a printable"),
        (GOOD.replace(b"\n", b"\r\n"), "not a printable"),
        (GOOD.replace(KEY.encode(), b"k" * (MAX_CRYPTOKEY_LENGTH + 1)), "not a printable"),
        (GOOD.replace(KEY.encode(), b"k" * MAX_LINE_BYTES), "too long"),
    ],
)
def test_any_other_fault_of_the_answer_is_a_failed_try_that_says_what_is_wrong(line: bytes, reason: str) -> None:
    with pytest.raises(BadAnswerError, match=reason):
        parse(line)


def test_the_60_seconds_count_from_the_servers_time() -> None:
    quote = parse_answer(GOOD, "ABC", "jane", NOW + 20_000)
    assert (quote.remaining_ms(NOW + 20_000), quote.remaining_ms(NOW + 60_000)) == (40_000, 0)


def test_a_quote_of_59_seconds_ago_is_one_and_of_60_is_none() -> None:
    assert parse_answer(GOOD, "ABC", "jane", NOW + 59_999).remaining_ms(NOW + 59_999) == 1
    with pytest.raises(BadAnswerError, match="too old"):
        parse_answer(GOOD, "ABC", "jane", NOW + 60_000)


def test_a_time_in_the_future_is_kept_for_the_audit_and_counts_as_now() -> None:
    quote = parse_answer(GOOD, "ABC", "jane", NOW - 86_400_000)
    assert quote.timestamp_ms == NOW
    assert quote.remaining_ms(NOW - 86_400_000) == 60_000


@given(st.binary(max_size=600))
def test_no_bytes_make_anything_but_a_quote_or_a_failed_try(line: bytes) -> None:
    with pytest.raises(BadAnswerError):
        parse(line)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3))
def test_a_damaged_answer_never_becomes_a_quote_of_another_symbol_user_or_time(place: int, damage: bytes) -> None:
    try:
        quote = parse(GOOD[:place] + damage + GOOD[place + 1 :])
    except BadAnswerError:
        return
    assert (quote.symbol, quote.user) == ("ABC", "jane")
    assert 0 < quote.price_cents <= 100_000_000_000
    assert 0 < quote.remaining_ms(NOW) <= 60_000


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
