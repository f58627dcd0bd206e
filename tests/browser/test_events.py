"""The page tells what happened, each thing once, and never guesses: also what came while nobody looked."""

import json
import re
from collections.abc import Mapping

import pytest
from playwright.sync_api import Route, expect

from chalicelib.service.health import PROBE_SECONDS, SHARED_SECONDS
from infra.local.background import BackgroundStack
from tests.browser.conftest import Visits
from tests.browser.orders import run_out_soon
from tests.browser.test_failures import add, ask
from tests.browser.visits import Visit

Command = tuple[str, Mapping[str, object]]
"""A command's name in its path, and its body."""

AFTER_A_CLICK_MS = 650.0
"""As a person who does not double-click: what comes sooner is taken for the second click of one."""


def given(stack: BackgroundStack, user: str, *commands: Command) -> None:
    """Have commands of a trader done past the page, as another device would."""
    token = stack.trader_token(user)
    for name, body in commands:
        status, text = ask(stack, "POST", f"/users/{user}/{name}", token, body)
        assert status == 200, f"{name}: {text}"


def buy(symbol: str, amount: str) -> Command:
    return "buy", {"symbol": symbol, "amount": amount}


def trigger(side: str, symbol: str, amount: str, price: str) -> list[Command]:
    return [
        (f"set-{side}-amount", {"symbol": symbol, "amount": amount}),
        (f"set-{side}-trigger", {"symbol": symbol, "price": price}),
    ]


def news(visit: Visit) -> list[str]:
    """Return what is told, newest first."""
    return visit.page.locator(".events li > span").all_inner_texts()


def opened(stack: BackgroundStack, visits: Visits, user: str, *commands: Command) -> Visit:
    """Return the page of a trader who has 1,000 and has done these; nothing of it is news."""
    given(stack, user, ("add", {"amount": "1000.00"}), *commands)
    visit = visits(stack).open(stack.trader_token(user))
    visit.glance("Cash").wait_for()
    assert news(visit) == []
    return visit


def test_what_was_committed_and_cancelled_elsewhere_is_told_as_that(floor: BackgroundStack, visits: Visits) -> None:
    """It never "expired: its cash is back", and a cancelled trigger never "fired"."""
    visit = opened(floor, visits, "elsewhere", buy("AAA", "70"), buy("BBB", "30"), *trigger("buy", "LOW", "50", "1"))
    with visit.hidden():
        given(floor, "elsewhere", ("commit-buy", {}), ("cancel-buy", {}), ("cancel-set-buy", {"symbol": "LOW"}))
    visit.says("Trigger cancelled: buy LOW for $50.00.")
    assert news(visit) == [
        "Trigger cancelled: buy LOW for $50.00.",
        "Order cancelled: buy 7 shares of AAA at $10.00 for $70.00.",
        "Order committed: bought 3 shares of BBB at $10.00 for $30.00.",
    ]
    visit.panel("Pending orders").get_by_text("Nothing is pending.").wait_for()
    visit.panel("What happened").get_by_role("button", name="Dismiss: Order cancelled").click()
    expect(visit.page.locator(".events li")).to_have_count(2)
    visit.has_focus("[id^=dismiss-]")  # the next one
    kept = news(visit)
    visit.page.reload()
    expect(visit.page.locator(".events li")).to_have_count(2)
    assert news(visit) == kept, "what was not dismissed is still there, and what was is not"
    visit.panel("What happened").get_by_role("button", name="Dismiss all").click()
    visit.has_focus("h1")
    visit.page.reload()
    visit.glance("Cash").get_by_text("$970.00").wait_for()
    assert news(visit) == [], "each is told once"
    visit.must_be_clean()


