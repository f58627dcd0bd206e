"""The rules of the sixteen commands: an account and a command in, an account and a journal entry out. Pure.

Source of every rule: docs/rules.md section 3. Checks are in the order of its table, so a rejected command names the
first condition that fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chalicelib.domain.account import (
    ORDER_LIFETIME_MS,
    Account,
    BuyTrigger,
    PendingOrder,
    SellTrigger,
    without,
)
from chalicelib.domain.answers import bought, buy_trigger_view, sell_trigger_view, sold, summarize
from chalicelib.domain.commands import Command, CommandName
from chalicelib.domain.errors import RejectedError
from chalicelib.domain.expiry import give_back_expired
from chalicelib.domain.journal import OK, CashMoved, Entry, Event, PastCommand, QuoteHit
from chalicelib.domain.limits import AccountLimits, check_growth
from chalicelib.domain.money import format_cents
from chalicelib.domain.positions import after_sale, cost_with
from chalicelib.domain.quote import QuoteAnswer


class Situation(NamedTuple):
    """What a rule may use besides the account and the command."""

    now_ms: int
    sequence: int
    quote: QuoteAnswer | None
    history: Sequence[PastCommand]

    @property
    def price(self) -> QuoteAnswer:
        """Return the quote of a command that needs one."""
        assert self.quote is not None, "a priced command is decided with its quote"
        return self.quote


class Change(NamedTuple):
    """The effect of a command: the new account, the cash moved, and what the answer adds."""

    account: Account
    moves: tuple[CashMoved, ...] = ()
    result: Mapping[str, Any] | None = None


class Decision(NamedTuple):
    """The outcome of a command: the account after it, and the entry that records it."""

    account: Account
    entry: Entry


DEFAULT_LIMITS = AccountLimits()

Rule = Callable[[Account, Command, Situation], Change]


def decide(
    account: Account,
    command: Command,
    quote: QuoteAnswer | None,
    now_ms: int,
    sequence: int,
    history: Sequence[PastCommand] = (),
    limits: AccountLimits = DEFAULT_LIMITS,
) -> Decision:
    """Return what `command` does to `account` at `now_ms`, as the entry `sequence` of the user's journal.

    Expired orders are released first. A command that is rejected, or was refused before, changes nothing else, and its
    entry has the code. `quote` is needed for a QUOTE, BUY or SELL that was not refused; `history` (newest first) only
    for DISPLAY_SUMMARY. A command that the rules allow is still rejected if it exceeds one of the `limits`.
    """
    account, events = give_back_expired(account, now_ms)
    if quote is not None and not quote.cached:
        events = (*events, QuoteHit(quote.quote))
    if command.refusal is not None:
        refused = RejectedError(command.refusal.code, command.refusal.message)
        return Decision(account, _entry(account, command, now_ms, events, rejection=refused))
    try:
        change = RULES[command.name](account, command, Situation(now_ms, sequence, quote, history))
        check_growth(account, change.account, limits)
    except RejectedError as rejection:
        return Decision(account, _entry(account, command, now_ms, events, rejection=rejection))
    entry = _entry(change.account, command, now_ms, (*events, *change.moves), result=change.result)
    return Decision(change.account, entry)


def _entry(
    account: Account,
    command: Command,
    now_ms: int,
    events: tuple[Event, ...],
    *,
    result: Mapping[str, Any] | None = None,
    rejection: RejectedError | None = None,
) -> Entry:
    return Entry(
        transaction=command.transaction,
        timestamp_ms=now_ms,
        command=command.name,
        symbol=command.symbol,
        amount_cents=command.amount_cents,
        filename=command.filename,
        of_all=command.of_all,
        key=command.key,
        order=command.order,
        funds=None if command.refusal is None else command.refusal.funds,
        outcome=OK if rejection is None else rejection.code,
        message=None if rejection is None else str(rejection),
        cash_cents=account.cash_cents,
        events=events,
        result=result or {},
    )


def _add(account: Account, command: Command, _: Situation) -> Change:
    amount = _amount(command)
    return Change(replace(account, cash_cents=account.cash_cents + amount), (CashMoved("add", amount),))


def _quote(account: Account, _: Command, situation: Situation) -> Change:
    quote = situation.price.quote
    return Change(
        account,
        result={
            "symbol": quote.symbol,
            "price_cents": quote.price_cents,
            "timestamp": quote.timestamp_ms,
            "cryptokey": quote.cryptokey,
            "cached": situation.price.cached,
        },
    )


def _buy(account: Account, command: Command, situation: Situation) -> Change:
    order = _order(command, situation)
    if account.cash_cents < order.value_cents:
        raise _insufficient_funds(account.cash_cents, order.value_cents)
    after = replace(
        account,
        cash_cents=account.cash_cents - order.value_cents,
        pending_buys=(*account.pending_buys, order),
    )
    result = {**bought(order), "expires_at": order.expires_at_ms, "cached": situation.price.cached}
    return Change(after, (CashMoved("remove", order.value_cents),), result)


def _commit_buy(account: Account, command: Command, _: Situation) -> Change:
    order, rest = _newest(account.pending_buys, command, "buy")
    after = replace(
        account,
        pending_buys=rest,
        holdings=account.holdings_after(order.symbol, order.shares),
        cost_cents=cost_with(account, order.symbol, order.value_cents),
    )
    return Change(after, result=bought(order))


def _cancel_buy(account: Account, command: Command, _: Situation) -> Change:
    order, rest = _newest(account.pending_buys, command, "buy")
    after = replace(account, pending_buys=rest, cash_cents=account.cash_cents + order.value_cents)
    return Change(after, (CashMoved("add", order.value_cents),), bought(order))


def _sell(account: Account, command: Command, situation: Situation) -> Change:
    order = _order(command, situation)
    if account.shares(order.symbol) < order.shares:
        raise _insufficient_shares(order.symbol, account.shares(order.symbol), order.shares)
    after = replace(
        account,
        holdings=account.holdings_after(order.symbol, -order.shares),
        pending_sells=(*account.pending_sells, order),
    )
    result = {**sold(order), "expires_at": order.expires_at_ms, "cached": situation.price.cached}
    return Change(after, result=result)


def _commit_sell(account: Account, command: Command, _: Situation) -> Change:
    order, rest = _newest(account.pending_sells, command, "sell")
    after = replace(
        after_sale(account, order.symbol, order.shares, order.value_cents),
        pending_sells=rest,
        cash_cents=account.cash_cents + order.value_cents,
    )
    return Change(after, (CashMoved("add", order.value_cents),), sold(order))


def _cancel_sell(account: Account, command: Command, _: Situation) -> Change:
    order, rest = _newest(account.pending_sells, command, "sell")
    after = replace(account, pending_sells=rest, holdings=account.holdings_after(order.symbol, order.shares))
    return Change(after, result=sold(order))


def _set_buy_amount(account: Account, command: Command, _: Situation) -> Change:
    symbol, amount = _symbol(command), _amount(command)
    old = account.buy_triggers.get(symbol)
    given_back = 0 if old is None else old.amount_cents
    if account.cash_cents + given_back < amount:
        raise _insufficient_funds(account.cash_cents + given_back, amount)
    trigger = BuyTrigger(amount) if old is None else replace(old, amount_cents=amount)
    after = replace(
        account,
        cash_cents=account.cash_cents + given_back - amount,
        buy_triggers={**account.buy_triggers, symbol: trigger},
    )
    moves = (CashMoved("add", given_back),) if given_back else ()
    return Change(after, (*moves, CashMoved("remove", amount)), buy_trigger_view(symbol, trigger))


def _set_buy_trigger(account: Account, command: Command, _: Situation) -> Change:
    symbol = _symbol(command)
    old = _buy_trigger(account, symbol)
    trigger = replace(old, price_cents=_amount(command), transaction=command.transaction)
    after = replace(account, buy_triggers={**account.buy_triggers, symbol: trigger})
    return Change(after, result=buy_trigger_view(symbol, trigger))


def _cancel_set_buy(account: Account, command: Command, _: Situation) -> Change:
    symbol = _symbol(command)
    trigger = _buy_trigger(account, symbol)
    after = replace(
        account,
        cash_cents=account.cash_cents + trigger.amount_cents,
        buy_triggers=without(account.buy_triggers, symbol),
    )
    return Change(after, (CashMoved("add", trigger.amount_cents),), buy_trigger_view(symbol, trigger))


def _set_sell_amount(account: Account, command: Command, _: Situation) -> Change:
    symbol, amount = _symbol(command), _amount(command)
    old = account.sell_triggers.get(symbol, SellTrigger(amount))
    owned = account.shares(symbol) + old.shares
    if owned < 1:
        raise _insufficient_shares(symbol, owned, 1)
    trigger = replace(old, amount_cents=amount)
    if trigger.price_cents is None:
        after = replace(account, sell_triggers={**account.sell_triggers, symbol: trigger})
    else:
        after, trigger = _reserve(account, symbol, trigger, trigger.price_cents)
    return Change(after, result=sell_trigger_view(symbol, trigger))


def _set_sell_trigger(account: Account, command: Command, _: Situation) -> Change:
    symbol = _symbol(command)
    trigger = replace(_sell_trigger(account, symbol), transaction=command.transaction)
    after, trigger = _reserve(account, symbol, trigger, _amount(command))
    return Change(after, result=sell_trigger_view(symbol, trigger))


def _reserve(account: Account, symbol: str, trigger: SellTrigger, price_cents: int) -> tuple[Account, SellTrigger]:
    """Release what the trigger has reserved, and reserve amount // price shares instead."""
    shares = trigger.amount_cents // price_cents
    if shares == 0:
        raise _amount_below_price(trigger.amount_cents, price_cents)
    owned = account.shares(symbol) + trigger.shares
    if owned < shares:
        raise _insufficient_shares(symbol, owned, shares)
    reserved = replace(trigger, price_cents=price_cents, shares=shares)
    after = replace(
        account,
        holdings=account.holdings_after(symbol, trigger.shares - shares),
        sell_triggers={**account.sell_triggers, symbol: reserved},
    )
    return after, reserved


