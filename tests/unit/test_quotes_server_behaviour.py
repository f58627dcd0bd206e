"""How slow and how unreliable our quote server is told to be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.quotes.errors import BadAnswerError
from chalicelib.quotes.legacy import MAX_LINE_BYTES, parse_answer
from infra.quote_server.behaviour import beginning, garbage, parse_delay

NOW = 1_700_000_000_000
ANSWER = f"12.50,ABC,jane,{NOW},key\n".encode()


def draws(text: str) -> list[float]:
    delay, source = parse_delay(text), random.Random(1)
    return [delay(source) for _ in range(2_000)]


def test_a_number_is_always_that_long() -> None:
    assert set(draws("2")) == {2.0}


def test_two_numbers_are_a_uniform_delay() -> None:
    drawn = draws("0:4")
    assert 0 <= min(drawn) < 0.1
    assert 3.9 < max(drawn) <= 4
    assert sum(drawn) / len(drawn) == pytest.approx(2, abs=0.1)


def test_an_exponential_delay_has_its_mean_and_an_end() -> None:
    drawn = draws("exp:20")
    assert sum(drawn) / len(drawn) == pytest.approx(19, abs=1.5)
    assert max(drawn) == 60


def test_the_recorded_delay_is_mostly_short_and_else_whole_seconds() -> None:
    drawn = draws("recorded")
    assert sum(0.005 < seconds < 0.013 for seconds in drawn) / len(drawn) == pytest.approx(0.69, abs=0.03)
    for whole, share in ((1, 0.14), (2, 0.08), (3, 0.05), (4, 0.04)):
        assert sum(abs(seconds - whole) < 0.01 for seconds in drawn) / len(drawn) == pytest.approx(share, abs=0.02)


def test_half_an_answer_is_never_taken_for_a_whole_one() -> None:
    with pytest.raises(BadAnswerError, match="4 fields"):
        parse_answer(beginning(ANSWER), "ABC", "jane")


@pytest.mark.parametrize(
    "text", ["", "-1", "4:0", "0:61", "1:2:3", "exp:", "nan", "0:inf", "1e3", "exp:61", "Recorded"]
)
def test_anything_else_is_no_delay(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_delay(text)


@given(st.integers())
def test_garbage_is_never_taken_for_an_answer(seed: int) -> None:
    line = garbage(ANSWER, random.Random(seed))
    with pytest.raises(BadAnswerError):
        parse_answer(line[: MAX_LINE_BYTES + 1], "ABC", "jane")
