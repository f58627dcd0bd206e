"""Transaction numbers: positive, 63 bits, rising, never twice (docs/rules.md section 1)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.clock import now_ms
from chalicelib.domain.commands import MAX_TRANSACTION
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.service.transaction_numbers import PROCESS_BITS, TransactionNumbers
from chalicelib.store.errors import UnknownOutcomeError

SAME_TIME_MS = 1_800_000_000_000


def numbers_of(process: int, clock: Callable[[], int] = now_ms) -> TransactionNumbers:
    return TransactionNumbers(lambda: process, clock)


def test_threads_never_get_the_same_number() -> None:
    numbers = numbers_of(1)
    with ThreadPoolExecutor(8) as pool:
        drawn = [
            number for batch in pool.map(lambda _: [numbers.next() for _ in range(2000)], range(8)) for number in batch
        ]
    assert len(set(drawn)) == len(drawn) == 16_000
    assert all(0 < number <= MAX_TRANSACTION for number in drawn)


def test_numbers_rise_also_when_the_clock_goes_back_or_stands() -> None:
    times = iter([now_ms(), *[now_ms() - 5000] * 500])
    numbers = numbers_of(1, lambda: next(times))
    drawn = [numbers.next() for _ in range(501)]
    assert drawn == sorted(set(drawn))


def test_processes_that_lease_one_after_the_other_never_make_the_same_number_at_the_same_time() -> None:
    """Each makes a hundred in one millisecond, which takes it some milliseconds ahead of the clock."""
    processes = [*range(1, 200), (1 << PROCESS_BITS) - 1, 1 << PROCESS_BITS]
    drawn = [number for process in processes for number in numbers_a_hundred(process)]
    assert len(set(drawn)) == len(drawn)


def numbers_a_hundred(process: int) -> list[int]:
    numbers = numbers_of(process, lambda: SAME_TIME_MS)
    return [numbers.next() for _ in range(100)]


def test_a_process_number_is_used_again_after_all_others_and_stays_in_its_bits() -> None:
    again = numbers_of(7 + (1 << PROCESS_BITS), lambda: SAME_TIME_MS).next()
    assert again == numbers_of(7, lambda: SAME_TIME_MS).next()
    assert PROCESS_BITS >= 16


def test_numbers_rise_from_process_to_process_and_stay_below_two_to_the_63_until_2093() -> None:
    last_ms = 3_881_520_000_000  # 2092-12-31
    first = numbers_of((1 << PROCESS_BITS) - 1, lambda: SAME_TIME_MS).next()
    assert first < numbers_of(0, lambda: SAME_TIME_MS + 1).next() < numbers_of(5, lambda: last_ms).next() < 1 << 63


def test_numbers_go_on_rising_from_those_of_the_builds_before() -> None:
    """They had 41 bits of milliseconds before 22 others, too."""
    old = (SAME_TIME_MS - 1_704_067_200_000) << 22 | (1 << 22) - 1
    assert numbers_of(0, lambda: SAME_TIME_MS + 1).next() > old


def test_without_a_number_of_its_own_a_process_makes_none() -> None:
    def away() -> int:
        raise UnknownOutcomeError("no primary")

    with pytest.raises(StoreUnavailableError, match="no primary"):
        TransactionNumbers(away).next()
