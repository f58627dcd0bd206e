"""Verifies a replay: every answer, every account and the audit log against an independent model.

docs/loadgen.md describes what is verified and what cannot be known.
"""

import ssl
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.error import URLError
from urllib.parse import urlsplit

from loadgen.client.retry import parse_object
from loadgen.results.answers import AnswerFile, RecordedAnswer
from loadgen.results.findings import Findings, Verification
from loadgen.run.accounts import AccountReading, read_accounts
from loadgen.run.server import Client, ReplayError, Server, explain
from loadgen.verify.audit_log import AuditLogError, read_events
from loadgen.verify.log_scan import LogScan, Mark, UserLog, compare_order
from loadgen.verify.model import Account
from loadgen.verify.prices import PriceBook
from loadgen.verify.rules import QUOTED
from loadgen.verify.summaries import UnreadableSummariesError, read_summary
from loadgen.verify.user import Checker
from loadgen.workload.amounts import read_money, read_whole, spell
from loadgen.workload.commands import LOG_TIMEOUT_S
from loadgen.workload.files import Command, Workload
from loadgen.workload.syntax import RECORDED_REFUSALS, form_problems, may_be_refused

HISTORY_ENTRIES = 50
"""How many entries of each journal are read after the run, to compare the latest commands with the run's."""


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """`users` are those to check, None for all; `log` is whether to request the audit log."""

    threads: int
    users: Sequence[str] | None = None
    log: bool = True


@dataclass(frozen=True, slots=True)
class _Run:
    """A recorded run: its commands by number, and which of them were acknowledged."""

    commands: dict[int, Command]
    of_user: dict[str, list[Command]]
    acknowledged: set[int]
    unanswered: set[int]
    book: PriceBook


def verify(
    workload: Workload, file: AnswerFile, server: Server, options: VerifyOptions, stopping: threading.Event
) -> Verification:
    """Compare a recorded run with the model, the current accounts and the audit log.

    Raises ReplayError if the accounts cannot be read, AnswersError if the record cannot.
    """
    findings = Findings()
    if file.header.commands != len(workload.commands):
        raise ReplayError(
            f"these are the answers to another workload: it had {file.header.commands} commands, "
            f"{workload.source} has {len(workload.commands)}"
        )
    run = _read_run(workload, file, _chosen(workload, options), findings)
    users = [user for user in run.of_user if not _invalid(user)]
    with server.clients(min(options.threads, max(1, len(users))), stopping) as clients:
        readings = read_accounts(users, server, clients, stopping, HISTORY_ENTRIES)
        bodies = _bodies(users, readings)
        scan = _scan_log(run, file, readings, server, clients[0], findings) if options.log else None
    if scan is None:
        findings.note(
            "The audit log was not read: expiry is judged by the clock, a trigger's firing shows as a difference, "
            "and lost or doubled commands show only in their effects."
        )
    return _compare(run, file, readings, bodies, scan, findings)


def _chosen(workload: Workload, options: VerifyOptions) -> set[str]:
    known = set(workload.users())
    if options.users is None:
        return known
    unknown = [user for user in options.users if user not in known]
    if unknown:
        raise ReplayError(f"{workload.source} has no commands of {', '.join(unknown)}")
    return set(options.users)


def _invalid(user: str) -> bool:
    return bool(form_problems(Command(1, "DISPLAY_SUMMARY", user, None, None)))


def _read_run(workload: Workload, file: AnswerFile, chosen: set[str], findings: Findings) -> _Run:
    """Return what was acknowledged and at what prices: a first pass over the answers."""
    commands = {command.transaction: command for command in workload.commands}
    of_user: dict[str, list[Command]] = {user: [] for user in workload.users() if user in chosen}
    for command in workload.commands:
        if command.user in of_user:
            of_user[command.user].append(command)
    run = _Run(commands, of_user, set(), set(), PriceBook())
    seen: set[int] = set()
    for answer in file.answers():
        found = commands.get(answer.transaction)
        if found is None or answer.transaction in seen:
            what = "stands twice" if found else "is to no command of the workload"
            findings.differ(None, f"the answer to [{answer.transaction}] {what} in the record")
            continue
        seen.add(answer.transaction)
        if not answer.final:
            run.unanswered.add(answer.transaction)
        elif answer.status in {200, 409} or (answer.status == 400 and answer.code in RECORDED_REFUSALS):
            run.acknowledged.add(answer.transaction)
        _note_price(run.book, found, answer)
    return run


