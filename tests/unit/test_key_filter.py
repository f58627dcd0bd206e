"""The filter of idempotency keys: none of the last is forgotten, few others are taken for one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.documents import STATE
from chalicelib.store.key_filter import (
    GENERATION_KEYS,
    GENERATIONS,
    KeyFilter,
    block_of,
    filter_from,
    oldest_entry,
)
from chalicelib.store.readers import projection


def filled(count: int) -> tuple[KeyFilter, dict[str, Any]]:
    """Return a filter of keys, and the account that the changes have made of nothing."""
    keys = KeyFilter()
    state: dict[str, Any] = {}
    for number in range(count):
        keys, changes = keys.with_key(f"key-{number}", sequence=number + 1)
        for path, value in changes.items():
            *way, last = path.split(".")
            place = state
            for step in way:
                place = place.setdefault(step, {})
            place[last] = value
    return keys, state


@pytest.mark.parametrize("count", [1, GENERATION_KEYS, GENERATION_KEYS + 1, 2 * GENERATION_KEYS, 3_000])
def test_the_latest_keys_are_all_held(count: int) -> None:
    keys, _ = filled(count)
    assert all(keys.may_hold(f"key-{number}") for number in range(max(0, count - GENERATION_KEYS), count))


@pytest.mark.parametrize("count", [500, GENERATION_KEYS + 1, 2 * GENERATION_KEYS])
def test_few_new_keys_are_taken_for_held_ones(count: int) -> None:
    keys, _ = filled(count)
    wrong = sum(keys.may_hold(f"new-{number}") for number in range(10_000))
    assert wrong < 300


@pytest.mark.parametrize("count", [0, 1, GENERATION_KEYS, GENERATION_KEYS + 1, 3_000])
def test_what_is_changed_in_the_account_is_the_filter(count: int) -> None:
    keys, state = filled(count)
    assert filter_from(state) == keys
    if count:
        assert keys.fields() == state


def test_a_command_changes_one_block_but_for_the_first_of_a_generation() -> None:
    keys, _ = filled(GENERATION_KEYS - 1)
    keys, changes = keys.with_key("the last of it", sequence=7)
    (number, block) = changes
    assert (number, block.split(".")[:2]) == ("keyed", ["keys", GENERATIONS[0]])
    assert len(changes[block]) == 32
    _, changes = keys.with_key("the first of the next", sequence=9)
    assert set(changes) == {"keyed", f"keys.{GENERATIONS[1]}"}
    assert changes[f"keys.{GENERATIONS[1]}"]["from"] == 9


@pytest.mark.parametrize(
    ("count", "oldest"), [(0, None), (1, 1), (GENERATION_KEYS + 1, 1), (2 * GENERATION_KEYS + 1, GENERATION_KEYS + 1)]
)
def test_it_knows_from_which_entry_on_it_holds_keys(count: int, oldest: int | None) -> None:
    assert oldest_entry(filled(count)[1]) == oldest


@given(key=st.text(min_size=1, max_size=128), others=st.lists(st.text(min_size=1), max_size=20))
def test_the_one_block_that_a_key_needs_says_the_same_as_all_of_them(key: str, others: list[str]) -> None:
    whole = KeyFilter()
    for sequence, other in enumerate(others, 1):
        whole, _ = whole.with_key(other, sequence)
    block = block_of(key)
    wanted = {f"{STATE}.{field}" for field in ("keyed", f"keys.a.{block}", f"keys.b.{block}")}
    assert wanted == projection([block]).keys() - projection([""]).keys()
    read = {
        name: {block: generation[block]} if block in generation else {}
        for name, generation in whole.generations.items()
    }
    part = filter_from({"keyed": whole.taken, "keys": read}, block)
    assert part.covers(key)
    assert part.covers(None)
    assert part.may_hold(key) == whole.may_hold(key)
    after, changes = part.with_key(key, 99)
    assert changes == whole.with_key(key, 99)[1]
    assert after.may_hold(key)


def test_a_part_read_for_one_key_is_of_no_use_for_others() -> None:
    block = block_of("one")
    part = filter_from({}, block)
    other = next(f"other-{number}" for number in range(100) if block_of(f"other-{number}") != block)
    assert not part.covers(other)
    with pytest.raises(AssertionError):
        part.with_key(other, 1)
    assert not filter_from({}, block_of(None)).covers("one")