def test_of_three_fills_at_once_each_is_told_also_when_the_page_was_closed(
    floor: BackgroundStack, visits: Visits
) -> None:
    visit = opened(floor, visits, "fills")
    visit.page.goto("about:blank")
    given(floor, "fills", *[step for name in ("ONE", "TWO", "SIX") for step in trigger("buy", name, "30", "12")])
    token = floor.trader_token("fills")
    while len(json.loads(ask(floor, "GET", "/users/fills/account", token)[1])["positions"]) < 3:
        visit.page.wait_for_timeout(50)  # each is a request that counts for the limit
    visit.open(token)
    for name in ("ONE", "TWO", "SIX"):
        visit.panel("What happened").get_by_text(f"Trigger fired: bought 3 shares of {name} at $10.00").wait_for()
    fired = [line for line in news(visit) if line.startswith("Trigger fired")]
    assert len(fired) == len(set(fired)) == 3
    assert len([line for line in news(visit) if line.startswith("Trigger set")]) == 3


def test_a_commit_never_takes_an_order_that_the_person_did_not_mean(floor: BackgroundStack, visits: Visits) -> None:
    """Another tab was faster: the newest is another one by the time the button is pressed."""
    visit = opened(floor, visits, "faster", buy("ABC", "70"))
    button = visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 7 shares of ABC")
    button.wait_for()
    with visit.hidden():
        given(floor, "faster", buy("XYZ", "20"))
        button.evaluate("element => element.click()")
        visit.says("Nothing was changed: a newer buy came first, 2 shares of XYZ for $20.00.")
        visit.says("Do you want to commit the newer one?")
    assert '"order":' in str(visit.sent("POST", "/users/faster/commit-buy")[0].post_data)
    visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 2 shares of XYZ").click()
    visit.says("Bought: 2 shares of XYZ for $20.00.")
    visit.page.wait_for_timeout(AFTER_A_CLICK_MS)
    visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 7 shares of ABC").click()
    visit.says("Bought: 7 shares of ABC for $70.00.")
    visit.panel("Holdings").get_by_role("row", name=re.compile("ABC 7 .*70.00")).wait_for()
    assert not [line for line in news(visit) if "committed" in line], "what the page did itself is said once"
    visit.must_be_clean(refused=True)


def test_two_kinds_that_expire_at_once_are_both_told_and_warned_of_before(
    floor: BackgroundStack, visits: Visits
) -> None:
    """Also on a page that was hidden all the while."""
    visit = opened(floor, visits, "expiring", buy("HLD", "50"), ("commit-buy", {}))
    behind = visits(floor).open(floor.trader_token("expiring"))
    behind.glance("Cash").wait_for()
    with behind.hidden():
        given(floor, "expiring", buy("OUT", "40"), ("sell", {"symbol": "HLD", "amount": "20"}))
        run_out_soon(floor, "expiring")
        given(floor, "expiring", ("add", {"amount": "0.01"}))
        visit.looks()
        orders = visit.panel("Pending orders")
        orders.get_by_text("The buy of 4 shares of OUT runs out within 15 seconds.").wait_for()
        orders.get_by_text("The sell of 2 shares of HLD runs out within 15 seconds.").wait_for()
        must_tell_of_both(visit)
    must_tell_of_both(behind)


def must_tell_of_both(visit: Visit) -> None:
    """Check that a page tells of the two orders that expired, each once."""
    happened = visit.panel("What happened")
    happened.get_by_text("Order expired: buy 4 shares of OUT at $10.00 for $40.00. Its cash is back.").wait_for()
    happened.get_by_text("Order expired: sell 2 shares of HLD at $10.00 for $20.00. Its shares are back.").wait_for()
    assert len([line for line in news(visit) if "expired" in line]) == 2
    visit.must_be_clean()


