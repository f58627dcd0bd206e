"""Retention on a real MongoDB: old parts move to archives, logs stay the same, and nothing that is of use goes."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from chalice.test import Client

from app import app
from chalicelib.audit import retention as retention_module
from chalicelib.audit.archives import Archives
from chalicelib.audit.folder import FileWriter, Folder
from chalicelib.audit.journal import Journals, Pace
from chalicelib.audit.lines import JournalLine
from chalicelib.audit.places import PlaceError
from chalicelib.audit.retention import DAY_MS, Archived, Retention
from chalicelib.domain.quote import Quote
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hits
from chalicelib.service.account_write import write_for_system
from chalicelib.store.key_filter import GENERATION_KEYS
from chalicelib.store.user_journal import PART_ENTRIES
from infra.audit.cli import main as audit
from infra.audit.journals import FIRST_MS, make_journals
from tests.integration.api import running_api
from tests.integration.audit_parts import read_log, transactions
from tests.integration.shop import Shop, settings_for

LATER_MS = FIRST_MS + 100 * DAY_MS


def retention(shop: Shop, folder: Path, *, days: int = 30, now_ms: int = LATER_MS, **more: Any) -> Retention:
    return Retention(shop.database, Folder(folder), lambda: now_ms, days, **more)


def lines_of(shop: Shop, folder: Path, user: str | None = None, slice_entries: int = 500) -> list[JournalLine]:
    """Return the lines of a log, without what archives leave out."""
    journals = Journals(shop.database, Archives(shop.database, Folder(folder)), Pace(slice_entries))
    return [comparable(line) for line in journals.lines(user, LATER_MS)]


def comparable(line: JournalLine) -> JournalLine:
    entry = {name: value for name, value in line.entry.items() if name not in {"res", "id", "key", "cash"}}
    return line._replace(entry=entry)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_default_keeps_everything(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=3, commands=1_000, keys=False)
    parts = shop.database["journal"].count_documents({})
    assert retention(shop, tmp_path, days=0).run() == Archived(0, 0, 0)
    assert shop.database["journal"].count_documents({}) == parts
    assert files(tmp_path) == []


@pytest.mark.parametrize("parts_an_archive", [1, 7, 1_000])
def test_logs_are_the_same_before_and_after(shop: Shop, tmp_path: Path, parts_an_archive: int) -> None:
    """Of all and of one user, also with archives whose times lie across each other and across slices."""
    make_journals(shop.database, users=10, commands=5_000, per_second=50, keys=False)
    before = lines_of(shop, tmp_path)
    users_before = lines_of(shop, tmp_path, "user0000003")
    parts = shop.database["journal"].count_documents({})
    moved = retention(shop, tmp_path, parts_an_archive=parts_an_archive).run()
    assert moved.parts == parts - 10
    assert moved.entries == 64 * moved.parts
    assert moved.archives == -(-moved.parts // parts_an_archive) == len(files(tmp_path))
    assert shop.database["journal"].count_documents({}) == 10
    assert lines_of(shop, tmp_path) == before
    assert lines_of(shop, tmp_path, slice_entries=10**9) == before
    assert lines_of(shop, tmp_path, "user0000003") == users_before
    for place in (0, 100, 2_500, 4_999):
        journals = Journals(shop.database, Archives(shop.database, Folder(tmp_path)), Pace(500))
        rest = journals.lines(None, LATER_MS, after=before[place][:3])
        assert [comparable(line) for line in rest] == before[place + 1 :]


def test_a_log_of_all_opens_only_the_archives_of_the_time_that_it_has_come_to(shop: Shop, tmp_path: Path) -> None:
    """Also when nothing but the open parts is left in MongoDB."""
    opened: list[BinaryIO] = []
    most = 0

    class Watched(Folder):
        def open(self, path: str) -> BinaryIO:
            nonlocal most
            opened.append(super().open(path))
            most = max(most, sum(not file.closed for file in opened))
            return opened[-1]

    make_journals(shop.database, users=2, commands=5_000, keys=False)
    archives = retention(shop, tmp_path, parts_an_archive=2).run().archives
    journals = Journals(shop.database, Archives(shop.database, Watched(tmp_path)), Pace(500))
    assert len(list(journals.lines(None, LATER_MS))) == 5_000
    assert len(opened) == archives > 6 * most


def test_how_long_a_log_will_be_is_estimated_wherever_its_entries_are(shop: Shop, tmp_path: Path) -> None:
    """Exactly for one user; for all an open part counts as half a closed one."""
    make_journals(shop.database, users=10, commands=5_000, per_second=50, keys=False)
    journals = Journals(shop.database, Archives(shop.database, Folder(tmp_path)))
    before = journals.estimated_entries(None)
    assert abs(before - 5_000) <= 10 * PART_ENTRIES // 2
    assert journals.estimated_entries("user0000003") == len(lines_of(shop, tmp_path, "user0000003"))
    assert retention(shop, tmp_path).run().parts > 10
    assert journals.estimated_entries(None) == before
    assert journals.estimated_entries("user0000003") == len(lines_of(shop, tmp_path, "user0000003"))
    assert journals.estimated_entries("nobody") == 0


def test_an_archive_is_packed_lines_of_json_in_time_order(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=2, commands=5_000)  # more keys than are known
    retention(shop, tmp_path).run()
    (file,) = files(tmp_path)
    assert file.parent == tmp_path / "archive"
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    places = [(line["entry"]["at"], line["user"], line["sequence"]) for line in lines]
    assert places == sorted(places)
    assert {"at", "tx", "cmd", "key", "srv", "cash"} <= set(lines[0]["entry"])
    assert not {"id", "res"} & {name for line in lines for name in line["entry"]}


def test_only_what_is_old_enough_goes(shop: Shop, tmp_path: Path) -> None:
    """The end of a part counts: it is as old as its newest entry."""
    for _ in range(4 * PART_ENTRIES + 1):
        shop.now_ms += DAY_MS // PART_ENTRIES
        shop.does("ADD", amount="1.00")
    ends = sorted(part["to_at"] for part in shop.database["journal"].find({}, {"to_at": 1}))
    now_ms = ends[1] + 30 * DAY_MS
    assert retention(shop, tmp_path, now_ms=now_ms).run().parts == 1
    assert retention(shop, tmp_path, now_ms=now_ms + 1).run().parts == 1
    assert len(lines_of(shop, tmp_path)) == 4 * PART_ENTRIES + 1


KEYED_COMMANDS = 2_700
"""Four of five have a key: so many that the first generation of keys is forgotten, and no other."""


def test_what_repeated_requests_and_histories_need_stays(shop: Shop, tmp_path: Path) -> None:
    """The last 1,024 keys lie many parts back, since some commands had none."""
    for number in range(KEYED_COMMANDS):
        shop.now_ms += 60_000
        shop.does("ADD", amount="1.00", key=f"key-{number}" if number % 5 else None)
    keys = [f"key-{number}" for number in range(KEYED_COMMANDS) if number % 5][-GENERATION_KEYS:]
    history = shop.accounts.with_history(shop.accounts.read("jane")).latest
    moved = retention(shop, tmp_path).run()
    assert moved.parts == GENERATION_KEYS * 5 // 4 // PART_ENTRIES
    shop.accounts._recent.forget("jane")
    for key in keys[:2] + keys[-2:]:
        assert shop.does("ADD", amount="1.00", key=key).replayed
    assert shop.accounts.with_history(shop.accounts.read("jane")).latest == history


def test_parts_full_of_what_the_system_did_do_not_hide_the_latest_commands(shop: Shop, tmp_path: Path) -> None:
    for _ in range(PART_ENTRIES):
        shop.does("ADD", amount="1.00")
    shop.does("QUOTE", symbol="ABC")
    for part in range(5):
        entries = [{"at": FIRST_MS, "tx": 1, "cash": 0, "srv": "s", "ev": [], "id": b""}] * PART_ENTRIES
        first = PART_ENTRIES + 1 + part * PART_ENTRIES
        shop.database["journal"].insert_one(
            {
                "_id": f"jane:{first:015d}",
                "user": "jane",
                "from": first,
                "count": PART_ENTRIES,
                "from_at": FIRST_MS,
                "to_at": FIRST_MS,
                "entries": entries,
            }
        )
    assert retention(shop, tmp_path).run().parts == 0


@pytest.mark.parametrize(("users_known", "looks"), [(100_000, 1), (1, 10)])
def test_each_journal_is_looked_through_once_and_the_systems_goes_like_a_users(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users_known: int, looks: int
) -> None:
    """The system's has no commands, for which it would be needed. Of too many users it is forgotten again."""
    note = partial(note_hits, [Quote("ABC", 1000, "jane", FIRST_MS, "key")], 7)
    for _ in range(700):
        shop.now_ms += 1
        shop.does("ADD", amount="1.00")
        write_for_system(shop.accounts, lambda: shop.now_ms, SYSTEM_JOURNAL, note, 5_000)
    monkeypatch.setattr(retention_module, "_LOOKED_AT", 2)
    monkeypatch.setattr(retention_module, "_USERS_KNOWN", users_known)
    looked_through: list[str] = []

    class Counting(Retention):
        def _needed_of(self, account: Any) -> int:
            looked_through.append(account["_id"])
            return super()._needed_of(account)

    now_ms = shop.now_ms + 4_000 * DAY_MS
    assert Counting(shop.database, Folder(tmp_path), lambda: now_ms, 1).run().parts == 2 * (700 // PART_ENTRIES - 1)
    assert sorted(part["user"] for part in shop.database["journal"].find()) == [SYSTEM_JOURNAL, "jane"]
    assert sorted(looked_through) == [SYSTEM_JOURNAL] * looks + ["jane"] * looks


def test_a_user_without_an_account_keeps_its_parts(shop: Shop, tmp_path: Path) -> None:
    """Something is wrong with it, so nothing is moved."""
    make_journals(shop.database, users=1, commands=300, keys=False)
    shop.database["accounts"].delete_many({})
    assert retention(shop, tmp_path).run().parts == 0


class Killed(BaseException):
    """Ends a run as a kill would: nobody is meant to catch it."""


class DyingRetention(Retention):
    """Dies at a certain step."""

    step = ""

    def _note_as_written(self, archive: Any, file: str) -> bool:
        if self.step == "before it is noted":
            raise Killed
        noted = super()._note_as_written(archive, file)
        if self.step == "before parts are deleted":
            raise Killed
        return noted


class DyingWriter(FileWriter):
    """Is gone in the middle of a file, which it leaves behind."""

    def finish(self) -> None:
        raise Killed

    def abort(self) -> None:
        self._file.close()


class DyingFolder(Folder):
    """Hands out writers that die."""

    def writer(self, path: str) -> FileWriter:
        return DyingWriter(self._root, path)


@pytest.mark.parametrize("step", ["in the file", "before it is noted", "before parts are deleted"])
def test_a_run_that_is_killed_neither_loses_nor_doubles_and_the_next_one_finishes_it(
    shop: Shop, tmp_path: Path, step: str
) -> None:
    make_journals(shop.database, users=10, commands=5_000, keys=False)
    before = lines_of(shop, tmp_path)
    parts = shop.database["journal"].count_documents({})
    place = DyingFolder(tmp_path) if step == "in the file" else Folder(tmp_path)
    dying = DyingRetention(shop.database, place, lambda: LATER_MS, 30)
    dying.step = step
    with pytest.raises(Killed):
        dying.run()
    assert shop.database["journal"].count_documents({}) == parts
    assert lines_of(shop, tmp_path) == before
    assert lines_of(shop, tmp_path, "user0000003") == [line for line in before if line.user == "user0000003"]
    assert retention(shop, tmp_path).run().parts == parts - 10
    assert lines_of(shop, tmp_path) == before
    assert lines_of(shop, tmp_path, "user0000003") == [line for line in before if line.user == "user0000003"]


def test_a_file_that_does_not_hold_what_it_should_deletes_nothing(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=1, commands=300, keys=False)
    before = lines_of(shop, tmp_path)

    class Forgetful(FileWriter):
        def finish(self) -> None:
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(gzip.compress(b""))
            super().finish()

    class ForgetfulFolder(Folder):
        def writer(self, path: str) -> FileWriter:
            return Forgetful(self._root, path)

    run = Retention(shop.database, ForgetfulFolder(tmp_path), lambda: LATER_MS, 30).run()
    assert run == Archived(0, 0, 0)
    assert lines_of(shop, tmp_path) == before
    assert files(tmp_path) == []
    assert shop.database["archives"].count_documents({}) == 0


def test_an_archive_that_cannot_be_written_is_an_error_and_deletes_nothing(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=1, commands=300, keys=False)
    before = lines_of(shop, tmp_path)

    class Full(Folder):
        def writer(self, path: str) -> FileWriter:
            raise PlaceError("no space left")

    with pytest.raises(PlaceError):
        Retention(shop.database, Full(tmp_path), lambda: LATER_MS, 30).run()
    assert lines_of(shop, tmp_path) == before


def test_runs_at_the_same_time_neither_lose_nor_double(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=10, commands=5_000, keys=False)
    before = lines_of(shop, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(retention(shop, tmp_path, parts_an_archive=9).run) for _ in range(3)]
        for run in runs:
            run.result()
    retention(shop, tmp_path).run()
    assert shop.database["journal"].count_documents({}) == 10
    assert lines_of(shop, tmp_path) == before
    assert lines_of(shop, tmp_path, "user0000003") == [line for line in before if line.user == "user0000003"]


def test_logs_read_while_parts_are_archived_are_whole(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=10, commands=8_000, keys=False)
    before = lines_of(shop, tmp_path)
    of_one = [line for line in before if line.user == "user0000003"]
    over = threading.Event()

    def archive() -> None:
        try:
            retention(shop, tmp_path, parts_an_archive=2).run()
        finally:
            over.set()

    with ThreadPoolExecutor(1) as pool:
        archiving = pool.submit(archive)
        while not over.is_set():
            assert lines_of(shop, tmp_path) == before
            assert lines_of(shop, tmp_path, "user0000003") == of_one
        archiving.result()


def test_the_scheduled_function_and_the_command_archive_by_the_settings(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, ARCHIVE_DAYS="30") as api:
        with closing(Shop(settings_for(mongo_uri, mongo_database))) as shop:
            make_journals(shop.database, users=2, commands=500, keys=False)
            parts = shop.database["journal"].count_documents({}) - 2
        with Client(app) as client:
            event = client.events.generate_cw_event("aws.events", "Scheduled Event", {}, [], "eu-west-1")
            moved = client.lambda_.invoke("archive", event).payload
        assert moved == {"archives": 1, "parts": parts, "entries": 64 * parts}
        log = read_log(Path(api.post("/dumplog", {"filename": "log"}).body["location"]).read_bytes())
        assert transactions(log)[:500] == list(range(1, 501))
        assert audit(["archive"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "archives 0, parts 0, entries 0"
