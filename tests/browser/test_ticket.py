"""The ticket and the other forms: what they take, what they ask about, and how they fit on a phone."""

import re

import pytest
from playwright.sync_api import Route, expect

from infra.local.background import BackgroundStack
from tests.browser.conftest import Visits
from tests.browser.test_events import buy, given
from tests.browser.test_failures import add, ask, away
from tests.browser.test_look import must_look_well
from tests.browser.visits import Visit

MANY = [f"{first}{second}" for first in "ABCDEFGH" for second in "ABCDEFGH"]


def trading(stack: BackgroundStack, visits: Visits, user: str, cash: str = "10000.00", width: int = 1280) -> Visit:
    """Return the page of a trader who has cash and 861 shares of HLD."""
    given(stack, user, ("add", {"amount": cash}), buy("HLD", "8610.00"), ("commit-buy", {}))
    visit = visits(stack, width).open(stack.trader_token(user))
    row = re.compile(r"HLD 861 \S*10\.00 .*8,610\.00")  # with its price: the cost is there before it
    visit.panel("Holdings").get_by_role("row", name=row).wait_for()
    return visit


def test_sell_beside_a_holding_offers_all_of_it_in_shares(floor: BackgroundStack, visits: Visits) -> None:
    visit = trading(floor, visits, "seller")
    visit.panel("Holdings").get_by_role("button", name="Sell HLD").click()
    ticket = visit.panel("Trade")
    expect(ticket.get_by_label("Number of shares")).to_have_value("861")
    visit.has_focus("#trade [name=amount]")
    ticket.get_by_label("Number of shares").fill("1")
    ticket.get_by_role("button", name="All HLD shares").click()
    ticket.locator("dl.preview").get_by_text("$8,610.00", exact=True).wait_for()
    ticket.get_by_role("button", name="Sell HLD").click()
    visit.says("Pending: sell 861 shares of HLD at $10.00 for $8,610.00. Commit it within 60 seconds.")
    visit.panel("Pending orders").get_by_role("button", name="Commit the sell of 861 shares of HLD").click()
    visit.says("Sold: 861 shares of HLD for $8,610.00.")
    visit.panel("Holdings").get_by_text("No shares yet.").wait_for()
    visit.must_be_clean()


def test_a_sum_that_the_page_shows_can_be_pasted_and_sells_all(floor: BackgroundStack, visits: Visits) -> None:
    visit = trading(floor, visits, "paster")
    worth = visit.panel("Holdings").get_by_role("row", name="HLD").get_by_role("cell").nth(2).locator(".money").first
    ticket = visit.panel("Trade")
    ticket.get_by_text("Sell", exact=True).click()
    ticket.get_by_label("Symbol").fill("hld")
    ticket.get_by_label("Amount").fill(worth.inner_text())
    assert ticket.get_by_label("Amount").input_value() == "$8,610.00"
    ticket.get_by_role("button", name="Sell HLD").click()
    visit.says("Pending: sell 861 shares of HLD at $10.00 for $8,610.00.")
    visit.must_be_clean()


def test_all_buys_for_all_the_cash(floor: BackgroundStack, visits: Visits) -> None:
    visit = trading(floor, visits, "spender")
    ticket = visit.panel("Trade")
    ticket.get_by_label("Symbol").fill("hld")
    ticket.get_by_role("button", name="All cash").click()
    ticket.get_by_role("button", name="Buy HLD").click()
    visit.says("Pending: buy 139 shares of HLD at $10.00 for $1,390.00.")
    orders = visit.panel("Pending orders")
    assert orders.evaluate("e => e.getBoundingClientRect().top < innerHeight"), "the order is in view"
    visit.must_be_clean()


def test_a_symbol_that_is_typed_is_priced_at_once_and_what_is_typed_on_the_way_is_not(
    floor: BackgroundStack, visits: Visits
) -> None:
    """Also while the prices of what is held are on their way, and do not come."""
    visit = trading(floor, visits, "typist")
    asked: list[str] = []

    def hold(route: Route) -> None:
        asked.append(route.request.url.partition("=")[2])
        if asked[-1] != "HLD":
            route.continue_()

    visit.page.route("**/prices?*", hold)
    visit.panel("Holdings").get_by_role("button", name="Refresh").click()
    ticket = visit.panel("Trade")
    ticket.get_by_label("Symbol").focus()
    visit.page.clock.install()
    visit.stop_the_clock()
    for letter in "new":
        visit.page.keyboard.type(letter)
        visit.page.clock.run_for(100)  # as fast as a hand
    visit.page.clock.resume()
    ticket.get_by_label("Amount").fill("25")
    ticket.locator("dl.preview").get_by_text("2 at $10.00").wait_for()
    assert asked == ["HLD", "NEW"]