def _cancel_set_sell(account: Account, command: Command, _: Situation) -> Change:
    symbol = _symbol(command)
    trigger = _sell_trigger(account, symbol)
    after = replace(
        account,
        holdings=account.holdings_after(symbol, trigger.shares),
        sell_triggers=without(account.sell_triggers, symbol),
    )
    return Change(after, result=sell_trigger_view(symbol, trigger))


def _dumplog(account: Account, _: Command, __: Situation) -> Change:
    # The log is written after this entry is saved (chalicelib/service/trading.py).
    return Change(account)


def _display_summary(account: Account, _: Command, situation: Situation) -> Change:
    return Change(account, result=summarize(account, situation.history))


RULES: Mapping[CommandName, Rule] = {
    CommandName.ADD: _add,
    CommandName.QUOTE: _quote,
    CommandName.BUY: _buy,
    CommandName.COMMIT_BUY: _commit_buy,
    CommandName.CANCEL_BUY: _cancel_buy,
    CommandName.SELL: _sell,
    CommandName.COMMIT_SELL: _commit_sell,
    CommandName.CANCEL_SELL: _cancel_sell,
    CommandName.SET_BUY_AMOUNT: _set_buy_amount,
    CommandName.SET_BUY_TRIGGER: _set_buy_trigger,
    CommandName.CANCEL_SET_BUY: _cancel_set_buy,
    CommandName.SET_SELL_AMOUNT: _set_sell_amount,
    CommandName.SET_SELL_TRIGGER: _set_sell_trigger,
    CommandName.CANCEL_SET_SELL: _cancel_set_sell,
    CommandName.DUMPLOG: _dumplog,
    CommandName.DISPLAY_SUMMARY: _display_summary,
}