def test_looking_writes_nothing_and_asks_little(floor: BackgroundStack, visits: Visits) -> None:
    """No look is a command; one of an unchanged account is a 304, and prices are one request for all symbols."""
    steps = [step for name in ("LKA", "LKB", "LKC") for step in (buy(name, "10"), ("commit-buy", {}))]
    visit = opened(floor, visits, "looker", *steps)
    visit.panel("Holdings").get_by_role("row", name=re.compile("LKC 1 .*10.00")).wait_for()
    with visit.page.expect_response(lambda answer: answer.status == 304 and "/account" in answer.url):
        visit.looks()
    prices = [item for item in visit.requests if "/prices?" in item.url]
    assert [item.url.partition("=")[2] for item in prices] == ["LKA,LKB,LKC"]
    token = floor.trader_token("looker")
    history = ask(floor, "GET", "/users/looker/history", token)[1]
    assert "DISPLAY_SUMMARY" not in history
    assert "QUOTE" not in history


def test_nothing_is_asked_for_while_nobody_looks(floor: BackgroundStack, visits: Visits) -> None:
    """For a minute of the page's own clock, which the test moves on; seen again, it asks."""
    given(floor, "away", ("add", {"amount": "50.00"}), buy("AWY", "10"), ("commit-buy", {}))
    visit = visits(floor)
    visit.is_always_well()
    visit.page.clock.install()
    visit.open(floor.trader_token("away"))
    visit.panel("Holdings").get_by_role("row", name=re.compile("AWY 1 .*10.00")).wait_for()
    with visit.page.expect_response("**/account*"), visit.hidden():
        before = len(visit.requests)
        visit.page.clock.run_for(60_000)
        assert [item.url for item in visit.requests[before:]] == []