def test_a_price_that_a_form_needs_is_asked_for_again_when_it_runs_out(floor: BackgroundStack, visits: Visits) -> None:
    """It waits neither for the next look at the account nor for the 15 s of all that is held."""
    visit = visits(floor)
    asked: list[str] = []

    def let_the_first_run_out(route: Route) -> None:
        asked.append(route.request.url)
        reply = route.fetch()
        answer = reply.json()
        if len(asked) == 1:
            answer["prices"]["NEW"]["valid_until"] -= 55_000
        route.fulfill(response=reply, json=answer)

    visit.page.route("**/prices?*", let_the_first_run_out)
    visit.is_always_well()
    visit.page.clock.install()
    visit.open(floor.trader_token("patient"))
    visit.says("No shares yet.")
    visit.stop_the_clock()
    with visit.page.expect_response("**/account*"):
        visit.looks()
    before = len(visit.requests)
    ticket = visit.panel("Trade")
    with visit.page.expect_response("**/prices?*"):
        ticket.get_by_label("Symbol").fill("new")
        ticket.get_by_label("Amount").fill("25")
        visit.page.clock.run_for(300)
    ticket.locator("dl.preview").get_by_text("2 at $10.00").wait_for()  # so the page has read the answer
    with visit.page.expect_response("**/prices?*"):
        visit.page.clock.run_for(14_000)
    assert len(asked) == 2
    assert not [item.url for item in visit.requests[before:] if "/account" in item.url]


def test_sums_that_are_unusual_are_asked_about_and_no_sends_nothing(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor).open(floor.trader_token("fatfinger"))
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    panel = visit.page.locator(".column > section").first
    assert panel.get_by_role("heading").inner_text() == "Add cash", "it comes first when there is nothing else to do"
    add(visit, "1000000")
    visit.says("$1,000,000.00 is a lot of cash to add. Is that right?")
    visit.has_focus(".sure")
    visit.panel("Add cash").get_by_role("button", name="No, change it").click()
    visit.has_focus("#cash [name=amount]")
    assert visit.sent("POST", "/users/fatfinger/add") == []
    add(visit, "1000000")
    visit.panel("Add cash").get_by_role("button", name="Yes, add it").click()
    visit.says("Added $1,000,000.00.")
    ticket = visit.panel("Trade")
    ticket.get_by_label("Symbol").fill("hld")
    ticket.get_by_label("Amount").fill("500,000")
    ticket.locator("dl.preview").wait_for()
    ticket.get_by_role("button", name="Buy HLD").click()
    visit.says("Buy 50,000 shares of HLD for $500,000.00: that is a lot. Is that right?")
    ticket.get_by_label("Amount").fill("500")
    ticket.get_by_role("button", name="Buy HLD").click()
    visit.says("Pending: buy 50 shares of HLD")
    visit.must_be_clean()


@pytest.mark.parametrize(
    ("side", "price", "says"),
    [
        ("Buy low", "1000", "It would fire at once: the price is $10.00."),
        ("Sell high", ".90", "It would fire at once: the price is $10.00."),
        ("Buy low", ".09", "$0.09 is far from today's price, $10.00 (−99.1%)."),
        ("Sell high", "1,500.00", "$1,500.00 is far from today's price, $10.00 (+14900.0%)."),
    ],
)
def test_a_trigger_with_a_slipped_finger_asks(
    floor: BackgroundStack, visits: Visits, side: str, price: str, says: str
) -> None:
    user = re.sub(r"\W", "", f"{side}{price}")
    visit = trading(floor, visits, user)
    panel = visit.panel("Triggers")
    panel.get_by_text(side).click()
    panel.get_by_label("Symbol").fill("hld")
    panel.get_by_label("For amount").fill("1,000")
    panel.get_by_label("When price").fill(price)
    panel.locator("p.notice").get_by_text(says).wait_for()
    panel.locator("dl.preview").wait_for()
    panel.get_by_role("button", name="Set trigger").click()
    panel.get_by_text(f"{says} Set it all the same?").wait_for()
    assert not [item for item in visit.requests if item.method == "POST"]
    must_look_well(visit)
    visit.must_be_clean()


def test_positions_say_what_they_cost_and_gained(frail: BackgroundStack, visits: Visits) -> None:
    """As the server says: the page only takes the cost from the worth."""
    visit = trading(frail, visits, "gainer")
    visit.shows("Unrealised gain", "$0.00")
    visit.shows("Realised gain", "$0.00")
    visit.panel("Holdings").get_by_text("cost $8,610.00").wait_for()
    visit.page.route(
        "**/prices?*",
        lambda route: route.fulfill(
            json={
                "prices": {"HLD": {"price": "12.00", "timestamp": 1, "valid_until": 4_000_000_000_000, "cached": True}},
                "unavailable": [],
            }
        ),
    )
    visit.panel("Holdings").get_by_role("button", name="Refresh").click()
    visit.panel("Holdings").get_by_text("+$1,722.00").wait_for()
    visit.panel("Holdings").get_by_text("+20.0%").wait_for()
    visit.shows("Total worth", "$11,722.00")