def _order(command: Command, situation: Situation) -> PendingOrder:
    """Return the order that the amount buys or sells at the quote. Rejects an amount below one share."""
    symbol, amount, price = _symbol(command), _amount(command), situation.price.quote.price_cents
    shares = amount // price
    if shares == 0:
        raise _amount_below_price(amount, price)
    return PendingOrder(
        transaction=command.transaction,
        symbol=symbol,
        shares=shares,
        price_cents=price,
        value_cents=shares * price,
        expires_at_ms=situation.now_ms + ORDER_LIFETIME_MS,
        number=situation.sequence,
    )


def _newest(
    orders: tuple[PendingOrder, ...], command: Command, kind: str
) -> tuple[PendingOrder, tuple[PendingOrder, ...]]:
    """Return the newest order and the rest. Rejects a command that names another order (docs/rules.md section 3)."""
    if not orders:
        raise RejectedError(f"no_pending_{kind}", f"there is no pending {kind}")
    newest = orders[-1]
    if command.order is not None and command.order != newest.number:
        raise RejectedError("order_changed", f"the newest pending {kind} is order {newest.number}, not {command.order}")
    return newest, orders[:-1]


def _buy_trigger(account: Account, symbol: str) -> BuyTrigger:
    trigger = account.buy_triggers.get(symbol)
    if trigger is None:
        raise RejectedError("no_buy_amount", f"no amount is set to buy {symbol}")
    return trigger


def _sell_trigger(account: Account, symbol: str) -> SellTrigger:
    trigger = account.sell_triggers.get(symbol)
    if trigger is None:
        raise RejectedError("no_sell_amount", f"no amount is set to sell {symbol}")
    return trigger


def _symbol(command: Command) -> str:
    assert command.symbol is not None, f"{command.name} has a symbol"
    return command.symbol


def _amount(command: Command) -> int:
    assert command.amount_cents is not None, f"{command.name} has an amount"
    return command.amount_cents


def _amount_below_price(amount_cents: int, price_cents: int) -> RejectedError:
    amount, price = format_cents(amount_cents), format_cents(price_cents)
    return RejectedError("amount_below_price", f"{amount} is below the price of one share, {price}")


def _insufficient_funds(has_cents: int, needs_cents: int) -> RejectedError:
    has, needs = format_cents(has_cents), format_cents(needs_cents)
    return RejectedError("insufficient_funds", f"needs {needs}, has {has}")


def _insufficient_shares(symbol: str, has: int, needs: int) -> RejectedError:
    return RejectedError("insufficient_shares", f"needs {needs} shares of {symbol}, has {has}")
