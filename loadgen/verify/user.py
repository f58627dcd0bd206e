"""Checks one user's answers, one after another, against the model."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loadgen.results.answers import RecordedAnswer
from loadgen.results.findings import Findings
from loadgen.verify.answer import QUOTA, SLACK_MS, Case, Judgement, judge_rejection, judge_success
from loadgen.verify.differences import HISTORY_LENGTH, compare_accounts, compare_history
from loadgen.verify.log_scan import UserLog
from loadgen.verify.model import Account, ImpossibleError, RejectedError
from loadgen.verify.prices import PriceBook
from loadgen.verify.rules import PRICED, apply
from loadgen.verify.summaries import UnreadableSummariesError, read_summary
from loadgen.workload.amounts import parse_cents, read_money, spell
from loadgen.workload.files import Command
from loadgen.workload.syntax import RECORDED_REFUSALS, form_problems, may_be_refused


class Checker:
    """One user's account in the model, and its position in the user's commands.

    `log` is the user's part of the audit log, or None if the log is not available: then the expiry of orders is judged
    by the client's clock, and the firing of a trigger shows as a difference. After a difference that leaves the model's
    account uncertain, the rest is not checked: it would only repeat it.
    """

    def __init__(
        self,
        user: str,
        commands: Sequence[Command],
        account: Account,
        log: UserLog | None,
        rejected: set[int],
        book: PriceBook,
        findings: Findings,
        *,
        whole: bool = True,
    ) -> None:
        self._whole = whole
        self.account = account
        self.added = 0
        self._user = user
        self._commands = commands
        self._own = {command.transaction for command in commands}
        self._log = log
        self._rejected = rejected
        self._book = book
        self._findings = findings
        self._next = 0
        self._logged = 0
        self._system = 0
        self._past: deque[tuple[int, str, str]] = deque(maxlen=HISTORY_LENGTH)
        self._lost = False
        self._agreed = True

    def stop(self) -> None:
        """Stop checking this user: a difference found elsewhere leaves the model's account uncertain."""
        self._lost = True

    def give_up(self, message: str) -> None:
        """Record a difference after which the model's account is uncertain."""
        self._findings.differ(self._user, message)
        self._lost = True

    def check(self, answer: RecordedAnswer) -> bool:
        """Compare the user's next answer with the model; return whether it was correct."""
        if self._lost:
            return False
        command = self._commands[self._next] if self._next < len(self._commands) else None
        if command is None or command.transaction != answer.transaction:
            wanted = "nothing" if command is None else f"[{command.transaction}]"
            self.give_up(f"the answer to [{answer.transaction}] is where that to {wanted} should be")
            return False
        self._next += 1
        self._agreed = True
        refusals = form_problems(command)
        if refusals or (answer.final and answer.status in {400, 422}):
            self._check_refusal(command, answer, refusals)
        else:
            self._check_command(command, answer)
        return self._agreed

    def _check_refusal(self, command: Command, answer: RecordedAnswer, refusals: set[str]) -> None:
        """Check a command that must be refused, or was: it changes nothing, and is in the log."""
        if not answer.final:
            if self._log is not None and self._find_in_log(command, answer) is not None:
                self._past.clear()  # it is not known with which of several codes
            return
        if refusals and (answer.status != 400 or answer.code not in refusals):
            self._differ(command, f"answered {answer.status} {answer.code}, but it is {' or '.join(refusals)}")
        elif not refusals and not (answer.code == "invalid_filename" and may_be_refused(command)):
            self._differ(command, f"refused as {answer.status} {answer.code}, but nothing is wrong with its form")
        elif answer.code in RECORDED_REFUSALS and "invalid_user" not in refusals:
            if (logged_ms := self._find_in_log(command, answer)) is not None:
                self._check_expired(command, logged_ms)
            self._past.append((command.transaction, command.name, answer.code))

    def finish(
        self, sent_ms: int, received_ms: int, body: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
    ) -> Account | None:
        """Compare the account after the run, and its latest entries, with the model.

        Return the account, or None if it cannot be read.
        """
        try:
            shown = read_summary(body)
        except UnreadableSummariesError as error:
            self._findings.differ(self._user, str(error))
            return None
        if self._log is not None and shown.cash != self._log.cash:
            self._findings.differ(
                self._user,
                f"cash is {spell(shown.cash)}, but adds minus removes in the audit log are {spell(self._log.cash)}",
            )
        if self._whole and not self._lost and self._next < len(self._commands):
            left = len(self._commands) - self._next
            self.give_up(f"no answer is recorded for [{self._commands[self._next].transaction}] and {left - 1} more")
        if not self._lost:
            self._run_system(None)
        if not self._lost:
            judgement = self._by_clock(
                sent_ms, received_ms, lambda account: Judgement(compare_accounts(account, shown)), settles=False
            )
            latest = {"history": [entry for entry in entries if entry.get("command") is not None][:HISTORY_LENGTH]}
            for difference in judgement.differences + compare_history(self._past, self._own, latest, None):
                self._findings.differ(self._user, f"at the end: {difference}")
        return shown

    def _differ(self, command: Command, message: str, *, lost: bool = False) -> None:
        self._agreed = False
        self._findings.differ(self._user, f"[{command.transaction}] {command.name}: {message}")
        self._lost = self._lost or lost

    def _check_command(self, command: Command, answer: RecordedAnswer) -> None:
        logged_ms = self._find_in_log(command, answer)
        if self._lost or (not answer.final and logged_ms is None):
            return
        if logged_ms is not None:
            self._check_expired(command, logged_ms)
        if not answer.final:
            self._assume(command, answer, logged_ms)
            return
        case = Case(command, answer, logged_ms, self._book, tuple(self._past), self._own)
        judge = judge_rejection if answer.status == 409 else judge_success
        judgement = self._by_clock(answer.sent_ms, answer.received_ms, lambda account: judge(account, case))
        for difference in judgement.differences:
            self._differ(command, difference)
        self._lost = self._lost or judgement.lost
        self._findings.exact_rejections += judgement.exact
        self._findings.plausible_rejections += judgement.plausible
        self._findings.unlogged_prices += judgement.unlogged
        self._past.append((command.transaction, command.name, "ok" if answer.code == QUOTA else answer.code))
        if command.name == "ADD" and answer.status == 200:
            self.added += parse_cents(command.value)

    def _find_in_log(self, command: Command, answer: RecordedAnswer) -> int | None:
        """Return a command's time on the server after applying what the system did before it; None if not logged."""
        log = self._log
        if log is None:
            if not answer.final:
                self._differ(
                    command, f"no final answer ({answer.code}): without the log its effect is unknown", lost=True
                )
            return None
        here = self._logged < len(log.commands) and log.commands[self._logged] == command.transaction
        if not here:
            if answer.final:
                # compare_order has reported it; without its place, the system's actions around it cannot be placed
                # either.
                self._lost = bool(log.system)
            return None
        self._run_system(self._logged)
        self._logged += 1
        return log.times[self._logged - 1]

    def _run_system(self, place: int | None) -> None:
        """Apply what the log says the system did before run command number `place`; None applies all that is left."""
        log = self._log
        while log is not None and self._system < len(log.system) and not self._lost:
            before, event = log.system[self._system]
            if place is not None and before > place:
                return
            self._system += 1
            try:
                name, funds = event.fields["command"], read_money(event.fields["funds"])
                if name in PRICED:
                    self.account.expire(name, event.transaction, funds, event.timestamp_ms)
                else:
                    self.account.fire(name, event.transaction, event.fields["stockSymbol"], funds)
            except ImpossibleError as error:
                self.give_up(f"the audit log says that {error}")
            except (KeyError, ValueError) as error:
                self.give_up(f"the log's systemEvent of transaction {event.transaction} is not usable: {error}")

    def _check_expired(self, command: Command, logged_ms: int) -> None:
        """Check that no order that expired before a command is still pending when it is decided."""
        for kind, order in self.account.pending():
            if order.expires_at is not None and order.expires_at + SLACK_MS < logged_ms:
                late = logged_ms - order.expires_at
                whose = "from before the run" if order.transaction is None else f"[{order.transaction}]"
                self._differ(command, f"the {kind} {whose} had expired {late} ms before and was not given back")

    def _by_clock(
        self, sent_ms: int, received_ms: int, judge: Callable[[Account], Judgement], *, settles: bool = True
    ) -> Judgement:
        """Return `judge`'s verdict on the account after releasing orders that had expired by then.

        A command `settles` them all, a read shows them as they are. With the log there is nothing to release. Without
        it, orders that expire so close to the command that the client's clock cannot tell are assumed expired or not,
        whichever fits the answer.
        """
        ended = [order for _, order in self.account.pending() if (order.expires_at or 0) < received_ms + SLACK_MS]
        if self._log is not None or not ended:
            return judge(self.account)
        certain = sum((order.expires_at or 0) < sent_ms - SLACK_MS for order in ended) if settles else 0
        tries: list[tuple[Judgement, Account]] = []
        for count in range(certain, len(ended) + 1):
            account = self.account.copy()
            for kind, order in account.pending()[:count]:
                account.give_back(kind, order)
            tries.append((judge(account), account))
            if not tries[-1][0].differences:
                break
        best = tries[-1] if not tries[-1][0].differences else tries[0]
        self.account = best[1]
        return best[0]

    def _assume(self, command: Command, answer: RecordedAnswer, logged_ms: int | None) -> None:
        """Apply a command that was never answered but is in the log."""
        if command.transaction in self._rejected:
            self._past.clear()
            return
        price = None
        if command.name in PRICED:
            prices = self._book.candidates(
                (command.symbol or "").upper(), answer.sent_ms, answer.received_ms, logged_ms
            )
            if len(prices) != 1:
                self._differ(command, "no final answer, but it is in the log; its price is unknown", lost=True)
                return
            price = prices.pop()
        try:
            apply(self.account, command, price)
        except RejectedError as error:
            self._differ(command, f"no final answer; the log has it done, the model says {error.code}", lost=True)
            return
        self._past.append((command.transaction, command.name, "ok"))
        if command.name == "ADD":
            self.added += parse_cents(command.value)
