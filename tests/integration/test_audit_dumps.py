"""DUMPLOG to a folder on a real MongoDB: everything once, in order, also while journals are cut, and all or nothing."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from chalicelib import clock as clock_module
from chalicelib import concurrency
from chalicelib.audit import dumps as dumps_module
from chalicelib.audit import journal as journal_module
from chalicelib.audit.archives import Archives
from chalicelib.audit.dumps import Dumps, HandOver
from chalicelib.audit.folder import FileWriter, Folder
from chalicelib.audit.journal import Bound, Journals, Pace, RemainingMs
from chalicelib.audit.leases import LEASE_MS
from chalicelib.audit.lines import JournalLine
from chalicelib.audit.process import NICENESS, let_others_go_first, write_apart
from chalicelib.clock import OFFSET_FILE, now_ms, set_offset
from chalicelib.config.settings import read_settings
from chalicelib.domain.errors import StoreUnavailableError
from chalicelib.runtime import make_runtime
from chalicelib.store.user_journal import PART_ENTRIES, UserJournal
from infra.audit.journals import FIRST_MS, make_journals
from tests.integration.api import Api, running_api
from tests.integration.audit_parts import dumplog, read_log, transactions
from tests.integration.shop import SECRET, Shop, settings_for

LATER_MS = FIRST_MS + 10**9


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """Return the app on a fresh database, its logs in a folder within a folder."""
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path / "outer" / "place") as api:
        yield api


def dumps_of(shop: Shop, folder: Path, **more: Any) -> Dumps:
    return Dumps(shop.database, Folder(folder), lambda: shop.now_ms, **more)


def trade(shop: Shop, users: int, commands: int) -> None:
    """Give commands of several users in turn, a millisecond after each other; the first number is 1."""
    for number in range(commands):
        shop.now_ms += 1
        shop.does("ADD", amount="1.00", user=f"user{number % users}")


def lines_of(shop: Shop, user: str | None = None, slice_entries: int = 10**9) -> list[JournalLine]:
    journals = Journals(shop.database, Archives(shop.database, Folder(Path("unused"))), Pace(slice_entries))
    return list(journals.lines(user, LATER_MS))


def test_a_log_of_all_holds_each_command_once_in_time_order(shop: Shop, tmp_path: Path) -> None:
    """Open and closed parts, users in turn: the numbers of the commands are the order in which they came."""
    trade(shop, users=3, commands=4 * PART_ENTRIES)
    assert shop.database["journal"].count_documents({}) == 3
    result = dumps_of(shop, tmp_path).write(dumplog(shop.now_ms), "auditor", 1)
    events = read_log(Path(result["location"]).read_bytes())
    assert transactions(events) == list(range(1, 4 * PART_ENTRIES + 1))
    assert result["events"] == len(events) == 8 * PART_ENTRIES


def test_a_log_of_one_user_holds_that_users_commands_once_in_order(shop: Shop, tmp_path: Path) -> None:
    trade(shop, users=3, commands=6 * PART_ENTRIES)
    result = dumps_of(shop, tmp_path).write(dumplog(shop.now_ms, "user1", of_all=False), "user1", 1)
    events = read_log(Path(result["location"]).read_bytes())
    assert transactions(events) == list(range(2, 6 * PART_ENTRIES, 3))
    assert {fields["username"] for _, fields in events} == {"user1"}


def test_a_user_whose_name_begins_like_anothers_has_its_own_log(shop: Shop) -> None:
    for user in ("jane", "jane-1", "jan", "janeZ"):
        for _ in range(PART_ENTRIES + 1):
            shop.does("ADD", amount="1.00", user=user)
    assert {line.user for line in lines_of(shop, "jane")} == {"jane"}
    assert len(lines_of(shop, "jane")) == PART_ENTRIES + 1


def test_nobodys_log_is_empty_and_valid(shop: Shop, tmp_path: Path) -> None:
    result = dumps_of(shop, tmp_path).write(dumplog(shop.now_ms, "nobody", of_all=False), "nobody", 1)
    assert result["events"] == 0
    assert read_log(Path(result["location"]).read_bytes()) == []


def test_entries_of_the_same_moment_stay_together_and_in_the_order_of_their_journal(shop: Shop) -> None:
    for number in range(200):
        shop.does("ADD", amount="1.00", user=f"user{number % 2}")
    places = [line[:3] for line in lines_of(shop)]
    assert places == sorted(places)
    assert len(set(places)) == 200


def test_an_entry_that_stands_in_an_open_and_a_closed_part_comes_once(shop: Shop) -> None:
    """The moment between the copy of a part and the cut of its account, frozen."""
    trade(shop, users=2, commands=2 * PART_ENTRIES)
    UserJournal(shop.database).close_part("user0", shop.accounts.read("user0").version)
    assert shop.database["journal"].count_documents({"user": "user0"}) == 1
    assert [line.sequence for line in lines_of(shop, "user0")] == list(range(1, PART_ENTRIES + 1))
    assert len(lines_of(shop)) == 2 * PART_ENTRIES


def test_slices_of_time_make_the_same_log_as_one_sort(shop: Shop) -> None:
    """However the time is cut, and with parts that lie across the cuts: all users' parts do."""
    make_journals(shop.database, users=20, commands=8_000, per_second=50)
    whole = lines_of(shop)
    assert len(whole) == 8_000
    journals = Journals(shop.database, Archives(shop.database, Folder(Path("unused"))), Pace(500))
    cuts = journals._plan(LATER_MS)
    assert len(cuts) > 5
    assert all(one < other for one, other in pairwise(cuts))
    assert list(journals.lines(None, LATER_MS)) == whole


