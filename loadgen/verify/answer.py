"""Whether an answer is what the model predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loadgen.results.answers import RecordedAnswer
from loadgen.verify.differences import compare_accounts, compare_answer, compare_history
from loadgen.verify.model import Account, RejectedError
from loadgen.verify.prices import PriceBook
from loadgen.verify.rules import PRICED, QUOTED, apply
from loadgen.verify.summaries import UnreadableSummariesError, read_summary
from loadgen.workload.amounts import read_money, read_whole, spell
from loadgen.workload.files import Command

ORDER_LIFETIME_MS = 60_000
"""How long a pending order is valid (docs/rules.md section 3)."""

QUOTA = "dump_quota"
"""The code of a DUMPLOG that was executed but whose file exceeds the trader's quota."""

SLACK_MS = 1_000
"""The tolerance when times of different events, or of different clocks, are compared."""


@dataclass(frozen=True, slots=True)
class Case:
    """A command and its answer, and what is needed to judge it.

    `logged_ms` is its time in the audit log, `past` are the user's earlier commands of the run, oldest first, and `own`
    the numbers of all of them.
    """

    command: Command
    answer: RecordedAnswer
    logged_ms: int | None
    book: PriceBook
    past: Sequence[tuple[int, str, str]]
    own: set[int]

    def prices(self) -> set[int]:
        """Return the prices the command may have used; empty if nothing certain is known."""
        symbol = (self.command.symbol or "").upper()
        return self.book.candidates(symbol, self.answer.sent_ms, self.answer.received_ms, self.logged_ms)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong with an answer; `lost` is whether the model's account is uncertain afterwards.

    A rejection at a known price counts as `exact`; at an unknown price, or by a limit of the system, as `plausible`.
    `unlogged` is whether the answer has a price for which the audit log has no quote.
    """

    differences: list[str] = field(default_factory=list)
    lost: bool = False
    exact: int = 0
    plausible: int = 0
    unlogged: bool = False


def judge_rejection(account: Account, case: Case) -> Judgement:
    """Judge a command that was rejected."""
    if case.command.name in PRICED:
        return _judge_rejection_at_price(account, case)
    if case.command.name == "DUMPLOG" and case.answer.code == QUOTA:
        return Judgement()
    limited = account.is_limited_by(case.answer.code, case.command)
    try:
        apply(account.copy() if limited else account, case.command)
    except RejectedError as error:
        if error.code == case.answer.code:
            return Judgement()
        return Judgement([f"rejected with {case.answer.code}, the model says {error.code}"])
    if limited:
        return Judgement(plausible=1)
    return Judgement([f"rejected with {case.answer.code}, the model says ok"], lost=True)


def _judge_rejection_at_price(account: Account, case: Case) -> Judgement:
    code = case.answer.code
    limited = account.is_limited_by(code, case.command)
    prices = case.prices()
    if not prices:
        # Some price makes any amount too small, and at one cent the order is as large as it can be.
        possible = {"amount_below_price", account.verdict(case.command, 1)}
        if code in possible - {"ok"} or ("ok" in possible and limited):
            return Judgement(plausible=1)
        possible -= {"ok"}
        return Judgement(
            [f"rejected with {code}; whatever the price, only {' or '.join(sorted(possible))} is possible"]
        )
    verdicts = {account.verdict(case.command, price) for price in prices}
    if code in verdicts:
        exact = len(verdicts) == 1
        return Judgement(exact=exact, plausible=not exact)
    if limited and "ok" in verdicts:
        return Judgement(plausible=1)
    at = " or ".join(spell(price) for price in sorted(prices))
    return Judgement(
        [f"rejected with {code}, the model says {' or '.join(sorted(verdicts))} at {at}"], lost="ok" in verdicts
    )


def judge_success(account: Account, case: Case) -> Judgement:
    """Judge a command that was executed; it changes the account."""
    body = case.answer.body or {}
    price = expires_at = None
    try:
        if case.command.name in PRICED:
            price, expires_at = read_money(body.get("price")), read_whole(body.get("expires_at"))
            if price <= 0:
                return Judgement([f"the price is {spell(price)}"], lost=True)
        expected = apply(account, case.command, price, expires_at)
    except RejectedError as error:
        return Judgement([f"answered ok, the model says {error.code}"], lost=True)
    except (ValueError, TypeError) as error:
        return Judgement([f"the answer lacks its price or its end: {error}"], lost=True)
    differences = compare_answer(case.command, expected, body)
    if expires_at is not None and case.logged_ms is not None:
        lifetime_ms = expires_at - case.logged_ms
        if abs(lifetime_ms - ORDER_LIFETIME_MS) > SLACK_MS:
            differences.append(f"expires_at is {lifetime_ms} ms after the command")
    return Judgement(differences + _judge_extras(account, case, body), unlogged=_is_unlogged(case, body))


def _is_unlogged(case: Case, body: dict[str, Any]) -> bool:
    if case.command.name not in QUOTED or case.logged_ms is None:
        return False
    try:
        return not case.book.was_quoted((case.command.symbol or "").upper(), read_money(body["price"]), case.logged_ms)
    except (KeyError, ValueError):
        return False


def _judge_extras(account: Account, case: Case, body: dict[str, Any]) -> list[str]:
    """Return what is wrong with the fields that only some commands answer."""
    match case.command.name:
        case "QUOTE":
            try:
                return [] if read_money(body.get("price")) > 0 else [f"the price is {body.get('price')}"]
            except ValueError as error:
                return [f"the quote has no price: {error}"]
        case "DUMPLOG" if not isinstance(body.get("location"), str):
            return ["the answer has no location"]
        case "DISPLAY_SUMMARY":
            try:
                shown = read_summary(body)
            except UnreadableSummariesError as error:
                return [str(error)]
            history = compare_history(case.past, case.own, body, case.command.transaction)
            return compare_accounts(account, shown) + history
        case _:
            return []