def _note_price(book: PriceBook, command: Command, answer: RecordedAnswer) -> None:
    if command.name in QUOTED and answer.status == 200 and answer.body is not None:
        try:
            price = read_money(answer.body.get("price"))
        except ValueError:
            return
        book.saw((command.symbol or "").upper(), price, answer.sent_ms, answer.received_ms)


def _bodies(users: Sequence[str], readings: Mapping[str, AccountReading]) -> dict[str, dict[str, Any]]:
    """Return the accounts after the run. Raises ReplayError if one could not be read."""
    bodies = {}
    for user in users:
        reading = readings.get(user)
        if reading is None or reading.account is None:
            said = "interrupted" if reading is None else explain(reading.outcome)
            raise ReplayError(f"the account of {user} cannot be read: {said}")
        bodies[user] = reading.account
    return bodies


def _scan_log(
    run: _Run,
    file: AnswerFile,
    readings: Mapping[str, AccountReading],
    server: Server,
    client: Client,
    findings: Findings,
) -> LogScan | None:
    """Return what the audit log says, or None if it is not available."""
    starts = {user: _mark(last) for user, _, last in file.baselines()} if file.header.baseline else {}
    logs = {
        user: UserLog(starts.get(user), _mark(next(iter(reading.entries), None))) for user, reading in readings.items()
    }
    scan = LogScan(run.commands, run.unanswered, logs, run.book, findings)
    outcome = client.read(server.trading().dumplog(f"verify-{server.run_id}.xml"), LOG_TIMEOUT_S)
    if outcome.status != 200:
        findings.note(f"The server gives no audit log of all users: {explain(outcome)}.")
        return None
    body = parse_object(outcome.body) or {}
    try:
        with _opened(body, server.tls) as source:
            scan.scan(read_events(source))
    except AuditLogError as error:
        if scan.events:
            findings.differ(None, str(error))
            return scan
        findings.note(f"{error}.")
        return None
    if body.get("events") != scan.events:
        findings.differ(None, f"DUMPLOG says it wrote {body.get('events')} events, the log has {scan.events}")
    return scan


def _mark(entry: Mapping[str, Any] | None) -> Mark | None:
    """Return an entry of the history as a mark. Raises ReplayError if it has an unexpected format."""
    if entry is None:
        return None
    try:
        return Mark(read_whole(entry["timestamp"]), read_whole(entry["transaction"]), entry["command"] is not None)
    except (KeyError, TypeError) as error:
        raise ReplayError(f"a history entry has an unexpected form: {type(error).__name__} {error}") from error


@contextmanager
def _opened(dump: Mapping[str, Any], tls: ssl.SSLContext | None) -> Iterator[BinaryIO]:
    """Yield the log that a DUMPLOG wrote, from its link, else from its path. Raises AuditLogError."""
    url, location = dump.get("url"), dump.get("location")
    try:
        if isinstance(url, str) and urlsplit(url).scheme in {"http", "https"}:
            with urllib.request.urlopen(url, timeout=LOG_TIMEOUT_S, context=tls) as answer:  # noqa: S310 (checked)
                yield cast("BinaryIO", answer)
            return
        if isinstance(location, str) and Path(location).is_file():
            with Path(location).open("rb") as file:
                yield file
            return
    except (URLError, OSError, ValueError) as error:
        raise AuditLogError(f"the audit log cannot be read: {error}") from error
    raise AuditLogError(f"the audit log is at {location!r}, which cannot be read from here")


def _compare(
    run: _Run,
    file: AnswerFile,
    readings: Mapping[str, AccountReading],
    bodies: Mapping[str, dict[str, Any]],
    scan: LogScan | None,
    findings: Findings,
) -> Verification:
    """Compare everything that is known with the model."""
    before = _starting_accounts(run, file, findings)
    price = _price_of_everything(run.book, before.values())
    worth_before = sum(account.worth(price) for account in before.values()) if price else 0
    checkers = {
        user: Checker(
            user,
            commands,
            before[user],
            None if scan is None else scan.users.get(user),
            set() if scan is None else scan.rejected,
            run.book,
            findings,
            whole=file.header.whole,
        )
        for user, commands in run.of_user.items()
    }
    if scan is not None:
        _compare_log(run, scan, checkers, findings)
    right = 0
    for answer in file.answers():
        command = run.commands.get(answer.transaction)
        if command is not None and command.user is None:
            right += _check_dump_of_all(command, answer, scan, findings)
        elif command is not None and command.user in checkers:
            right += checkers[command.user].check(answer)
    after = [
        checkers[user].finish(reading.outcome.sent_ms, reading.outcome.received_ms, bodies[user], reading.entries)
        for user, reading in readings.items()
    ]
    shown = [account for account in after if account is not None]
    if findings.unlogged_prices:
        findings.note(f"The audit log has no quote for the prices of {findings.unlogged_prices:,} answers.")
    result = Verification(findings, accounts=len(run.of_user), answers=right)
    if scan is not None:
        result.logged = sum(len(log.commands) for log in scan.users.values())
    if price is None:
        result.conservation = "conservation was not checked: there was more than one price, or none"
    elif len(shown) == len(bodies):
        added = sum(checker.added for checker in checkers.values())
        result.conservation = _conserve(price, worth_before, added, shown, findings)
    return result