def test_a_log_written_at_a_pace_lets_mongodb_rest_after_each_slice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as long as the slice took; the first one has nothing to rest from."""
    last_ms = make_journals(shop.database, users=20, commands=8_000, per_second=50)
    done: list[tuple[str, float]] = []
    seconds = count()
    monkeypatch.setattr(journal_module, "monotonic_seconds", lambda: float(next(seconds)))

    class Noting(Journals):
        def _open(self, from_at: Bound, to_at: Bound, remaining_ms: RemainingMs) -> Any:
            done.append(("open", 0.0))
            return super()._open(from_at, to_at, remaining_ms)

    monkeypatch.setattr(concurrency, "sleep", lambda seconds: done.append(("rest", seconds)))
    archives = Archives(shop.database, Folder(Path("unused")))
    assert len(list(Noting(shop.database, archives, Pace(500, rests=2.0)).lines(None, last_ms))) == 8_000
    assert len(done) > 6
    assert done == [("open", 0.0)] + [("rest", 2.0), ("open", 0.0)] * (len(done) // 2)


def test_no_slice_but_the_last_reaches_into_the_last_minute(shop: Shop) -> None:
    """What is added to a slice that was read already would be missing, and what came after it would not."""
    last_ms = make_journals(shop.database, users=20, commands=8_000, per_second=50)
    asked: list[tuple[Bound, Bound]] = []

    class Noting(Journals):
        def _open(self, from_at: Bound, to_at: Bound, remaining_ms: RemainingMs) -> Any:
            asked.append((from_at, to_at))
            return super()._open(from_at, to_at, remaining_ms)

    archives = Archives(shop.database, Folder(Path("unused")))
    assert len(list(Noting(shop.database, archives, Pace(500)).lines(None, last_ms))) == 8_000
    ends = [to_at for _, to_at in asked]
    assert len(ends) > 4
    assert ends[-1] is None
    assert max(end for end in ends if end is not None) <= last_ms - 60_000
    assert [from_at for from_at, _ in asked] == [None, *ends[:-1]]


def test_a_dump_goes_on_behind_any_line(shop: Shop) -> None:
    make_journals(shop.database, users=20, commands=4_000, per_second=50)
    whole = lines_of(shop)
    journals = Journals(shop.database, Archives(shop.database, Folder(Path("unused"))), Pace(500))
    for place in (0, 1, 63, 64, 1_000, 3_998, 3_999):
        assert list(journals.lines(None, LATER_MS, after=whole[place][:3])) == whole[place + 1 :]


def test_a_log_of_one_user_reads_no_more_than_that_users_documents(shop: Shop, tmp_path: Path) -> None:
    make_journals(shop.database, users=50, commands=10_000)
    own = shop.database["journal"].count_documents({"user": "user0000007"}) + 1
    dumps = dumps_of(shop, tmp_path)
    dumps.write(dumplog(shop.now_ms, "user0000009", of_all=False), "user0000009", 1)  # makes the indexes
    shop.database.command("profile", 2)
    dumps.write(dumplog(shop.now_ms, "user0000007", of_all=False), "user0000007", 1)
    shop.database.command("profile", 0)
    read = list(shop.database["system.profile"].find({"ns": {"$regex": r"\.(accounts|journal)$"}}))
    assert sum(operation["docsExamined"] for operation in read) == own


def test_a_dump_while_parts_are_cut_has_every_user_up_to_some_command_and_all_that_was_acknowledged(
    shop: Shop, mongo_uri: str, mongo_database: str
) -> None:
    """Traders go on at full speed, their parts closing again and again, while logs of all and of one are read.

    The journals of others make it take long enough that parts are closed between the first and the last look.
    """
    make_journals(shop.database, users=30, commands=20_000)
    parts_before = shop.database["journal"].estimated_document_count()
    acknowledged = {f"user{number}": 0 for number in range(4)}
    over = threading.Event()

    def keep_trading(user: str) -> None:
        with closing(Shop(settings_for(mongo_uri, mongo_database), now_ms=LATER_MS)) as other:
            while not over.is_set():
                other.does("QUOTE", symbol="ABC", user=user)
                acknowledged[user] += 1

    def complete(lines: list[JournalLine], before: Mapping[str, int]) -> None:
        for user, least in before.items():
            numbers = [line.sequence for line in lines if line.user == user]
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) >= least

    with ThreadPoolExecutor(4) as traders:
        trading = [traders.submit(keep_trading, user) for user in acknowledged]
        try:
            while shop.database["journal"].estimated_document_count() < parts_before + 16:
                before = dict(acknowledged)
                complete(lines_of(shop), before)
                before = {"user0": acknowledged["user0"]}
                complete(lines_of(shop, "user0"), before)
        finally:
            over.set()
        for trader in trading:
            trader.result()


class CountingFolder(Folder):
    """A folder that counts how often a file is begun, and can fail before a file is finished."""

    def __init__(self, root: Path, *, fails: bool = False) -> None:
        super().__init__(root)
        self.begun = 0
        self.fails = fails

    def writer(self, path: str) -> FileWriter:
        self.begun += 1
        return FailingWriter(self._root, path) if self.fails else FileWriter(self._root, path)


class FailingWriter(FileWriter):
    """A writer whose disk is full at the very end."""

    def finish(self) -> None:
        raise OSError("no space left")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_dump_that_fails_leaves_nothing_and_the_log_before_it_as_it_was(shop: Shop, tmp_path: Path) -> None:
    trade(shop, users=1, commands=3)
    dumps_of(shop, tmp_path).write(dumplog(shop.now_ms), "auditor", 1)
    before = (tmp_path / "all" / "log.xml").read_bytes()
    trade(shop, users=1, commands=3)
    failing = CountingFolder(tmp_path, fails=True)
    dumps = Dumps(shop.database, failing, lambda: shop.now_ms)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            dumps.write(dumplog(shop.now_ms), "auditor", 2)
    assert files(tmp_path) == ["all/log.xml"]
    assert (tmp_path / "all" / "log.xml").read_bytes() == before
    failing.fails = False
    dumps.write(dumplog(shop.now_ms), "auditor", 2)
    assert len(transactions(read_log((tmp_path / "all" / "log.xml").read_bytes()))) == 6


def test_the_same_dump_asked_for_at_once_is_written_once(shop: Shop, tmp_path: Path) -> None:
    trade(shop, users=2, commands=200)
    folder = CountingFolder(tmp_path)
    dumps = Dumps(shop.database, folder, lambda: shop.now_ms)
    entry = dumplog(shop.now_ms)
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(dumps.write, entry, "auditor", 1) for _ in range(4)]
        answers = [result.result() for result in results]
    assert folder.begun == 1
    assert all(answer == answers[0] for answer in answers)


def test_a_repeated_dump_is_not_written_again(shop: Shop, tmp_path: Path) -> None:
    folder = CountingFolder(tmp_path)
    dumps = Dumps(shop.database, folder, lambda: shop.now_ms)
    entry = dumplog(shop.now_ms)
    first = dumps.write(entry, "auditor", 1)
    trade(shop, users=1, commands=1)
    assert dumps.write(entry, "auditor", 1) == first
    assert folder.begun == 1


def test_a_writer_that_never_puts_its_log_in_place_holds_up_another_of_that_name_for_a_limited_time(
    shop: Shop, tmp_path: Path
) -> None:
    held = {"_id": "all/log.xml", "latest": 0, "lease": {"by": "another", "until": shop.now_ms + 10**9}}
    shop.database["dumps"].insert_one(held)
    looks = count(step=LEASE_MS / 1000)
    with pytest.raises(StoreUnavailableError, match=r"another log is being put at all/log\.xml"):
        dumps_of(shop, tmp_path, timer=lambda: next(looks)).write(dumplog(shop.now_ms), "auditor", 1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert shop.database["dumps"].find_one({"_id": "all/log.xml"}) == held


@pytest.mark.parametrize("held", ["auditor:1", "all/log.xml"])
def test_the_dump_of_a_server_that_was_killed_is_written_by_the_next_request(
    shop: Shop, tmp_path: Path, held: str
) -> None:
    """Or one that was killed while it put another log in its place.

    The lease has to run out first; the clock goes on by a second whenever it is looked at.
    """
    trade(shop, users=1, commands=3)
    began = shop.now_ms
    lease = {"by": "one that is gone", "until": began + LEASE_MS}
    dump = {"_id": "auditor:1", "user": "auditor", "file": "all/log.xml", "of_all": True, "at": began}
    shop.database["dumps"].insert_many([dump, {"_id": "all/log.xml", "latest": 0}])
    shop.database["dumps"].update_one({"_id": held}, {"$set": {"lease": lease}})
    seconds = count()
    looked: list[int] = []

    def clock() -> int:
        looked.append(began + 1000 * next(seconds))
        return looked[-1]

    folder = CountingFolder(tmp_path)
    result = Dumps(shop.database, folder, clock).write(dumplog(began), "auditor", 1)
    assert (result["events"], folder.begun) == (6, 1)
    assert looked[-1] > began + LEASE_MS


@pytest.mark.usefixtures("apart")
def test_a_server_whose_clock_is_an_hour_ahead_takes_over_no_dump_that_is_being_written(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the server nor in a process of its own."""
    lease = {"by": "another", "until": now_ms() + LEASE_MS}
    dump = {"_id": "auditor:1", "user": "auditor", "file": "all/log.xml", "of_all": True, "at": shop.now_ms}
    shop.database["dumps"].insert_one({**dump, "lease": lease})
    set_offset(tmp_path / "offset", 3_600_000)
    monkeypatch.setenv(OFFSET_FILE, str(tmp_path / "offset"))
    monkeypatch.setattr(clock_module, "_offset_file", str(tmp_path / "offset"))
    with closing(make_runtime(read_settings(os.environ))) as parts:
        assert not parts.dumps.go_on("auditor:1", 60_000)
        write_apart("auditor:1")
        assert files(tmp_path) == ["offset"]
        shop.database["dumps"].update_one({}, {"$set": {"lease.until": 0}})
        assert parts.dumps.go_on("auditor:1", 60_000)


