"""The optimistic loop and its time: what is tried again, when, and what is said when the time is over."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from chalicelib import concurrency
from chalicelib.domain.account import Account
from chalicelib.domain.decide import Decision
from chalicelib.domain.errors import ClockSkewError, StoreUnavailableError, TooLateError
from chalicelib.domain.journal import OK, Entry
from chalicelib.observe.timing import CommandTimer
from chalicelib.service.account_write import AccountWrite, Written, write_for_system
from chalicelib.service.deadline import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Deadline
from chalicelib.store.errors import LostRaceError, UnknownOutcomeError
from chalicelib.store.record import Record
from chalicelib.store.user_journal import Found

START_MS = 1_700_000_000_000
LIMIT_MS = 1_000


@dataclass
class Time:
    """A time that passes only when somebody pauses, or a test lets it; `pauses` are the seconds of each."""

    seconds: float = 0.0
    stepped_ms: int = 0
    pauses: list[float] = field(default_factory=list)

    def now_ms(self) -> int:
        return START_MS + round(self.seconds * 1000) + self.stepped_ms

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds

    def deadline(self, limit_ms: int = LIMIT_MS, arrived_ms: int | None = None) -> Deadline:
        return Deadline(limit_ms, arrived_ms, self.now_ms, self.monotonic)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(concurrency, "sleep", time.sleep)
    return time


def test_pauses_grow_at_random_to_a_longest_and_the_last_one_ends_with_the_time(time: Time) -> None:
    longest = [0.0] * 12
    for _ in range(200):
        deadline = time.deadline(60_000)
        time.pauses.clear()
        for place in range(len(longest)):
            assert deadline.pause()
            longest[place] = max(longest[place], time.pauses[-1])
    bounds = [min(FIRST_PAUSE_SECONDS * 2**place, LONGEST_PAUSE_SECONDS) for place in range(len(longest))]
    assert all(bound * 0.8 < found <= bound for found, bound in zip(longest, bounds, strict=True))
    deadline = time.deadline()
    end = time.seconds + LIMIT_MS / 1000
    while deadline.pause():
        assert time.seconds <= end + 1e-9
    assert time.seconds == pytest.approx(end, abs=0.002)


def test_the_first_pause_is_a_small_part_of_a_commands_time() -> None:
    """Most who lose a race win the next: a first pause as long as the last would be most of what they wait."""
    assert 0 < FIRST_PAUSE_SECONDS * 1000 <= min(LIMIT_MS / 100, LONGEST_PAUSE_SECONDS * 1000 / 10)


@pytest.mark.parametrize(
    ("arrived_ms", "remaining"),
    [(None, 1.0), (START_MS - 400, 0.6), (START_MS - LIMIT_MS, 0.0), (START_MS - 10**9, 0.0), (START_MS + 10**9, 1.0)],
)
def test_the_time_counts_from_the_arrival_and_one_that_lies_ahead_is_now(
    time: Time, arrived_ms: int | None, remaining: float
) -> None:
    assert time.deadline(arrived_ms=arrived_ms).remaining_seconds() == pytest.approx(remaining)


def test_the_time_is_up_when_either_clock_says_so(time: Time) -> None:
    """A machine that slept, or a function that was frozen, may see only one of them go on."""
    deadline = time.deadline()
    time.stepped_ms = 400
    assert deadline.remaining_seconds() == pytest.approx(0.6)
    time.stepped_ms = LIMIT_MS
    assert deadline.remaining_seconds() == 0.0
    time.stepped_ms = -(10**6)
    assert deadline.remaining_seconds() > 0.0
    time.seconds += LIMIT_MS / 1000
    assert deadline.remaining_seconds() == 0.0


def entry_of(key: str | None, number: int = 1) -> Entry:
    return Entry(number, START_MS, None, None, None, None, False, key, OK, None, 0, (), {})


@dataclass
class ScriptedStore:
    """A store of one account in memory. The script is what becomes of each save; `happens` is called before each read.

    save           it is applied and confirmed
    lose           another write came first
    vanish         it is not applied, and nobody says so
    deafen         it is applied, and nobody says so
    save and lose  it is applied, and said to have lost
    """

    script: list[str] = field(default_factory=list)
    remembered: Record | None = None
    happens: Callable[[], object] = lambda: None
    reads: int = 0
    journal: list[Found] = field(default_factory=list)

    def make_indexes(self) -> None: ...

    def kept(self, user: str, key: str | None = None) -> Record | None:
        return self.remembered

    def read(self, user: str, key: str | None = None, *, with_latest: bool = False) -> Record:
        self.happens()
        self.reads += 1
        return Record(Account(user), version=len(self.journal))

    def save(self, record: Record, account: Account, entry: Entry, attempt: bytes) -> Record:
        self.remembered = None
        does = self.script.pop(0) if self.script else "save"
        if does == "lose" or record.version != len(self.journal):
            raise LostRaceError(account.user)
        if does != "vanish":
            self.journal.append(Found(entry, record.version + 1, attempt))
        if does in {"deafen", "vanish"}:
            raise UnknownOutcomeError("no answer")
        if does == "save and lose":
            raise LostRaceError(account.user)
        return replace(record, version=record.version + 1)

    def find_key(self, record: Record, key: str) -> Found | None:
        return next((found for found in self.journal if found.entry.key == key), None)

    def find_attempt(self, record: Record, attempt: bytes, since: int) -> Found | None:
        return next((found for found in self.journal[since:] if found.attempt == attempt), None)

    def with_history(self, record: Record) -> Record:
        return record


def write_of(store: ScriptedStore, time: Time, key: str | None = None) -> AccountWrite:
    return AccountWrite(store, time.now_ms, "jane", time.deadline(), key=key)


def decides(key: str | None = None) -> Callable[[Record, int], Decision]:
    return lambda record, _: Decision(record.account, entry_of(key))


@pytest.mark.parametrize("key", [None, "a key"])
@pytest.mark.parametrize("script", [["save"], ["lose", "save"], ["deafen"], ["vanish", "save"], ["deafen", "lose"]])
def test_a_change_is_made_once_whatever_becomes_of_its_tries(time: Time, key: str | None, script: list[str]) -> None:
    store = ScriptedStore(list(script))
    written = write_of(store, time, key).carry_out(decides(key))
    assert len(store.journal) == 1
    assert (written.found, written.replayed) == (store.journal[0], False)
    assert written.lost_races == script.count("lose") * (script[0] == "lose")


def test_a_write_that_lost_a_race_against_itself_is_not_said_to_be_replayed(time: Time) -> None:
    store = ScriptedStore(["save and lose"])
    timer = CommandTimer()
    write = AccountWrite(store, time.now_ms, "jane", time.deadline(), key="a key", timer=timer)
    written = write.carry_out(decides("a key"))
    assert (written.found, written.replayed, written.lost_races) == (store.journal[0], False, 1)
    assert (written.entry, timer.lost_races, timer.kept) == (store.journal[0].entry, 1, False)
    assert (Written(None).entry, Written(None).lost_races) == (None, 0)


def test_what_another_request_with_the_key_made_meanwhile_is_said_to_be_replayed(time: Time) -> None:
    store = ScriptedStore()
    write = write_of(store, time, "a key")
    assert write.earlier_outcome() is None
    other = Found(entry_of("a key"), 1, b"another!")
    store.journal.append(other)
    assert write.carry_out(decides("a key")) == (other, True, 1)


def test_the_record_in_which_the_key_was_looked_for_is_decided_on(time: Time) -> None:
    store = ScriptedStore()
    write = write_of(store, time, "a key")
    assert write.earlier_outcome() is None
    write.carry_out(decides("a key"))
    assert store.reads == 1


def test_two_unknown_outcomes_are_looked_for_from_the_version_of_the_first(time: Time) -> None:
    """The first try was applied and nobody said so; others wrote, a second try met an outage, then it is looked for."""
    store = ScriptedStore(["deafen", "vanish"])
    find_attempt = store.find_attempt
    looked_from: list[int] = []

    def blind_once(record: Record, attempt: bytes, since: int) -> Found | None:
        looked_from.append(since)
        return None if len(looked_from) == 1 else find_attempt(record, attempt, since)

    store.find_attempt = blind_once  # type: ignore[method-assign]
    store.happens = lambda: store.journal.append(Found(entry_of(None), len(store.journal) + 1, b"another!"))
    written = write_of(store, time).carry_out(decides())
    assert looked_from == [1, 1]
    assert written.found is not None
    assert written.found.sequence == 2


def test_a_race_lost_on_a_kept_record_is_tried_again_at_once_and_one_on_a_fresh_record_after_a_pause(
    time: Time,
) -> None:
    store = ScriptedStore(["lose"], remembered=Record(Account("jane")))
    write_of(store, time).carry_out(decides())
    assert time.pauses == []
    store = ScriptedStore(["lose"])
    write_of(store, time).carry_out(decides())
    assert len(time.pauses) == 1
    write = write_of(ScriptedStore(["lose"]), time, "a key")
    assert write.earlier_outcome() is None  # reads the record that is decided on
    write.carry_out(decides("a key"))
    assert len(time.pauses) == 2


def test_a_change_of_the_system_is_not_decided_on_a_kept_record(time: Time) -> None:
    """An old one could say that there is nothing to do, and no guard checks what is not written."""
    store = ScriptedStore(remembered=Record(Account("jane", cash_cents=7)))
    shown: list[int] = []

    def nothing(account: Account, _: int) -> None:
        shown.append(account.cash_cents)

    assert write_for_system(store, time.now_ms, "jane", nothing, LIMIT_MS) == (None, False, 0)
    assert shown == [0]


def test_nothing_is_decided_after_the_time(time: Time) -> None:
    store = ScriptedStore()
    write = write_of(store, time)
    time.seconds += LIMIT_MS / 1000
    with pytest.raises(TooLateError, match=r"1 s of its arrival"):
        write.carry_out(decides())
    assert store.journal == []


def test_who_lost_every_race_is_told_that_nothing_was_changed(time: Time) -> None:
    with pytest.raises(TooLateError, match=r"1 s of its arrival"):
        write_of(ScriptedStore(["lose"] * 1_000), time).carry_out(decides())
    assert time.seconds == pytest.approx(LIMIT_MS / 1000, abs=0.002)


def test_who_never_heard_of_a_write_is_told_that_it_may_have_been_done(time: Time) -> None:
    with pytest.raises(StoreUnavailableError):
        write_of(ScriptedStore(["vanish"] * 1_000), time).carry_out(decides())
    assert time.seconds == pytest.approx(LIMIT_MS / 1000, abs=0.002)


def test_what_became_of_the_last_try_is_looked_for_when_the_time_is_over(time: Time) -> None:
    store = ScriptedStore(["deafen"])
    write = write_of(store, time)

    def out_of_time() -> None:
        if store.journal:
            time.seconds = LIMIT_MS / 1000

    store.happens = out_of_time
    assert write.carry_out(decides()).found == store.journal[0]


def test_a_clock_that_is_off_is_said_unless_a_write_may_have_been_applied(time: Time) -> None:
    def off(_: Record, __: int) -> Decision:
        raise ClockSkewError(5_000, 2_000)

    with pytest.raises(ClockSkewError):
        write_of(ScriptedStore(), time).carry_out(off)
    first = [decides()]

    def off_later(record: Record, now_ms: int) -> Decision:
        return first.pop()(record, now_ms) if first else off(record, now_ms)

    with pytest.raises(StoreUnavailableError):
        write_of(ScriptedStore(["vanish"]), time).carry_out(off_later)
