"""Any sequence of commands: nothing negative or lost, and the journal tells the cash (docs/rules.md section 2)."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chalicelib.domain.commands import CommandName
from chalicelib.domain.expiry import give_back_expired
from chalicelib.domain.journal import OK
from chalicelib.domain.money import format_cents
from chalicelib.domain.positions import held
from chalicelib.domain.triggers import fire_due_triggers
from tests.unit.trader import Trader

PLAIN = [CommandName.COMMIT_BUY, CommandName.CANCEL_BUY, CommandName.COMMIT_SELL, CommandName.CANCEL_SELL]
TAKE_A_SYMBOL = [CommandName.CANCEL_SET_BUY, CommandName.CANCEL_SET_SELL]
TAKE_AN_AMOUNT = [
    CommandName.BUY,
    CommandName.SELL,
    CommandName.SET_BUY_AMOUNT,
    CommandName.SET_BUY_TRIGGER,
    CommandName.SET_SELL_AMOUNT,
    CommandName.SET_SELL_TRIGGER,
]
SYMBOLS = st.sampled_from(["A", "B", "C"])
AMOUNTS = st.integers(min_value=1, max_value=30_000).map(format_cents)


class Trading(RuleBasedStateMachine):
    """A trader who gives any commands in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.trader = Trader(price="7.31")
        self.added = 0
        self.fired_cash = 0

    @rule(amount=AMOUNTS)
    def add(self, amount: str) -> None:
        self.trader.does("ADD", amount=amount)
        self.added += int(amount.replace(".", ""))

    @rule(name=st.sampled_from(PLAIN))
    def settle(self, name: str) -> None:
        self.trader.does(name)

    @rule(name=st.sampled_from(TAKE_A_SYMBOL), symbol=SYMBOLS)
    def cancel_trigger(self, name: str, symbol: str) -> None:
        self.trader.does(name, symbol)

    @rule(name=st.sampled_from(TAKE_AN_AMOUNT), symbol=SYMBOLS, amount=AMOUNTS)
    def trade(self, name: str, symbol: str, amount: str) -> None:
        before = self.trader.account
        given_back, _ = give_back_expired(before, self.trader.now_ms)
        if self.trader.does(name, symbol, amount).outcome != OK:
            assert self.trader.account == given_back, "a rejected command changes nothing but what had expired"

    @rule(milliseconds=st.sampled_from([1, 20_000, 60_000, 60_001]))
    def wait(self, milliseconds: int) -> None:
        self.trader.waits(milliseconds)

    @rule()
    def fire(self) -> None:
        before = self.trader.account.cash_cents
        self.trader.account, _ = fire_due_triggers(
            self.trader.account, dict.fromkeys("ABC", int(self.trader.price.replace(".", "")))
        )
        self.fired_cash += self.trader.account.cash_cents - before

    @invariant()
    def nothing_is_negative(self) -> None:
        account = self.trader.account
        assert account.cash_cents >= 0
        assert all(shares > 0 for shares in account.holdings.values())
        assert all(order.shares > 0 for order in (*account.pending_buys, *account.pending_sells))
        assert all(trigger.amount_cents > 0 for trigger in account.buy_triggers.values())
        assert all(trigger.shares >= 0 for trigger in account.sell_triggers.values())

    @invariant()
    def the_journal_tells_the_cash(self) -> None:
        assert self.trader.logged_cash() + self.fired_cash == self.trader.account.cash_cents

    @invariant()
    def what_is_held_has_a_cost_and_all_that_was_gained_is_realised(self) -> None:
        account = self.trader.account
        assert set(account.cost_cents) == {symbol for symbol in "ABC" if held(account, symbol)}
        assert all(cost >= 0 for cost in account.cost_cents.values())
        paid = sum(account.cost_cents.values())
        assert account.cash_cents + account.reserved_cents() + paid - account.realised_cents == self.added


class AtOnePrice(Trading):
    """At one price for all, what the account is worth is what was added to it, always."""

    @invariant()
    def the_worth_is_what_was_added(self) -> None:
        account = self.trader.account
        shares = sum(account.holdings.values()) + sum(order.shares for order in account.pending_sells)
        shares += sum(trigger.shares for trigger in account.sell_triggers.values())
        reserved = sum(order.value_cents for order in account.pending_buys)
        reserved += sum(trigger.amount_cents for trigger in account.buy_triggers.values())
        assert account.cash_cents + reserved + shares * 731 == self.added


class AtMovingPrices(Trading):
    """What was gained and what is held account for every cent, whatever the prices were."""

    @rule(price=st.sampled_from(["0.01", "7.30", "7.31", "7.32", "93.07"]))
    def the_price_moves(self, price: str) -> None:
        self.trader.price = price


TestAtOnePrice = AtOnePrice.TestCase
TestAtMovingPrices = AtMovingPrices.TestCase
TestAtOnePrice.settings = TestAtMovingPrices.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
