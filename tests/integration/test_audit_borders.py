"""Logs of parts that the store closed itself, cut into slices at any time and archived: no line is lost or twice."""

from pathlib import Path
from typing import Any

import pytest

from chalicelib.audit.archives import Archives
from chalicelib.audit.folder import Folder
from chalicelib.audit.journal import Journals
from chalicelib.audit.lines import JournalLine
from chalicelib.audit.retention import DAY_MS, Retention
from chalicelib.store.user_journal import PART_ENTRIES
from tests.integration.shop import Shop

COMMANDS = 4 * PART_ENTRIES + 5
"""Of each user, three of them in a millisecond."""


class CutJournals(Journals):
    """Journals that are read in slices with these ends."""

    cuts: list[int]

    def _plan(self, until_ms: int) -> list[int]:
        return self.cuts


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """Return a shop with two users whose commands, and so their closed parts, lie across each other."""
    for number in range(COMMANDS):
        shop.does("ADD", amount="1.00", user="jane")
        shop.does("ADD", amount="1.00", user="john")
        shop.now_ms += number % 3 == 2
    return shop


def lines(shop: Shop, folder: Path, cuts: list[int], **more: Any) -> list[tuple[int, str, int]]:
    journals = CutJournals(shop.database, Archives(shop.database, Folder(folder)))
    journals.cuts = cuts
    return [line[:3] for line in journals.lines(None, shop.now_ms + DAY_MS, **more)]


def test_a_closed_part_says_when_its_first_and_its_last_entry_were_made(filled: Shop) -> None:
    parts = list(filled.database["journal"].find())
    assert len(parts) == 8
    for part in parts:
        times = [entry["at"] for entry in part["entries"]]
        assert (part["from_at"], part["to_at"], part["count"]) == (times[0], times[-1], len(times))
        assert part["from_at"] < part["to_at"]


@pytest.mark.parametrize("parts_an_archive", [None, 1, 2, 100])
def test_a_part_across_the_border_of_a_slice_gives_each_entry_once(
    filled: Shop, tmp_path: Path, parts_an_archive: int | None
) -> None:
    """A border at the first entry of a part, at its last, beside them and within it; the part archived or not."""
    parts = list(filled.database["journal"].find())
    whole = lines(filled, tmp_path, [])
    assert len(whole) == 2 * COMMANDS
    if parts_an_archive is not None:
        later_ms = filled.now_ms + 2 * DAY_MS
        place = Folder(tmp_path)
        archived = Retention(filled.database, place, lambda: later_ms, 1, parts_an_archive=parts_an_archive).run()
        assert archived.parts >= 4
    borders = sorted({part[end] + beside for part in parts for end in ("from_at", "to_at") for beside in (-1, 0, 1, 9)})
    for border in borders:
        assert lines(filled, tmp_path, [border]) == whole
    assert lines(filled, tmp_path, borders) == whole
    ends = {part["to_at"] for part in parts}
    for place_of_line, line in enumerate(whole):
        if line[0] in ends:
            assert lines(filled, tmp_path, [], after=line) == whole[place_of_line + 1 :]
    for place_of_line in range(0, len(whole), 29):
        assert lines(filled, tmp_path, borders, after=whole[place_of_line]) == whole[place_of_line + 1 :]


def test_one_users_log_goes_over_parts_that_were_archived(filled: Shop, tmp_path: Path) -> None:
    later_ms = filled.now_ms + 2 * DAY_MS
    Retention(filled.database, Folder(tmp_path), lambda: later_ms, 1, parts_an_archive=3).run()
    journals = Journals(filled.database, Archives(filled.database, Folder(tmp_path)))
    found: list[JournalLine] = list(journals.lines("john", later_ms))
    assert [line.sequence for line in found] == list(range(1, COMMANDS + 1))
    assert {line.user for line in found} == {"john"}
