import pytest

from loadgen.verify.prices import PriceBook

S = 1000


@pytest.fixture
def book() -> PriceBook:
    return PriceBook()


def test_nothing_is_known_of_a_price_that_was_never_seen(book: PriceBook) -> None:
    assert book.candidates("S", 0, 1, None) == set()
    assert book.only_price() is None


def test_a_price_seen_just_before_and_just_after_was_in_force_between(book: PriceBook) -> None:
    book.saw("S", 700, 10 * S, 11 * S)
    book.saw("S", 700, 30 * S, 31 * S)
    assert book.candidates("S", 12 * S, 13 * S, None) == {700}
    assert book.candidates("T", 12 * S, 13 * S, None) == set()


def test_sightings_need_not_come_in_order(book: PriceBook) -> None:
    book.saw("S", 700, 30 * S, 31 * S)
    book.saw("S", 700, 10 * S, 11 * S)
    assert book.candidates("S", 12 * S, 13 * S, None) == {700}


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ((700, 10), (800, 30), "the price changed"),
        ((700, 10), (700, 72), "a quote in force before may have run out"),
        ((700, 10), (700, 10), "nothing was seen after"),
        ((700, 30), (700, 31), "nothing was seen before"),
    ],
)
def test_else_a_price_is_not_certain(
    book: PriceBook, first: tuple[int, int], second: tuple[int, int], why: str
) -> None:
    for price, at in (first, second):
        book.saw("S", price, at * S, at * S + 500)
    assert book.candidates("S", 12 * S, 13 * S, None) == set(), why


def test_one_price_for_several_symbols_is_the_price_of_all(book: PriceBook) -> None:
    book.saw("S", 700, 10 * S, 11 * S)
    book.saw("T", 700, 10 * S, 11 * S)
    assert book.only_price() == 700
    assert book.candidates("U", 900 * S, 901 * S, None) == {700}


def test_the_log_names_every_quote_and_those_that_may_have_been_in_force_count(book: PriceBook) -> None:
    for price, at in ((1, 0), (2, 100), (3, 160), (4, 300)):
        book.quoted("S", price, at * S)
    book.complete = True
    assert book.candidates("S", 0, 0, 165 * S) == {2, 3}
    assert book.candidates("S", 0, 0, 290 * S) == {4}
    assert book.candidates("S", 0, 0, 250 * S) == set()
    assert book.candidates("T", 0, 0, 165 * S) == set()


def test_a_price_that_was_seen_counts_beside_the_log(book: PriceBook) -> None:
    book.quoted("S", 1, 100 * S)
    book.saw("S", 2, 5 * S, 6 * S)
    book.complete = True
    assert book.candidates("S", 7 * S, 8 * S, 101 * S) == {1, 2}