def test_quiet_is_quiet(floor: BackgroundStack, visits: Visits) -> None:
    """In a minute in which prices move four times nothing is read out; what happened is, once."""
    given(floor, "quiet", ("add", {"amount": "100.00"}), buy("QUI", "10"), ("commit-buy", {}))
    visit = visits(floor)
    visit.is_always_well()
    visit.page.clock.install()
    asked: list[str] = []

    def move(route: Route) -> None:
        asked.append(f"{20 + len(asked)}.00")
        price = {"price": asked[-1], "timestamp": 1, "valid_until": 60_000, "cached": True}  # so it is asked for again
        route.fulfill(json={"prices": {"QUI": price}, "unavailable": []})

    visit.page.route("**/prices?*", move)
    visit.open(floor.trader_token("quiet"))
    visit.panel("Holdings").get_by_role("row", name=re.compile("QUI 1 .*20.00")).wait_for()
    visit.page.evaluate(
        """() => {
            window.changes = [];
            const live = "[role=status], [role=alert], [role=log], [aria-live]";
            new MutationObserver((records) => {
                for (const { target } of records) {
                    const element = target.nodeType === 1 ? target : target.parentElement;
                    if (element?.closest(live)) window.changes.push(element.closest(live).outerHTML);
                }
            }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    visit.stop_the_clock()
    for _ in range(4):
        before = len(asked)
        while len(asked) == before:
            visit.let_pass(8_000)
        visit.panel("Holdings").get_by_role("row", name=re.compile(f"QUI 1 .*{asked[-1]}")).wait_for()
    assert visit.page.evaluate("window.changes") == []
    visit.page.clock.resume()
    add(visit, "5")
    visit.says("Added $5.00.")
    assert len(visit.page.evaluate("window.changes")) <= 2


@pytest.mark.parametrize("who", ["trader", "operator"])
def test_who_only_looks_is_told_of_a_lost_database_within_3_s(floor: BackgroundStack, visits: Visits, who: str) -> None:
    """By the page's own clock; what is left of the 3 s is how old the server's check of its health may be."""
    visit = visits(floor)
    visit.page.clock.install()
    visit.open(floor.operator_token if who == "operator" else floor.trader_token("watcher"))
    visit.says("All parts are healthy." if who == "operator" else "No shares yet.")
    visit.stop_the_clock()
    visit.page.route("**/account*", lambda _route: None)  # never answered
    down = {"code": "store_unavailable", "detail": "down: mongodb"}
    visit.page.route("**/health", lambda route: route.fulfill(status=503, json=down))
    for _ in range(int((3 - PROBE_SECONDS - SHARED_SECONDS) * 20)):
        visit.page.clock.run_for(50)
    visit.says(re.compile(r"database \(MongoDB\)"))
    if who == "operator":
        visit.panel("System").get_by_text("Unhealthy: down: mongodb.").wait_for()
    visit.must_be_clean(refused=True)


def test_an_account_that_was_read_spares_a_look_at_the_health(floor: BackgroundStack, visits: Visits) -> None:
    """While an order is pending it is read so often that the health need not be asked for at all."""
    given(floor, "sparing", ("add", {"amount": "50.00"}), buy("SPR", "10"))
    visit = visits(floor)
    visit.page.clock.install()
    visit.open(floor.trader_token("sparing"))
    visit.panel("Pending orders").get_by_text("SPR").first.wait_for()
    visit.stop_the_clock()
    visit.looks()
    visit.let_pass(100)
    before = len(visit.requests)
    for _ in range(60):
        visit.let_pass(100)
    asked = [item.url.partition("?")[0].rpartition("/")[2] for item in visit.requests[before:]]
    assert asked.count("account") >= 4
    assert "health" not in asked


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_the_focus_stays_on_the_way_after_commit_and_cancel(floor: BackgroundStack, visits: Visits, side: str) -> None:
    steps = [buy("FOC", "50"), ("commit-buy", {}), *[(side, {"symbol": "FOC", "amount": "10"})] * 2]
    visit = opened(floor, visits, f"focus-{side}", *steps, *trigger("buy", "LOW", "50", "1"))
    orders = visit.panel("Pending orders")
    for left, (how, says) in zip((1, 0), (("Commit", "(Bought|Sold): "), ("Cancel", "Cancelled: ")), strict=True):
        orders.get_by_role("button", name=f"{how} the {side}").focus()
        visit.page.wait_for_timeout(AFTER_A_CLICK_MS)
        visit.page.keyboard.press("Enter")
        visit.says(re.compile(says))
        expect(orders.get_by_role("listitem")).to_have_count(left)
        visit.has_focus("#orders-title")
    visit.panel("Triggers").get_by_role("button", name="Cancel the trigger to buy LOW").focus()
    visit.page.keyboard.press("Enter")
    visit.says("No trigger waits.")
    visit.has_focus("#triggers-title")


def test_the_focus_stays_where_something_was_asked_given_up_or_is_all_there(
    floor: BackgroundStack, visits: Visits
) -> None:
    """What was pressed is gone: the focus is on the part of the page that it stood in, not back at the top."""
    given(floor, "focused", *[("add", {"amount": "1.00"})] * 21)
    visit = visits(floor).open(floor.trader_token("focused"))
    add(visit, "500000")
    visit.has_focus(".sure")
    visit.panel("Add cash").get_by_role("button", name="Yes, add it").press("Enter")
    visit.says("Added $500,000.00.")
    visit.has_focus("#cash-title")
    visit.panel("History").get_by_text("Cash added: $500,000.00.").wait_for()
    visit.panel("History").get_by_role("button", name="Older").press("Enter")
    visit.has_focus("#history-title")
    visit.page.route("**/quote/*", lambda _route: None)  # never answered
    visit.panel("Trade").get_by_label("Symbol").fill("abc")
    visit.panel("Trade").get_by_role("button", name="Get quote").press("Enter")
    visit.panel("Trade").get_by_role("button", name="Give up").press("Enter")
    visit.says("Gave up: no answer came. Nothing was changed.")
    visit.has_focus("#trade-title")
    visit.page.get_by_role("button", name="Sign out").press("Enter")
    visit.has_focus("input")
    visit.page.get_by_label("Token").fill(floor.trader_token("focused"))
    visit.page.keyboard.press("Enter")
    visit.has_focus("h1")
