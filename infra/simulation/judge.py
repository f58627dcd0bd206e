"""What must be true after a schedule, whatever happened in it (docs/rules.md sections 3, 4, 6 and 7).

Money is summed by the judge's own rules, from the events of the journal. The trading rules are the shipped ones: each
entry is decided again on the account that the previous entries lead to.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from chalicelib.domain.account import ORDER_LIFETIME_MS, Account
from chalicelib.domain.commands import PRICED, Command, CommandName
from chalicelib.domain.decide import Decision, decide
from chalicelib.domain.journal import HISTORY_LENGTH, OK, CashMoved, Entry, OrderExpired, QuoteHit, TriggerFired
from chalicelib.domain.quote import QUOTE_LIFETIME_MS, QuoteAnswer
from chalicelib.domain.system import SYSTEM_JOURNAL, note_hits, settle
from chalicelib.store.documents import Document, account_from_state, entry_from_document, state_of
from chalicelib.store.user_journal import attempt_of
from infra.simulation.schedule import Sent, SimulatedSchedule
from infra.simulation.server import RETRIES, TOLERANCE_MS, Asked
from infra.simulation.storm import MS

SLACK_MS = 2 * (TOLERANCE_MS + 100)
"""By how much two trading servers may differ: both clocks may be off, and a clock check has an error."""


@dataclass(frozen=True, slots=True)
class _Journal:
    """An account and its entries, oldest first, with the ids of the attempts that wrote them."""

    user: str
    account: Account
    entries: Sequence[Entry]
    attempts: Sequence[bytes]


def findings(schedule: SimulatedSchedule) -> list[str]:
    """Return what is wrong, in words; empty if nothing is."""
    wrong = list(schedule.failures)
    results = {answer.entry.transaction: answer.entry.result for sent in schedule.sent for answer in sent.answers}
    journals: dict[str, _Journal] = {}
    for journal in _journals(schedule, results, wrong):
        journals[journal.user] = journal
    wrong += _of_commands(schedule, journals)
    wrong += _of_hits(schedule, journals)
    wrong += _of_looks(schedule, journals)
    for user, journal in journals.items():
        if user != SYSTEM_JOURNAL:
            wrong += _of_account(journal, schedule.source.asked)
    return wrong


def _journals(
    schedule: SimulatedSchedule, results: Mapping[int, Mapping[str, Any]], wrong: list[str]
) -> Iterator[_Journal]:
    """Yield the journals, closed and open parts together; record missing and duplicate entries.

    The result of a command without a key is not in the journal: it is taken from the answer, if there is one.
    """

    def entry_of(document: Document) -> Entry:
        entry = entry_from_document(document)
        return replace(entry, result=results.get(entry.transaction, {})) if _is_without_result(entry) else entry

    parts: dict[str, dict[int, Document]] = {}
    for part in schedule.members.latest("journal"):
        for place, document in enumerate(part["entries"]):
            parts.setdefault(part["user"], {})[part["from"] + place] = document
    for document in schedule.members.latest("accounts"):
        user, state = document["_id"], state_of(document)
        by_sequence = parts.get(user, {})
        for place, entry in enumerate(state["open"]):
            sequence = state["open_from"] + place
            if by_sequence.setdefault(sequence, entry) != entry:
                wrong.append(f"{user}: entry {sequence} is two different ones in the closed and the open part")
        numbers = sorted(by_sequence)
        if numbers != list(range(1, state["version"] + 1)):
            wrong.append(f"{user}: the journal has the entries {numbers}, the account is at {state['version']}")
            continue
        entries = [by_sequence[number] for number in numbers]
        yield _Journal(
            user,
            account_from_state(user, state),
            [entry_of(entry) for entry in entries],
            [attempt_of(entry) for entry in entries],
        )


def _of_commands(schedule: SimulatedSchedule, journals: Mapping[str, _Journal]) -> Iterator[str]:
    """Every acknowledged command is in the journal once, as it was answered; no other is there twice."""
    places: dict[int, list[int]] = {}
    for journal in journals.values():
        for place, entry in enumerate(journal.entries):
            if entry.command is not None:
                places.setdefault(entry.transaction, []).append(place)
        attempts = Counter(journal.attempts)
        yield from (f"{journal.user}: one attempt wrote {count} entries" for count in attempts.values() if count > 1)
    asked = {(one.quote.symbol, one.quote.price_cents): one.at_ns for one in schedule.source.asked}
    last: dict[str, int] = {}
    for sent in schedule.sent:
        command = sent.command
        there = places.get(command.transaction, [])
        name = f"{command.user} {command.name} [{command.transaction}]"
        yield from _of_presence(sent, there, name)
        if not there or command.user not in journals:
            continue
        entry = journals[command.user].entries[there[0]]
        yield from _of_answers(sent, entry, name)
        yield from _of_price(sent, entry, asked, name)
        if not sent.reached_in_time:
            yield f"{name} was carried out, and reached no server in its time"
        if sent.acknowledged:  # nobody waited for the others: they may come late
            if there[0] < last.get(command.user, -1):
                yield f"{name} was carried out before a command that was answered before it was given"
            last[command.user] = there[0]


def _of_presence(sent: Sent, there: Sequence[int], name: str) -> Iterator[str]:
    if len(there) > 1:
        yield f"{name} was carried out {len(there)} times"
    if sent.acknowledged and not there:
        yield f"{name} was acknowledged and is not in the journal"
    if there and sent.surely_not_done:
        yield f"{name} was carried out, and each answer said that nothing was changed"


def _of_answers(sent: Sent, entry: Entry, name: str) -> Iterator[str]:
    for answer in sent.answers:
        if not _is_same(answer.entry, entry):
            yield f"{name} was answered {answer.entry}, the journal has {entry}"
    firsts = sum(not answer.replayed for answer in sent.answers)
    if firsts > 1:
        yield f"{name} was answered as new {firsts} times"


def _of_price(sent: Sent, entry: Entry, asked: Mapping[tuple[str, int], int], name: str) -> Iterator[str]:
    """Check that the price of a command was asked for, and was not too old when the command was given."""
    if entry.command not in PRICED or entry.outcome != OK or "price_cents" not in entry.result:
        return
    at_ns = asked.get((entry.symbol or "", entry.result["price_cents"]))
    if at_ns is None:
        yield f"{name} has a price that the source never told"
        return
    age_ms = (sent.given_ns - at_ns) // MS
    if age_ms > QUOTE_LIFETIME_MS + SLACK_MS + RETRIES.lock_ms:  # a quote may reach the cache this late
        yield f"{name} has a price that was {age_ms} ms old when the command was given"


def _of_hits(schedule: SimulatedSchedule, journals: Mapping[str, _Journal]) -> Iterator[str]:
    """Check that a hit on the source is in at most one journal, as the source gave it."""
    told = {one.quote.cryptokey: one.quote for one in schedule.source.asked}
    seen: Counter[str] = Counter()
    for journal in journals.values():
        for entry in journal.entries:
            for event in entry.events:
                if isinstance(event, QuoteHit):
                    seen[event.quote.cryptokey] += 1
                    if told.get(event.quote.cryptokey) != event.quote:
                        yield f"{journal.user} has a hit that the source never told: {event.quote}"
    yield from (f"the hit {key} is in the log {count} times" for key, count in seen.items() if count > 1)


def _of_looks(schedule: SimulatedSchedule, journals: Mapping[str, _Journal]) -> Iterator[str]:
    """Check that observers saw entries of the journal without gaps, and prices that the source gave."""
    prices = {one.quote.price_cents for one in schedule.source.asked}
    for look in schedule.looks:
        seen = [numbered.sequence for numbered in look.newest_first]
        if seen != list(range(look.version, 0, -1)):
            yield f"a look at {look.user}, version {look.version}, saw the entries {seen}"
        later = [numbered.sequence for numbered in look.later_half]
        if later != list(range(look.version // 2 + 1, look.version + 1)):
            yield f"a look at {look.user}, version {look.version}, saw after {look.version // 2} the entries {later}"
        entries = journals[look.user].entries if look.user in journals else []
        for sequence, entry in (*look.newest_first, *look.later_half):
            if sequence > len(entries) or not _is_same(entries[sequence - 1], entry):
                yield f"a look at {look.user} saw {entry} as entry {sequence}, which it is not"
        if wrong := [point for point in look.points if point.price_cents not in prices]:
            yield f"a look saw prices that the source never told: {wrong}"


def _is_without_result(entry: Entry) -> bool:
    return entry.command is not None and entry.key is None and not entry.result


def _of_account(journal: _Journal, asked: Sequence[Asked]) -> Iterator[str]:
    """Replay the journal from an empty account: it leads to the same account, and no money came or went."""
    user, account = journal.user, journal.account
    # Most journals fit the times in their entries; the many other possible times are tried only if not.
    if not_led_to := _replayed(journal, asked, 1) and _replayed(journal, asked, SLACK_MS):
        yield not_led_to
    moved = sum(_moved(event) for entry in journal.entries for event in entry.events)
    if moved != account.cash_cents:
        yield f"{user} has {account.cash_cents}, the journal says {moved}"
    if account.cash_cents < 0 or any(shares < 0 for shares in account.holdings.values()):
        yield f"{user} has less than nothing"
    times = [entry.timestamp_ms for entry in journal.entries]
    if times != sorted(times):
        yield f"{user}: the journal is not in the order of its times"


def _moved(event: object) -> int:
    if isinstance(event, CashMoved):
        return event.cents if event.action == "add" else -event.cents
    if isinstance(event, OrderExpired) and event.command == CommandName.BUY:
        return event.value_cents
    return 0


def _replayed(journal: _Journal, asked: Sequence[Asked], slack_ms: int) -> str:
    """Return where the replayed journal differs, "" if it leads to the account."""
    possible, marks = [Account(journal.user)], _marks(journal)
    for place, entry in enumerate(journal.entries):
        before = journal.entries[:place]
        following: list[Account] = []
        for replica, answer in product(possible, _prices(entry, asked)):
            for at_ms in _times(entry, before, replica, marks, slack_ms):
                decided = _decided(replica, replace(entry, timestamp_ms=at_ms), answer, before)
                if (
                    decided is not None
                    and _is_same(decided.entry.no_earlier_than(entry.timestamp_ms), entry)
                    and decided.account not in following
                ):
                    following.append(decided.account)
        if not following:
            again = _decided(possible[0], entry, next(iter(_prices(entry, asked)), None), before)
            return f"{journal.user}: entry {place + 1} is {entry}, carried out again it is {again and again.entry}"
        possible = following
    return "" if journal.account in possible else f"{journal.user} is {journal.account}, it leads to {possible[0]}"


def _times(entry: Entry, before: Sequence[Entry], replica: Account, marks: set[int], slack_ms: int) -> Iterable[int]:
    """Return when an entry may have been decided: if it is as late as the one before it, it may have been moved there.

    Of times with the same outcome only one is tried: they differ only where an order expires or is cut short.
    """
    at_ms = entry.timestamp_ms
    if not before or before[-1].timestamp_ms < at_ms or slack_ms == 1:
        return (at_ms,)
    ends = {order.expires_at_ms for order in (*replica.pending_buys, *replica.pending_sells)}
    near = {mark + by + off for mark in marks | ends for by in (-ORDER_LIFETIME_MS, 0) for off in (-1, 0, 1)}
    near |= {at_ms, at_ms - slack_ms + 1}
    return sorted((time for time in near if at_ms - slack_ms < time <= at_ms), reverse=True)


def _marks(journal: _Journal) -> set[int]:
    """Return the times that can make a difference: of entries, and at which visible orders expire."""
    marks = {entry.timestamp_ms for entry in journal.entries}
    marks |= {time + ORDER_LIFETIME_MS for time in marks}
    shown: list[Any] = [entry.result for entry in journal.entries]
    while shown:
        value = shown.pop()
        if isinstance(value, Mapping):
            marks |= {time for name, time in value.items() if name == "expires_at"}
            shown.extend(value.values())
        elif isinstance(value, list | tuple):
            shown.extend(value)
    account = journal.account
    return marks | {order.expires_at_ms for order in (*account.pending_buys, *account.pending_sells)}


def _is_same(decided: Entry, entry: Entry) -> bool:
    return decided == (replace(entry, result=decided.result) if _is_without_result(entry) else entry)


def _prices(entry: Entry, asked: Sequence[Asked]) -> Sequence[QuoteAnswer | None]:
    """Return the quotes that an entry may have been decided with: the one it shows, or any, the latest first."""
    hits = [event.quote for event in entry.events if isinstance(event, QuoteHit)]
    if entry.command not in PRICED:
        return (None,)
    if hits:
        return (QuoteAnswer(hits[0], cached=False),)
    told = [one.quote for one in asked if one.quote.symbol == entry.symbol]
    if (price := entry.result.get("price_cents")) is not None:
        told = [quote for quote in told if quote.price_cents == price]
    return [QuoteAnswer(quote, cached=True) for quote in reversed(told)]


def _decided(account: Account, entry: Entry, answer: QuoteAnswer | None, before: Sequence[Entry]) -> Decision | None:
    if entry.command is None:
        hits = [event for event in entry.events if isinstance(event, QuoteHit)]
        if hits and hits[0].transaction is None:
            return note_hits([hit.quote for hit in hits], entry.transaction, account, entry.timestamp_ms)
        fired = {event.symbol: event.price_cents for event in entry.events if isinstance(event, TriggerFired)}
        return settle(account, fired, entry.timestamp_ms, hits)
    command = Command(
        entry.command,
        account.user,
        entry.transaction,
        symbol=entry.symbol,
        amount_cents=entry.amount_cents,
        filename=entry.filename,
        of_all=entry.of_all,
        key=entry.key,
        order=entry.order,
    )
    history = [past for older in reversed(before) if (past := older.past) is not None][:HISTORY_LENGTH]
    return decide(account, command, answer, entry.timestamp_ms, len(before) + 1, history)
