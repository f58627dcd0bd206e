"""What the audit log says of a run: each user's commands in order, what the system did between them, and cash.

A run's part of a user's log lies between two entries: the last of the journal when the account was read before the run,
and after it. Reading it leaves nothing in the log.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loadgen.results.findings import Findings
from loadgen.verify.audit_log import Event
from loadgen.verify.prices import PriceBook
from loadgen.verify.rules import PRICED
from loadgen.workload.amounts import read_money, spell_number
from loadgen.workload.commands import COMMANDS, READ_ONLY
from loadgen.workload.files import Command
from loadgen.workload.syntax import spell_filename, spell_symbol

"""Commands that do not change an account: anybody may give them during the run."""


class Mark(NamedTuple):
    """A journal entry that marks a place in the log; `is_command` is False for an entry of the system."""

    timestamp_ms: int
    transaction: int
    is_command: bool

    def is_of(self, event: Event) -> bool:
        """Return whether an event belongs to the entry, as far as that can be told."""
        return (event.timestamp_ms, event.transaction) == (self.timestamp_ms, self.transaction)


@dataclass(slots=True)
class UserLog:
    """A run's part of one user's log.

    `start` is the last entry before the run, `end` the last after it, None if there was none. `commands` and `times`
    are the run's transaction numbers and the server's times of them. `system` has firings and expiries, each with the
    number of run commands before it. `cash` is all adds minus all removes up to `end`.
    """

    start: Mark | None
    end: Mark | None
    cash: int = 0
    commands: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    system: list[tuple[int, Event]] = field(default_factory=list)
    strangers: list[Event] = field(default_factory=list)
    has_start: bool = False
    has_end: bool = False
    latest_ms: int | None = None
    """The time of the latest command, if it was one of the run."""
    _started: bool = False

    def __post_init__(self) -> None:
        self.has_start = self._started = self.start is None
        self.has_end = self.end is None

    def is_later(self, event: Event) -> bool:
        """Return whether an event came after the account was last read."""
        return self.end is None or event.timestamp_ms > self.end.timestamp_ms

    def is_of_run(self, event: Event) -> bool:
        """Return whether the next event of the log came after the start; notices both marks."""
        self.has_end = self.has_end or (self.end is not None and self.end.is_of(event))
        self._started = self._started or self._starts_with(event)
        return self._started

    def _starts_with(self, event: Event) -> bool:
        start = self.start
        if start is None or event.timestamp_ms != start.timestamp_ms:
            return start is None or event.timestamp_ms > start.timestamp_ms
        is_command = event.kind == "userCommand"
        if not self.has_start:
            self.has_start = start.is_of(event) and is_command == start.is_command
            return False
        if start.is_command:
            return is_command or not start.is_of(event)
        return is_command  # an entry of the system has events of several transactions


class LogScan:
    """Processes a log's events one by one."""

    def __init__(
        self,
        commands: Mapping[int, Command],
        unanswered: Collection[int],
        users: Mapping[str, UserLog],
        book: PriceBook,
        findings: Findings,
    ) -> None:
        """`commands` are those of the workload by number; only the given users are checked."""
        self.users = users
        self.findings = findings
        self.dumps_of_all: Counter[int] = Counter()
        self.rejected: set[int] = set()
        """Commands without an answer that were rejected."""
        self.events = 0
        self._commands = commands
        self._unanswered = unanswered
        self._book = book

    def scan(self, events: Iterable[Event]) -> None:
        """Process all events."""
        for event in events:
            self.events += 1
            try:
                self._take(event)
            except (KeyError, ValueError) as error:
                what = f"{event.kind} of transaction {event.transaction}"
                self.findings.differ(event.username, f"the log's {what} lacks a field or has a bad one: {error}")
        self._book.complete = True

    def _take(self, event: Event) -> None:
        log = None if event.username is None else self.users.get(event.username)
        if log is not None and log.is_later(event):
            log = None
        is_of_run = log is not None and log.is_of_run(event)
        if event.kind == "quoteServer":
            self._book.quoted(event.fields["stockSymbol"], read_money(event.fields["price"]), event.timestamp_ms)
        elif event.username is None:
            if event.kind == "userCommand":
                self.dumps_of_all[event.transaction] += 1
        elif log is not None:
            self._take_of_user(event.username, log, event, is_of_run=is_of_run)

    def _take_of_user(self, user: str, log: UserLog, event: Event, *, is_of_run: bool) -> None:
        match event.kind:
            case "userCommand":
                log.latest_ms = None
                if is_of_run:
                    self._take_command(user, log, event)
            case "accountTransaction":
                funds = read_money(event.fields["funds"])
                log.cash += {"add": funds, "remove": -funds}[event.fields["action"]]
            case "systemEvent" if is_of_run:
                if event.fields["command"] not in PRICED:
                    self._book.fired(read_money(event.fields["funds"]))
                _place(log, event)
            case "errorEvent" if is_of_run:
                if event.transaction in self._unanswered:
                    self.rejected.add(event.transaction)
            case _:
                pass

    def _take_command(self, user: str, log: UserLog, event: Event) -> None:
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
    """Record a firing or an expiry with its place among the run's commands.

    An expired order was released before the command of that moment was decided, on whichever side of it the event is.
    """
    is_expiry = event.fields["command"] in PRICED
    place = len(log.commands)
    if is_expiry and log.latest_ms == event.timestamp_ms:
        place -= 1
    log.system.append((place, event))


def _misquotes(command: Command, event: Event) -> list[str]:
    """Return how the log's userCommand differs from the command that was sent, as far as a log can record that."""
    last = COMMANDS[command.name].fields[-1]
    wanted = {
        "command": command.name,
        "stockSymbol": spell_symbol(command.symbol),
        "funds": spell_number(command.value) if last in {"amount", "price"} else None,
        "filename": spell_filename(command.value) if last == "filename" else None,
    }
    return [
        f"the log says {name} {event.fields.get(name)!r}, not {value!r}"
        for name, value in wanted.items()
        if event.fields.get(name) != value
    ]


def compare_order(wanted: Sequence[int], optional: set[int], log: UserLog) -> list[str]:
    """Return how a user's log differs from the commands that must be in it, in order.

    `wanted` includes the `optional` ones: commands without a final answer, which may be in it.
    """
    counts = Counter(log.commands)
    differences = [
        f"[{number}] was acknowledged but is not in the audit log"
        for number in wanted
        if number not in counts and number not in optional
    ]
    differences += [f"[{number}] is in the audit log {times} times" for number, times in counts.items() if times > 1]
    expected = set(wanted)
    differences += [
        f"[{number}] is in the audit log, but was not answered as a command"
        for number in counts
        if number not in expected
    ]
    logged = [number for number in dict.fromkeys(log.commands) if number in expected]
    in_order = [number for number in wanted if number in counts]
    for number, instead in zip(in_order, logged, strict=True):
        if number != instead:
            differences.append(f"[{instead}] is in the audit log where [{number}] should be")
            break
    differences += [
        f"a {event.fields['command']} that is not of this run (transaction {event.transaction}) came in between"
        for event in log.strangers
    ]
    for mark, found, when in ((log.start, log.has_start, "before"), (log.end, log.has_end, "after")):
        if mark is not None and not found:
            differences.append(
                f"the entry that was the last {when} the run (transaction {mark.transaction}) is not in it"
            )
    return differences