def _starting_accounts(run: _Run, file: AnswerFile, findings: Findings) -> dict[str, Account]:
    """Return every user's account before the run: as recorded, or empty if the run was told not to read it."""
    if not file.header.baseline:
        return {user: Account() for user in run.of_user}
    accounts = {}
    for user, body, _ in file.baselines():
        if user not in run.of_user:
            continue
        try:
            accounts[user] = read_summary(body)
        except UnreadableSummariesError as error:
            findings.differ(user, f"before the run: {error}")
    for user in run.of_user:
        if user not in accounts:
            accounts[user] = Account()
            if not _invalid(user):
                findings.differ(user, "the record does not say what the account was before the run")
    return accounts


def _compare_log(run: _Run, scan: LogScan, checkers: Mapping[str, Checker], findings: Findings) -> None:
    """Look up each user's acknowledged commands in its part of the log."""
    for user, log in scan.users.items():
        numbers = [command.transaction for command in run.of_user[user]]
        wanted = [number for number in numbers if number in run.acknowledged or number in run.unanswered]
        for difference in compare_order(wanted, run.unanswered, log):
            findings.differ(user, difference)
        if log.strangers or not log.has_start or not log.has_end:
            checkers[user].stop()


def _check_dump_of_all(command: Command, answer: RecordedAnswer, scan: LogScan | None, findings: Findings) -> bool:
    """Check a DUMPLOG of all users; return whether it was correct."""
    before = findings.total
    where = f"[{command.transaction}] {command.name}"
    refusals = form_problems(command)
    body = answer.body or {}
    if not answer.final:
        findings.differ(None, f"{where}: no final answer ({answer.code})")
    elif answer.status != 200:
        if answer.status != 400 or not (answer.code in refusals or may_be_refused(command)):
            findings.differ(None, f"{where}: answered {answer.status} {answer.code}")
        elif scan is not None and not scan.dumps_of_all[command.transaction]:
            findings.differ(None, f"{where}: it was refused as {answer.code} but is not in the audit log")
    elif refusals:
        findings.differ(None, f"{where}: answered ok, but it is {' or '.join(sorted(refusals))}")
    elif body.get("transaction") != command.transaction or not isinstance(body.get("location"), str):
        findings.differ(None, f"{where}: the answer lacks its transaction or its location")
    elif scan is not None and not scan.dumps_of_all[command.transaction]:
        findings.differ(None, f"{where}: it was acknowledged but is not in the audit log")
    return findings.total == before


def _price_of_everything(book: PriceBook, accounts: Iterable[Account]) -> int | None:
    """Return the price of all shares, if there was only one, including orders that were pending before the run."""
    price = book.only_price()
    pending = {order.price for account in accounts for _, order in account.pending()}
    return price if pending <= {price} else None


def _conserve(price: int, worth_before: int, added: int, after: Sequence[Account], findings: Findings) -> str:
    """Check that no money and no share was created or lost; return what was checked."""
    cash = sum(account.cash for account in after)
    worth = sum(account.worth(price) for account in after)
    reserved = sum(order.value for account in after for order in account.pending_buys)
    reserved += sum(trigger.amount for account in after for trigger in account.buy_triggers.values())
    had = f" + {spell(worth_before)} held before" if worth_before else ""
    equation = (
        f"ADDs {spell(added)}{had} = cash {spell(cash)} + reserved {spell(reserved)} "
        f"+ shares {spell(worth - cash - reserved)} at {spell(price)}"
    )
    if worth != worth_before + added:
        findings.differ(None, f"money is not conserved: {equation} is off by {spell(worth - worth_before - added)}")
    return f"conservation: {equation}"
