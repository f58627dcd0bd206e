"""The clocks can be replaced in one place, also for objects that take them by default."""

import resource
from pathlib import Path

import pytest

from chalicelib import clock
from chalicelib.service.deadline import Deadline


@pytest.fixture
def nanoseconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return what the replaced clocks show; it may be changed."""
    shown = {"wall": 1_700_000_000_123_000_000, "steady": 5_000_000_000}
    monkeypatch.setattr(clock, "wall_ns", lambda: shown["wall"])
    monkeypatch.setattr(clock, "steady_ns", lambda: shown["steady"])
    return shown


def test_every_reading_is_of_the_replaced_clocks(nanoseconds: dict[str, int]) -> None:
    assert clock.now_ms() == 1_700_000_000_123
    assert clock.monotonic_seconds() == 5.0
    assert (clock.moment().wall_ms, clock.moment().steady_ms) == (1_700_000_000_123, 5_000)
    nanoseconds["steady"] += 1_500_000_000
    assert clock.monotonic_seconds() == 6.5


def test_who_takes_the_clocks_by_default_takes_the_replaced_ones(nanoseconds: dict[str, int]) -> None:
    deadline = Deadline(3_000)
    nanoseconds["steady"] += 2_000_000_000
    assert deadline.remaining_seconds() == 1.0


def test_a_test_that_takes_all_descriptors_leaves_the_clock_that_it_has_set(
    nanoseconds: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "clocks" / "server"
    monkeypatch.setattr(clock, "_offset_file", str(file))
    assert clock.now_ms() == 1_700_000_000_123
    clock.set_offset(file, 500)
    assert clock.now_ms() == 1_700_000_000_623
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        assert clock.now_ms() == 1_700_000_000_623
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    file.unlink()
    assert clock.now_ms() == 1_700_000_000_123
