"""What the audit log says of a run: each user's commands in their order, what the system did between them, and cash.

The part of a user's log that belongs to the run lies between two summaries that were read for this purpose, one before
and one after it; their transaction numbers, made by the system, are the markers.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from loadgen.results.findings import Findings
from loadgen.verify.audit_log import Event
from loadgen.verify.model import PRICED
from loadgen.verify.prices import PriceBook
from loadgen.workload.amounts import read_money
from loadgen.workload.files import FORMS, Command

READ_ONLY = frozenset({"QUOTE", "DISPLAY_SUMMARY", "DUMPLOG"})
"""Commands that do not change an account: anybody may give them during the run."""


@dataclass(slots=True)
class UserLog:
    """One user's part of the log.

    `commands` and `times` are the run's transaction numbers and the server's times of them. `system` has the firings
    and expiries, each with the number of run commands that came before it. `cash` is all adds minus all removes up to
    the summary `end`.
    """

    start: int | None
    end: int
    cash: int = 0
    commands: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    system: list[tuple[int, Event]] = field(default_factory=list)
    strangers: list[Event] = field(default_factory=list)
    started: bool = False
    ended_ms: int | None = None
    closed: bool = False
    latest_ms: int | None = None
    """When the latest command was, if it was one of the run."""

    def __post_init__(self) -> None:
        self.started = self.start is None


class LogScan:
    """Takes a log's events one by one."""

    def __init__(
        self,
        commands: Mapping[int, Command],
        unanswered: Collection[int],
        users: Mapping[str, UserLog],
        book: PriceBook,
        findings: Findings,
    ) -> None:
        """`commands` are those of the workload by number; only the given users are looked at."""
        self.users = users
        self.findings = findings
        self.dumps_of_all: Counter[int] = Counter()
        self.rejected: set[int] = set()
        """The commands without an answer that were rejected."""
        self.events = 0
        self._commands = commands
        self._unanswered = unanswered
        self._book = book

    def scan(self, events: Iterable[Event]) -> None:
        """Take all events."""
        for event in events:
            self.events += 1
            try:
                self._take(event)
            except (KeyError, ValueError) as error:
                what = f"{event.kind} of transaction {event.transaction}"
                self.findings.differ(event.username, f"the log's {what} lacks a field or has a bad one: {error}")
        self._book.complete = True

    def _take(self, event: Event) -> None:
        if event.kind == "quoteServer":
            self._book.quoted(event.fields["stockSymbol"], read_money(event.fields["price"]), event.timestamp_ms)
            return
        if event.username is None:
            if event.kind == "userCommand":
                self.dumps_of_all[event.transaction] += 1
            return
        log = self.users.get(event.username)
        if log is not None and not log.closed:
            self._take_of_user(event.username, log, event)

    def _take_of_user(self, user: str, log: UserLog, event: Event) -> None:
        if log.ended_ms is not None and (event.timestamp_ms > log.ended_ms or event.kind == "userCommand"):
            log.closed = True
            return
        match event.kind:
            case "userCommand":
                self._take_command(user, log, event)
            case "accountTransaction":
                funds = read_money(event.fields["funds"])
                log.cash += {"add": funds, "remove": -funds}[event.fields["action"]]
            case "systemEvent" if log.started:
                if event.fields["command"] not in PRICED:
                    self._book.fired(read_money(event.fields["funds"]))
                _place(log, event)
            case "errorEvent" if log.started:
                if event.transaction in self._unanswered:
                    self.rejected.add(event.transaction)
            case _:
                pass

    def _take_command(self, user: str, log: UserLog, event: Event) -> None:
        is_summary = event.fields["command"] == "DISPLAY_SUMMARY"
        log.latest_ms = None
        if is_summary and event.transaction == log.start:
            log.started = True
            log.latest_ms = event.timestamp_ms
            return
        if is_summary and event.transaction == log.end:
            log.ended_ms = event.timestamp_ms
            return
        if not log.started:
            return
        command = self._commands.get(event.transaction)
        if command is None or command.user != user:
            if event.fields["command"] not in READ_ONLY:
                log.strangers.append(event)
            return
        log.latest_ms = event.timestamp_ms
        log.commands.append(event.transaction)
        log.times.append(event.timestamp_ms)
        for difference in _misquotes(command, event):
            self.findings.differ(user, f"[{command.transaction}] {command.name}: {difference}")


def _place(log: UserLog, event: Event) -> None:
    """Note a firing or an expiry with its place among the run's commands.

    What ran out was given back before the command of that moment was decided, on whichever side of it it is written.
    """
    is_expiry = event.fields["command"] in PRICED
    place = len(log.commands)
    if is_expiry and log.latest_ms == event.timestamp_ms:
        if not place:
            return
        place -= 1
    if is_expiry or log.ended_ms is None:
        log.system.append((place, event))


def _misquotes(command: Command, event: Event) -> list[str]:
    """Return how the log's userCommand differs from the command that was sent."""
    wanted = {"command": command.name}
    if command.symbol is not None:
        wanted["stockSymbol"] = command.symbol.upper()
    last = FORMS[command.name][-1]
    differences = [
        f"the log says {name} {event.fields.get(name)!r}, not {value!r}"
        for name, value in wanted.items()
        if event.fields.get(name) != value
    ]
    if last in {"amount", "price"} and not _same_money(event.fields.get("funds"), command.value):
        differences.append(f"the log says funds {event.fields.get('funds')!r}, not {command.value!r}")
    if last == "filename" and _plain(event.fields.get("filename")) != _plain(command.value):
        differences.append(f"the log says filename {event.fields.get('filename')!r}, not {command.value!r}")
    return differences


def _plain(filename: str | None) -> str:
    return (filename or "").removeprefix("./")


def _same_money(logged: str | None, given: str | None) -> bool:
    if logged is None or given is None:
        return False
    whole, _, places = given.partition(".")
    return logged == f"{int(whole)}.{places:0<2}"


def compare_order(wanted: Sequence[int], optional: set[int], log: UserLog) -> list[str]:
    """Return how a user's log differs from the commands that must stand in it, in their order.

    `wanted` includes the `optional` ones: commands without a final answer, which may stand in it.
    """
    counts = Counter(log.commands)
    differences = [
        f"[{number}] was acknowledged but is not in the audit log"
        for number in wanted
        if number not in counts and number not in optional
    ]
    differences += [
        f"[{number}] stands in the audit log {times} times" for number, times in counts.items() if times > 1
    ]
    expected = set(wanted)
    differences += [
        f"[{number}] stands in the audit log, but it was not answered as a command"
        for number in counts
        if number not in expected
    ]
    logged = [number for number in dict.fromkeys(log.commands) if number in expected]
    in_order = [number for number in wanted if number in counts]
    for number, instead in zip(in_order, logged, strict=True):
        if number != instead:
            differences.append(f"[{instead}] stands in the audit log where [{number}] must stand")
            break
    differences += [
        f"a {event.fields['command']} that is not of this run (transaction {event.transaction}) came in between"
        for event in log.strangers
    ]
    if not log.started:
        differences.append(f"the summary read before the run (transaction {log.start}) is not in the audit log")
    if log.ended_ms is None:
        differences.append(f"the summary read after the run (transaction {log.end}) is not in the audit log")
    return differences
