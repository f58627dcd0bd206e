"""Transaction numbers: positive, 63 bits, never twice."""

from concurrent.futures import ThreadPoolExecutor

from chalicelib.clock import now_ms
from chalicelib.domain.commands import MAX_TRANSACTION
from chalicelib.service.transaction_numbers import TransactionNumbers


def test_threads_never_get_the_same_number() -> None:
    numbers = TransactionNumbers()
    with ThreadPoolExecutor(8) as pool:
        drawn = [
            number for batch in pool.map(lambda _: [numbers.next() for _ in range(2000)], range(8)) for number in batch
        ]
    assert len(set(drawn)) == len(drawn) == 16_000
    assert all(0 < number <= MAX_TRANSACTION for number in drawn)


def test_numbers_rise_also_when_the_clock_goes_back_or_stands() -> None:
    times = iter([now_ms(), *[now_ms() - 5000] * 500])
    numbers = TransactionNumbers(clock=lambda: next(times))
    drawn = [numbers.next() for _ in range(501)]
    assert drawn == sorted(set(drawn))


def test_processes_have_numbers_of_their_own() -> None:
    same_time = 1_800_000_000_000
    first, second = (TransactionNumbers(clock=lambda: same_time) for _ in range(2))
    assert not {first.next() for _ in range(64)} & {second.next() for _ in range(64)}