def test_a_quote_that_does_not_come_says_so_and_can_be_given_up(frail: BackgroundStack, visits: Visits) -> None:
    visit = visits(frail).open(frail.trader_token("impatient"))
    ticket = visit.panel("Trade")
    with away(frail, "quote-server"):
        ticket.get_by_label("Symbol").fill("SLO")
        ticket.get_by_role("button", name="Get quote").click()
        ticket.get_by_role("button", name="Give up").click()
        visit.says("Gave up: no answer came. Nothing was changed.")
        expect(ticket.get_by_role("button", name="Get quote")).not_to_have_attribute("aria-busy", "true")
    visit.must_be_clean(refused=True)


def test_large_sums_and_many_things_fit_on_a_phone(floor: BackgroundStack, visits: Visits) -> None:
    """30,000,000,000.00, 60 holdings, 40 orders and 30 triggers on 360 px: folded, filtered and never sideways."""
    user = "rich"
    million = {"amount": "1000000000.00"}
    given(floor, user, *[("add", million)] * 31)
    for name in MANY[:60]:
        given(floor, user, buy(name, "20.00"), ("commit-buy", {}))
    for name in MANY[:30]:
        given(floor, user, ("set-buy-amount", {"symbol": name, "amount": "50.00"}))
    given(floor, user, *[buy(name, "10.00") for name in MANY[:40]])
    visit = visits(floor, 360).open(floor.trader_token(user))
    visit.glance("Cash").get_by_text("$30,999,996,900.00").wait_for()
    must_look_well(visit)
    holdings, orders, triggers = (visit.panel(name) for name in ("Holdings", "Pending orders", "Triggers"))
    expect(holdings.locator("tbody tr")).to_have_count(8)
    expect(orders.locator(".order")).to_have_count(8)
    orders.get_by_role("button", name=re.compile("^All ")).click()
    holdings.get_by_label("Filter holdings by symbol").fill("hc")
    expect(holdings.locator("tbody tr")).to_have_count(1)
    holdings.get_by_label("Filter holdings by symbol").fill("")
    holdings.get_by_role("button", name="All 60").click()
    expect(holdings.locator("tbody tr")).to_have_count(60)
    holdings.get_by_label("Sort holdings").select_option("By worth")
    triggers.get_by_role("button", name="Fold").click()
    triggers.locator(".trigger").first.wait_for(state="hidden")
    must_look_well(visit)
    small = visit.page.evaluate(
        """() => [...document.querySelectorAll("main button, main input:not([type=radio]), main select")]
            .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 44)
            .map((element) => element.outerHTML.slice(0, 90))"""
    )
    assert small == []
    fonts = """[...document.querySelectorAll("input:not([type=radio])")]
        .map((element) => parseFloat(getComputedStyle(element).fontSize))"""
    assert min(visit.page.evaluate(fonts)) >= 16, "a phone would zoom in"


def test_the_history_has_what_was_traded_and_why_not_and_can_be_downloaded(
    floor: BackgroundStack, visits: Visits
) -> None:
    user = "historian"
    token = floor.trader_token(user)
    given(floor, user, ("add", {"amount": "0.01"}), *[("add", {"amount": "0.02"})] * 21)
    visit = trading(floor, visits, user, "9999.57")
    assert ask(floor, "POST", f"/users/{user}/buy", token, {"symbol": "HLD", "amount": "99999.00"})[0] == 409
    history = visit.panel("History")
    history.get_by_role("button", name="Older").click()
    history.get_by_text("Cash added: $0.01.").wait_for()
    expect(history.get_by_role("button", name="Older")).to_have_count(0)
    visit.looks()
    history.get_by_text("needs 99990.00, has 1390.00").wait_for()
    history.get_by_text("Order committed: bought 861 shares of HLD at $10.00 for $8,610.00.").wait_for()
    history.get_by_text("Trades", exact=True).click()
    history.get_by_text("needs 99990.00").wait_for(state="detached")
    expect(history.get_by_role("listitem")).to_have_count(1)
    with visit.page.expect_download() as downloading:
        history.get_by_role("button", name="Download CSV").click()
    lines = downloading.value.path().read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("sequence,transaction,timestamp,command")
    assert "order_committed" in lines[1]
    visit.must_be_clean()
