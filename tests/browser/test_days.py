"""A whole trading day, with the mouse and with the keyboard alone."""

import re
from dataclasses import dataclass
from pathlib import Path

from infra.local.background import BackgroundStack
from tests.browser.conftest import Visits
from tests.browser.hands import Hand, Keyboard, Mouse
from tests.browser.orders import run_out_soon
from tests.browser.visits import Visit
from tests.integration.audit_parts import read_log


@dataclass
class Day:
    """The day of one trader: the price is 10.00 all day long."""

    visit: Visit
    hand: Hand
    user: str

    @property
    def path(self) -> str:
        """Return the path of the trader's account."""
        return f"/users/{self.user}"

    def trade(self, side: str, symbol: str, amount: str, lines: list[str]) -> None:
        """Fill the ticket, see what it comes to, and send it."""
        ticket = self.visit.panel("Trade")
        self.hand.choose(ticket.get_by_role("radio", name=side))
        self.hand.fill(ticket.get_by_label("Symbol"), symbol)
        self.hand.fill(ticket.get_by_label("Amount"), amount)
        for line in lines:
            ticket.locator("dl.preview").get_by_text(line, exact=True).wait_for()
        button = ticket.get_by_role("button", name=f"{side} {symbol.upper()}")
        pending = self.visit.page.get_by_text(
            re.compile(f"Pending: {side.lower()} .* of {symbol.upper()} .* Commit it")
        )
        new = self.visit.page.get_by_text("The price has changed.")
        self.hand.press(button)
        pending.or_(new).wait_for()
        if new.is_visible():  # the quote, which may be another test's, was 60 s old in this very moment
            self.hand.press(button)
        pending.wait_for()

    def settle(self, name: str, says: str) -> None:
        """Commit or cancel an order."""
        self.hand.press(self.visit.panel("Pending orders").get_by_role("button", name=name))
        self.visit.says(says)

    def set_trigger(self, side: str, symbol: str, amount: str, price: str) -> None:
        """Set a trigger."""
        panel = self.visit.panel("Triggers")
        self.hand.choose(panel.get_by_role("radio", name=side))
        self.hand.fill(panel.get_by_label("Symbol"), symbol)
        self.hand.fill(panel.get_by_label("For amount"), amount)
        self.hand.fill(panel.get_by_label("When price"), price)
        self.hand.press(panel.get_by_role("button", name="Set trigger"))
        said = self.visit.page.get_by_text(re.compile(f"Set: \\w+ {symbol}"))
        asked = panel.get_by_text("It would fire at once: the price is $10.00. Set it all the same?")
        said.or_(asked).wait_for()
        if asked.is_visible():
            self.hand.press(panel.get_by_role("button", name="Yes, set it"))
        self.visit.says(re.compile(f"Set: \\w+ {symbol}"))

    def begin(self) -> None:
        """Add, quote, buy, commit, sell; leave an order to expire."""
        visit, hand = self.visit, self.hand
        cash = visit.panel("Add cash")
        hand.fill(cash.get_by_label("Amount to add"), "1000")
        hand.press(cash.get_by_role("button", name="Add cash"))
        visit.says("Added $1,000.00. Cash is $1,000.00.")

        ticket = visit.panel("Trade")
        hand.fill(ticket.get_by_label("Symbol"), "abc")
        hand.press(ticket.get_by_role("button", name="Get quote"))
        ticket.locator(".quote-price").get_by_text("$10.00").wait_for()
        ticket.locator(".quote-facts").get_by_text(re.compile("cached|fresh")).wait_for()
        ticket.locator(".age").get_by_text(re.compile("just now|s old")).wait_for()
        assert len(visit.sent("GET", f"{self.path}/quote/ABC")) == 1, "leaving the field and the button need one only"

        self.trade("Buy", "abc", "257.50", ["25 at $10.00", "$250.00", "$750.00"])
        self.settle("Commit the buy of 25 shares of ABC", "Bought: 25 shares of ABC for $250.00.")
        self.trade("Sell", "abc", "100", ["10 at $10.00", "$100.00", "15"])
        self.settle("Commit the sell of 10 shares of ABC", "Sold: 10 shares of ABC for $100.00.")
        visit.panel("Holdings").get_by_role("row", name=re.compile("ABC 15 .*150.00")).wait_for()

        self.trade("Buy", "old", "50", ["5 at $10.00", "$50.00"])
        self.trade("Buy", "new", "40", ["4 at $10.00", "$40.00"])
        orders = visit.panel("Pending orders").get_by_role("listitem")
        orders.nth(1).wait_for()
        orders.nth(0).get_by_role("timer").get_by_text(re.compile("0:5[0-9]")).wait_for()
        assert orders.nth(1).get_by_role("button").count() == 0, "only the newest can be settled"
        visit.shows("Reserved cash", "$90.00")
        self.settle("Cancel the buy of 4 shares of NEW", "Cancelled: buy 4 shares of NEW for $40.00.")

    def go_on(self, folder: Path) -> None:
        """Set triggers, one that is cancelled and two that fire; dump the log and download it."""
        visit, hand = self.visit, self.hand
        self.set_trigger("Buy low", "WHY", "30", "8")
        waiting = visit.panel("Triggers").get_by_role("listitem").filter(has_text="WHY")
        waiting.get_by_text("at or below $8.00").wait_for()
        waiting.get_by_text("−20.0%").wait_for()
        hand.press(waiting.get_by_role("button", name="Cancel the trigger to buy WHY"))
        visit.says("Cancelled: the trigger to buy WHY.")
        self.set_trigger("Buy low", "XYZ", "205", "12")
        self.set_trigger("Sell high", "ABC", "50", "8")
        visit.page.locator(".glance", has_text="$95.00").wait_for(state="detached")
        visit.panel("Holdings").get_by_role("row", name=re.compile("XYZ 20 .*200.00")).wait_for()
        visit.panel("Holdings").get_by_role("row", name=re.compile("ABC 10 .*100.00")).wait_for()
        visit.says("Trigger fired: bought 20 shares of XYZ at $10.00 for $200.00.")
        visit.says("Trigger fired: sold 5 shares of ABC at $10.00 for $50.00.")

        dump = visit.panel("Audit log")
        hand.fill(dump.get_by_label("File name"), "my day.xml")
        hand.press(dump.get_by_role("button", name="Dump log"))
        visit.says(re.compile(r"Written: \d+ events"))
        with visit.page.expect_download() as downloading:
            hand.press(dump.get_by_role("button", name="Download"))
        assert downloading.value.suggested_filename == "my day.xml"
        log = folder / "log.xml"
        downloading.value.save_as(log)
        given = {fields["command"] for kind, fields in read_log(log.read_bytes()) if kind == "userCommand"}
        assert given >= {"ADD", "QUOTE", "BUY", "COMMIT_BUY", "SELL", "COMMIT_SELL", "CANCEL_BUY", "DUMPLOG"}
        system = [fields["command"] for kind, fields in read_log(log.read_bytes()) if kind == "systemEvent"]
        fired = [command for command in system if command != "BUY"]  # which expires sooner or later
        assert sorted(fired) == ["SET_BUY_TRIGGER", "SET_SELL_TRIGGER"]

    def end(self) -> None:
        """See the order expire: its cash comes back by itself."""
        visit = self.visit
        run_out_soon(visit.stack, self.user)
        self.hand.press(visit.panel("Trade").get_by_role("button", name="Get quote"))
        runs_out = visit.panel("Pending orders").get_by_text("The buy of 5 shares of OLD runs out within 15 seconds.")
        expired = visit.panel("What happened").get_by_text("Order expired: buy 5 shares of OLD at $10.00 for $50.00.")
        runs_out.or_(expired).first.wait_for()
        expired.wait_for()
        visit.panel("Pending orders").get_by_text("Nothing is pending.").wait_for()
        # 1000 - 250 + 100 by trading, - 200 and + 50 by triggers
        visit.glance("Cash").get_by_text("$700.00").wait_for()
        visit.shows("Reserved cash", "$0.00")
        visit.shows("Shares", "$300.00")
        visit.shows("Total worth", "$1,000.00")
        history = visit.panel("History")
        older = history.get_by_role("button", name="Older")
        if older.count() == 1:
            self.hand.press(older)
        history.get_by_text("Cash added: $1,000.00.").wait_for()
        for command in (
            "Add cash",
            "Quote ABC",
            "Buy ABC",
            "Commit sell",
            "Cancel buy",
            "Dump log",
            "Cancel buy trigger",
        ):
            history.get_by_role("listitem").filter(has_text=command).first.wait_for()
        visit.must_be_clean()
        self.hand.press(visit.page.get_by_role("button", name="Sign out"))
        visit.page.get_by_role("heading", name="Sign in").wait_for()
        assert visit.page.evaluate("sessionStorage.length") == 0
        assert visit.page.evaluate("Object.keys(localStorage)") == [f"day-trading.told.{self.user}.{self.user}"]


def test_a_whole_trading_day_with_the_mouse_with_the_keyboard_alone_and_on_a_phone(
    floor: BackgroundStack, visits: Visits, tmp_path: Path
) -> None:
    """All at the same time: their orders expire together."""
    with_mouse, with_keys, narrow = visits(floor), visits(floor), visits(floor, 360)
    days = [
        Day(with_mouse, Mouse(with_mouse.page), "mouse"),
        Day(narrow, Mouse(narrow.page), "phone"),
        Day(with_keys, Keyboard(with_keys.page), "keys"),
    ]
    for day in days:
        day.visit.open(floor.trader_token(day.user))
        assert "token" not in day.visit.page.url
        day.begin()
    for day in days:
        day.go_on(tmp_path)
    for day in days:
        day.end()
