"""What must be true after a schedule, whatever happened in it."""

from collections import Counter
from collections.abc import Iterator, Sequence

from chalicelib.domain.account import Account
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.decide import Decision, decide
from chalicelib.domain.journal import HISTORY_LENGTH, OK, CashMoved, Entry
from chalicelib.domain.quote import Quote, QuoteAnswer
from chalicelib.domain.system import settle
from infra.simulation.schedule import PRICE_CENTS, PRICES, Sent, SimulatedSchedule


def findings(schedule: SimulatedSchedule) -> list[str]:
    """Return what is wrong, in words; nothing when all is well."""
    return [*schedule.failures, *_of_commands(schedule), *_of_accounts(schedule)]


def _of_commands(schedule: SimulatedSchedule) -> Iterator[str]:
    """Every command that was acknowledged is in the journal once, as it was answered; no other is there twice."""
    entries: dict[int, list[Entry]] = {}
    places: dict[int, int] = {}
    for user in schedule.database.users():
        for place, (entry, _) in enumerate(schedule.database.journal(user)):
            if entry.command is not None:
                entries.setdefault(entry.transaction, []).append(entry)
                places[entry.transaction] = place
    last: dict[str, int] = {}
    for sent in schedule.sent:
        command = sent.command
        there = entries.get(command.transaction, [])
        name = f"{command.user} {command.name} [{command.transaction}]"
        if len(there) > 1:
            yield f"{name} was carried out {len(there)} times"
        if sent.acknowledged and not there:
            yield f"{name} was acknowledged and is not in the journal"
        if not there:
            continue
        yield from _of_answers(sent, there[0], name)
        if not sent.acknowledged:
            continue  # nobody waited for it: it may come late
        if places[command.transaction] < last.get(command.user, -1):
            yield f"{name} was carried out before a command that was answered before it was given"
        last[command.user] = places[command.transaction]


def _of_answers(sent: Sent, entry: Entry, name: str) -> Iterator[str]:
    for answer in sent.answers:
        if answer.entry != entry:
            yield f"{name} was answered {answer.entry}, the journal has {entry}"
    firsts = sum(not answer.replayed for answer in sent.answers)
    if firsts > 1:
        yield f"{name} was answered as new {firsts} times"


def _of_accounts(schedule: SimulatedSchedule) -> Iterator[str]:
    """Carry out the journal again from nothing: it leads to the very account, and no money came or went."""
    for user in schedule.database.users():
        entries = [entry for entry, _ in schedule.database.journal(user)]
        account = schedule.database.record(user).account
        yield from _replayed(user, entries, account)
        moved = sum(
            event.cents if event.action == "add" else -event.cents
            for entry in entries
            for event in _with_expiries(entry)
        )
        if moved != account.cash_cents:
            yield f"{user} has {account.cash_cents}, the journal says {moved}"
        added = sum(
            entry.amount_cents or 0 for entry in entries if entry.command is CommandName.ADD and entry.outcome == OK
        )
        if _worth(account) != added:
            yield f"{user} is worth {_worth(account)}, added were {added}"
        if account.cash_cents < 0 or any(shares < 0 for shares in account.holdings.values()):
            yield f"{user} has less than nothing"
        attempts = Counter(attempt for _, attempt in schedule.database.journal(user))
        yield from (f"{user}: one attempt wrote {count} entries" for count in attempts.values() if count > 1)


def _with_expiries(entry: Entry) -> Iterator[CashMoved]:
    """Yield the cash moved by an entry; an expired buy gives back what it cost."""
    for event in entry.events:
        if isinstance(event, CashMoved):
            yield event
        elif (value := getattr(event, "value_cents", None)) and getattr(event, "command", "") == CommandName.BUY:
            yield CashMoved("add", value)


def _replayed(user: str, entries: Sequence[Entry], account: Account) -> Iterator[str]:
    replica = Account(user)
    for place, entry in enumerate(entries):
        decision = _decided(replica, entry, entries[:place])
        if decision is None or decision.entry != entry:
            yield f"{user}: entry {place + 1} is {entry}, carried out again it is {decision and decision.entry}"
            return
        replica = decision.account
    if replica != account:
        yield f"{user} is {account}, the journal leads to {replica}"


def _decided(account: Account, entry: Entry, before: Sequence[Entry]) -> Decision | None:
    if entry.command is None:
        return settle(account, PRICES, entry.timestamp_ms)
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
    quote = QuoteAnswer(Quote(entry.symbol or "A", PRICE_CENTS, account.user, 10**15, "key"), cached=True)
    history = [past for older in reversed(before) if (past := older.past) is not None][:HISTORY_LENGTH]
    return decide(account, command, quote, entry.timestamp_ms, len(before) + 1, history)


def _worth(account: Account) -> int:
    shares = sum(account.holdings.values())
    shares += sum(order.shares for order in account.pending_sells)
    shares += sum(trigger.shares for trigger in account.sell_triggers.values())
    reserved = sum(order.value_cents for order in account.pending_buys)
    reserved += sum(trigger.amount_cents for trigger in account.buy_triggers.values())
    return account.cash_cents + reserved + shares * PRICE_CENTS