@pytest.mark.parametrize("robbed", ["auditor:1", "all/log.xml"])
def test_one_whose_dump_or_turn_was_taken_over_puts_nothing_in_place(shop: Shop, tmp_path: Path, robbed: str) -> None:
    """It was suspended, and finds out when it goes on: here whenever the clock is looked at, once."""
    trade(shop, users=1, commands=3)
    leased, taken_over = {"_id": robbed, "lease": {"$exists": True}}, {"lease": {"by": "another", "until": 0}}

    class Empty(CountingFolder):
        def writer(self, path: str) -> FileWriter:
            assert files(tmp_path) == []
            return super().writer(path)

    def clock() -> int:
        if folder.begun == 1:
            shop.database["dumps"].update_one(leased, {"$set": taken_over})
        return shop.now_ms

    folder = Empty(tmp_path)
    result = Dumps(shop.database, folder, clock).write(dumplog(shop.now_ms), "auditor", 1)
    assert folder.begun == 2
    assert files(tmp_path) == ["all/log.xml"]
    assert result["events"] == len(read_log((tmp_path / "all" / "log.xml").read_bytes()))


def test_of_two_logs_of_one_name_the_one_asked_for_later_stays_if_it_is_complete_first(
    shop: Shop, tmp_path: Path
) -> None:
    class Overtaken(FileWriter):
        def add(self, piece: bytes) -> None:
            super().add(piece)
            trade(shop, users=1, commands=1)
            dumps_of(shop, tmp_path).write(dumplog(shop.now_ms), "auditor", 2)

    class Slow(Folder):
        def writer(self, path: str) -> FileWriter:
            return Overtaken(self._root, path)

    trade(shop, users=1, commands=1)
    slow = Dumps(shop.database, Slow(tmp_path), lambda: shop.now_ms)
    earlier = slow.write(dumplog(shop.now_ms), "auditor", 1)
    assert earlier["events"] == 2
    assert len(read_log((tmp_path / "all" / "log.xml").read_bytes())) == 4
    assert files(tmp_path) == ["all/log.xml"]
    assert dumps_of(shop, tmp_path).write(dumplog(shop.now_ms), "auditor", 3)["events"] == 4
    trade(shop, users=1, commands=1)
    dumps_of(shop, tmp_path).write(dumplog(shop.now_ms), "auditor", 4)
    assert len(read_log((tmp_path / "all" / "log.xml").read_bytes())) == 6


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("./testLOG", "testLOG"),
        ("testLOG", "testLOG"),
        ("größe €.xml", "größe €.xml"),
        ("\N{MONEY BAG}", "\N{MONEY BAG}"),
        ("a&b<c>'\".xml", "a&b<c>'\".xml"),
        ("..x", "..x"),
        ("...", "..."),
        ("-rf", "-rf"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("x" * 200, "x" * 200),
        ("../x", None),
        ("..", None),
        (".", None),
        ("./", None),
        ("./..", None),
        ("././x", None),
        ("/etc/passwd", None),
        ("a/b", None),
        ("a\\b", None),
        ("", None),
        (" ", None),
        ("x" * 300, None),
        ("\N{EURO SIGN}" * 67, None),
        ("a\0b", None),
        ("a\nb", None),
        ("\u202exml.exe", None),
        ("\ufeffx", None),
    ],
)
def test_a_file_name_is_a_plain_name_and_nothing_is_written_outside_the_place(
    api: Api, tmp_path: Path, given: str, written: str | None
) -> None:
    reply = api.post("/users/jane/dumplog", {"filename": given})
    of_all = api.post("/dumplog", {"filename": given})
    if written is None:
        assert (reply.code, of_all.code) == ("invalid_filename", "invalid_filename")
        assert files(tmp_path) == []
    else:
        expected = [f"outer/place/all/{written}", f"outer/place/users/jane/{written}"]
        assert files(tmp_path) == sorted(expected)
        logged = read_log((tmp_path / expected[1]).read_bytes())
        assert [fields["filename"] for _, fields in logged][-1:] == [given]


