"""Which idempotency keys are kept: the last 64, those of the last two minutes, and no more than 1,024."""

from chalicelib.store.record import (
    KEPT_KEYS,
    KEPT_KEYS_MS,
    MOST_KEPT_KEYS,
    ClosedPart,
    closed_with,
    key_hash,
)


def part(first: int, until_ms: int, keys: int = 64) -> ClosedPart:
    return ClosedPart(first, until_ms, b"".join(key_hash(f"{first}-{number}") for number in range(keys)))


def kept(*parts: ClosedPart) -> list[int]:
    """Close the parts one after the other; return the first numbers of those that are kept, newest first."""
    closed: tuple[ClosedPart, ...] = ()
    for one in parts:
        closed = closed_with(closed, one)
    return [one.first for one in closed]


def test_old_parts_go_when_64_newer_keys_are_there() -> None:
    hour = 3_600_000
    assert kept(part(1, 0), part(65, hour), part(129, 2 * hour)) == [129]
    assert kept(part(1, 0), part(65, hour, keys=63)) == [65, 1]
    assert kept(part(1, 0), part(65, hour, keys=KEPT_KEYS)) == [65]


def test_parts_of_the_last_two_minutes_stay() -> None:
    assert kept(part(1, 0), part(65, 1), part(129, KEPT_KEYS_MS)) == [129, 65, 1]
    assert kept(part(1, 0), part(65, 1), part(129, KEPT_KEYS_MS + 1)) == [129, 65]


def test_a_busy_user_keeps_no_more_than_the_most() -> None:
    parts = [part(1 + 64 * number, number) for number in range(100)]
    assert len(kept(*parts)) == MOST_KEPT_KEYS // 64


def test_a_part_without_keys_takes_no_room() -> None:
    assert kept(part(1, 0), *(part(65 + number, number, keys=0) for number in range(1000))) == [1]


def test_a_hash_is_found_at_its_own_place_only() -> None:
    one = part(1, 0, keys=10)
    assert all(one.may_hold(key_hash(f"1-{number}")) for number in range(10))
    assert not one.may_hold(key_hash("another"))
    assert not one.may_hold(one.hashes[3:11])
    across = ClosedPart(1, 0, b"x" * 4 + b"ABCDEFGH" + b"y" * 4 + b"ABCDEFGH")
    assert across.may_hold(b"ABCDEFGH")
    assert not ClosedPart(1, 0, across.hashes[:16]).may_hold(b"ABCDEFGH")
    assert not ClosedPart(1, 0, b"").may_hold(b"ABCDEFGH")