def test_a_log_over_http_is_valid_and_holds_what_was_acknowledged(api: Api) -> None:
    api.post("/users/jane/add", {"amount": "50.00"}, X_Transaction_Num="1")
    api.post("/users/jane/buy", {"symbol": "abc", "amount": "25.00"}, X_Transaction_Num="2")
    api.post("/users/jane/sell", {"symbol": "abc", "amount": "25.00"}, X_Transaction_Num="3")
    api.post("/users/john/set-buy-amount", {"symbol": "S", "amount": "25.00"}, X_Transaction_Num="4")
    reply = api.post("/dumplog", {"filename": "log"}, X_Transaction_Num="5")
    events = read_log(Path(reply.body["location"]).read_bytes())
    assert sorted(transactions(events)) == [1, 2, 3, 4, 5]
    assert sorted(transactions(events, "errorEvent")) == [3, 4]
    assert reply.body["events"] == len(events)
    assert "url" not in reply.body


@pytest.fixture
def apart(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dumps:
    """Return dumps to a folder, of which all but the shortest are written by another process; no log is begun here."""
    environment = {
        "MONGO_URI": shop.settings.mongo_uri,
        "MONGO_DATABASE": shop.settings.mongo_database,
        "REDIS_URL": shop.settings.redis_url,
        "AUTH_SECRET": SECRET,
        "QUOTE_SOURCE": "fixed:10.00",
        "DUMP_PLACE": str(tmp_path),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dumps_module, "LONG_ENTRIES", PART_ENTRIES)
    return Dumps(shop.database, NotHere(tmp_path), lambda: shop.now_ms, HandOver(write_apart, None))


class NotHere(Folder):
    """A folder in which this process must begin no file."""

    def writer(self, path: str) -> FileWriter:
        raise AssertionError(f"{path} was begun")


@pytest.mark.parametrize("of_all", [True, False])
def test_a_long_log_is_written_whole_by_a_process_of_its_own_and_never_begun_here(
    apart: Dumps, shop: Shop, tmp_path: Path, *, of_all: bool
) -> None:
    trade(shop, users=1, commands=2 * PART_ENTRIES)
    result = apart.write(dumplog(shop.now_ms, "user0", of_all=of_all), "user0", 1)
    written = Path(result["location"])
    assert transactions(read_log(written.read_bytes())) == list(range(1, 2 * PART_ENTRIES + 1))
    assert [one.name for one in written.parent.iterdir()] == [written.name]
    here = dumps_of(shop, tmp_path / "here").write(dumplog(shop.now_ms, "user0", of_all=of_all), "user0", 2)
    assert here["events"] == result["events"]


def test_a_process_that_writes_a_log_has_the_lowest_priority_in_its_session_and_that_among_sessions() -> None:
    autogroup = Path("/proc/self/autogroup")
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        let_others_go_first(process.pid)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == NICENESS
        if autogroup.exists():
            assert Path(f"/proc/{process.pid}/autogroup").read_text().endswith(f" nice {NICENESS}\n")


def test_a_short_log_beside_long_ones_is_written_at_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps_module, "LONG_ENTRIES", PART_ENTRIES)
    trade(shop, users=1, commands=2 * PART_ENTRIES)
    shop.does("ADD", amount="1.00", user="jane")
    started: list[str] = []
    dumps = dumps_of(shop, tmp_path, hand_over=HandOver(started.append, None))
    assert dumps.write(dumplog(shop.now_ms, "jane", of_all=False), "jane", 1)["events"] == 2
    assert started == []
    with pytest.raises(StoreUnavailableError, match="still being written"):
        dumps.write(dumplog(shop.now_ms), "auditor", 1)
    assert started == ["auditor:1"]


def test_a_process_that_cannot_write_the_log_fails_the_command_and_leaves_nothing(
    apart: Dumps, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same command can be sent again."""
    trade(shop, users=1, commands=2 * PART_ENTRIES)
    monkeypatch.setenv("DUMP_PLACE", "/proc/nowhere")
    with pytest.raises(StoreUnavailableError):
        apart.write(dumplog(shop.now_ms), "auditor", 1)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("DUMP_PLACE", str(tmp_path))
    assert apart.write(dumplog(shop.now_ms), "auditor", 1)["events"] == 4 * PART_ENTRIES
