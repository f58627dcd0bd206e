"""What goes wrong is said in words, and the page recovers."""

import contextlib
import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route

from infra.local.background import BackgroundStack
from infra.local.cli import tell
from infra.local.folder import StackFolder
from infra.tokens import trader_token
from tests.browser.conftest import Visits
from tests.browser.visits import SECONDS, Visit

PART_SECONDS = 60.0


def ask(stack: BackgroundStack, method: str, path: str, token: str, body: object = None) -> tuple[int, str]:
    """Ask the server, past the page."""
    address = urlsplit(stack.url).netloc
    with contextlib.closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


@contextmanager
def away(stack: BackgroundStack, part: str) -> Iterator[None]:
    """Take a part of the stack away, and bring it back."""
    assert tell("stop", part, stack.data, PART_SECONDS) == 0
    try:
        yield
    finally:
        assert tell("restart", part, stack.data, PART_SECONDS) == 0


def sign_in(page: Page, token: str) -> None:
    """Paste a token into the form."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def add(visit: Visit, amount: str) -> None:
    """Add cash and see it."""
    visit.panel("Add cash").get_by_label("Amount to add").fill(amount)
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()


def test_a_wrong_token_is_said_beside_the_field_and_a_good_one_is_taken(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor).open()
    page = visit.page
    field = page.get_by_label("Token")
    sign_in(page, "")
    visit.says("Paste a token.")
    sign_in(page, "what my friend gave me")
    visit.says("This is not a token.")
    visit.must_be_clean()
    sign_in(page, trader_token("another secret of 32 bytes or more", "wrong"))
    visit.says("The server does not accept this token: it is not valid here.")
    assert field.get_attribute("aria-invalid") == "true"
    described = str(field.get_attribute("aria-describedby")).split()
    assert any("not valid here" in page.locator(f"[id='{name}']").inner_text() for name in described)
    assert page.evaluate("sessionStorage.length") == 0
    sign_in(page, f"Bearer {floor.trader_token('wrong')}")
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    page.get_by_text("token until").wait_for()
    visit.must_be_clean(refused=True)


def test_a_token_that_expires_in_the_middle_is_said_and_the_page_goes_on_where_it_was(
    floor: BackgroundStack, visits: Visits
) -> None:
    """A server takes a token for 10 s more than it says: this one says that it ended 6 s ago."""
    short = trader_token(StackFolder(floor.data).secret(), "short", hours=-6 / 3600)
    visit = visits(floor).open(short)
    page = visit.page
    add(visit, "100")
    visit.says("Added $100.00.")
    while ask(floor, "POST", "/users/short/add", short)[0] != 401:  # a body is missing, so it is never a command
        page.wait_for_timeout(100)
    add(visit, "20")
    visit.says("The server no longer accepts your token")
    assert page.get_by_role("heading", name="Sign in").is_visible()
    assert page.locator(".glance").is_hidden()
    sign_in(page, floor.trader_token("short"))
    visit.says("You are no longer signed in; nothing was changed.")
    visit.shows("Cash", "$100.00")
    assert visit.panel("Add cash").get_by_label("Amount to add").input_value() == "20"
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.says("Added $20.00. Cash is $120.00.")
    visit.must_be_clean(refused=True)


def test_the_server_goes_away_and_comes_back_and_what_was_sent_meanwhile_is_done_once(
    frail: BackgroundStack, visits: Visits
) -> None:
    visit = visits(frail).open(frail.trader_token("patient"))
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    with away(frail, "gateway"):
        add(visit, "30")
        visit.says(re.compile("The server (cannot be reached|is slow)"))
        visit.says("This will be sent again when it is back, and will be done only once.")
        assert visit.panel("Add cash").get_by_role("button", name="Add cash").get_attribute("aria-disabled") == "true"
    visit.says("Added $30.00. Cash is $30.00.")
    visit.page.get_by_text("The server cannot be reached").first.wait_for(state="detached")
    visit.glance("Cash").get_by_text("$30.00").wait_for()
    keys = {request.headers["idempotency-key"] for request in visit.sent("POST", "/users/patient/add")}
    assert len(keys) == 1
    visit.must_be_clean(refused=True)


def test_an_answer_that_is_lost_does_not_make_a_command_happen_twice(floor: BackgroundStack, visits: Visits) -> None:
    """The command arrives and is done, its answer does not: the page sends it again with the same key."""
    visit = visits(floor).open(floor.trader_token("lost"))
    visit.glance("Cash").wait_for()
    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        lost.append(route)
        if len(lost) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    visit.page.route("**/users/lost/add", lose_the_first)
    add(visit, "70")
    visit.says("Added $70.00. Cash is $70.00.")
    assert len(lost) == 2
    visit.glance("Cash").get_by_text("$70.00").wait_for()


def test_no_price_is_said_and_the_quote_comes_when_the_source_does(frail: BackgroundStack, visits: Visits) -> None:
    """503 quote_unavailable."""
    visit = visits(frail).open(frail.trader_token("quoteless"))
    ticket = visit.panel("Trade")
    with away(frail, "quote-server"):
        ticket.get_by_label("Symbol").fill("NOP")
        ticket.get_by_role("button", name="Get quote").click()
        visit.says(re.compile("No price (is available right now|for NOP)"))
    ticket.locator(".quote-price").get_by_text("$10.00").wait_for()
    visit.must_be_clean(refused=True)


def test_a_database_that_is_away_is_said_and_the_command_is_done_when_it_is_back(
    frail: BackgroundStack, visits: Visits
) -> None:
    """503 store_unavailable, or a server that does not answer in time."""
    visit = visits(frail).open(frail.trader_token("storeless"))
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    with away(frail, "mongod"):
        add(visit, "40")
        visit.panel("Add cash").locator("[aria-busy=true]").wait_for()
    visit.page.get_by_text("Added $40.00. Cash is $40.00.").wait_for(timeout=60_000)
    visit.must_be_clean(refused=True)


def test_rejections_are_said_beside_the_field(floor: BackgroundStack, visits: Visits) -> None:
    """409, and what the page sees itself."""
    visit = visits(floor).open(floor.trader_token("rejected"))
    ticket, triggers = visit.panel("Trade"), visit.panel("Triggers")

    def wrong(text: str, label: str) -> None:
        visit.says(text)
        field = visit.page.locator(".field.is-wrong")
        assert field.count() == 1
        assert field.locator("label").inner_text() == label
        assert text in field.locator("[role=alert]").inner_text()

    def trade(symbol: str, amount: str, side: str = "Buy") -> None:
        ticket.get_by_label("Symbol").fill(symbol)
        ticket.get_by_label("Amount").fill(amount)
        ticket.get_by_role("button", name=re.compile(f"^{side}")).click()

    trade("", "10")
    wrong("Enter a symbol, such as ABC.", "Symbol")
    trade("a1", "10")
    wrong("A symbol is 1 to 3 letters, such as ABC.", "Symbol")
    trade("rej", "1,00")
    wrong("An amount is digits with at most two decimals", "Amount")
    trade("rej", "0.00")
    wrong("An amount must be more than 0.", "Amount")
    trade("rej", "1000000000.01")
    wrong("An amount can be 1,000,000,000.00 at most.", "Amount")
    visit.must_be_clean()
    trade("rej", "100")
    visit.says(re.compile("The price has changed|not enough cash"))
    trade("rej", "100")
    wrong("There is not enough cash. (needs 100.00, has 0.00)", "Amount")
    trade("rej", "5")
    visit.says("Less than one share: REJ is at $10.00.")
    wrong("The amount is below the price of one share. (5.00 is below the price of one share, 10.00)", "Amount")
    ticket.get_by_text("Sell", exact=True).click()
    trade("rej", "50", "Sell")
    wrong("There are not enough shares. (needs 5 shares of REJ, has 0)", "Amount")
    add(visit, "200")
    visit.says("Added $200.00.")
    ticket.get_by_text("Buy", exact=True).click()
    trade("rej", "100")
    visit.says("Pending: buy 10 shares of REJ")
    visit.glance("Reserved cash").get_by_text("$100.00").wait_for()

    def cancel_first(route: Route) -> None:  # before the click the page would see it, and take the order away
        assert ask(floor, "POST", "/users/rejected/cancel-buy", floor.operator_token)[0] == 200
        route.continue_()

    visit.page.route("**/commit-buy", cancel_first, times=1)
    visit.panel("Pending orders").get_by_role("button", name="Commit").click()
    visit.says("There is no pending buy any more: it expired or was settled elsewhere.")
    visit.says("Nothing is pending.")
    triggers.get_by_label("Symbol").fill("rej")
    triggers.get_by_label("For amount").fill("500")
    triggers.get_by_label("When price").fill("5")
    triggers.get_by_role("button", name="Set trigger").click()
    wrong("There is not enough cash. (needs 500.00, has 200.00)", "For amount")
    visit.must_be_clean(refused=True)


def test_a_key_that_was_used_before_is_said_and_the_next_one_works(floor: BackgroundStack, visits: Visits) -> None:
    """422: the page's keys are random, so the test makes its first ones come twice."""
    visit = visits(floor)
    visit.page.add_init_script(
        """{
            const real = crypto.getRandomValues.bind(crypto);
            window.same = true;
            crypto.getRandomValues = (bytes) => (window.same ? bytes.fill(7) : real(bytes));
        }"""
    )
    visit.open(floor.trader_token("reuser"))
    add(visit, "30")
    visit.says("Added $30.00. Cash is $30.00.")
    add(visit, "10")
    visit.says("This was mixed up with another command; nothing was changed. Send it again.")
    visit.page.evaluate("window.same = false")
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.says("Added $10.00. Cash is $40.00.")


def test_too_many_commands_are_said_with_the_time_to_wait(frail: BackgroundStack, visits: Visits) -> None:
    """429."""
    visit = visits(frail).open(frail.trader_token("hasty"))
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    token = frail.trader_token("hasty")
    while ask(frail, "POST", "/users/hasty/add", token, {"amount": "1.00"})[0] != 429:
        pass
    add(visit, "5")
    visit.says(re.compile(r"too many commands; nothing was changed\. The next one is accepted in \d+ seconds?\."))
    assert visit.panel("Add cash").get_by_label("Amount to add").input_value() == "5"


@pytest.mark.parametrize("times", [2, 3])
def test_a_double_click_sends_once(floor: BackgroundStack, visits: Visits, times: int) -> None:
    user = f"double{times}"
    visit = visits(floor).open(floor.trader_token(user))
    visit.panel("Add cash").get_by_label("Amount to add").fill("15")
    visit.panel("Add cash").get_by_role("button", name="Add cash").click(click_count=times)
    visit.says("Added $15.00. Cash is $15.00.")
    visit.glance("Cash").get_by_text("$15.00").wait_for()
    assert len(visit.sent("POST", f"/users/{user}/add")) == 1
    visit.must_be_clean()


def test_a_double_click_settles_one_order_and_a_held_key_sends_once(floor: BackgroundStack, visits: Visits) -> None:
    """Where a button was is the next order's, once the first click has settled the newest."""
    token = floor.trader_token("two-orders")
    for name, body in [
        ("add", {"amount": "100.00"}),
        ("buy", {"symbol": "ONE", "amount": "10.00"}),
        ("buy", {"symbol": "TWO", "amount": "10.00"}),
    ]:
        assert ask(floor, "POST", f"/users/two-orders/{name}", token, body)[0] == 200
    visit = visits(floor)
    page = visit.page
    page.clock.install()
    visit.open(token)
    commit = visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 1 share of TWO")
    commit.wait_for()
    visit.stop_the_clock()
    commit.click()
    visit.says("Bought: 1 share of TWO for $10.00.")
    below = visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 1 share of ONE")
    for _ in range(3):
        below.click()
        page.clock.run_for(60)  # as fast as a hand
    page.clock.resume()
    field = visit.panel("Add cash").get_by_label("Amount to add")
    field.fill("1")
    field.press("Shift")
    for _ in range(5):  # without letting go in between, so all but the first are repetitions
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    visit.says("Added $1.00.")
    visit.glance("Cash").get_by_text("$81.00").wait_for()
    assert len(visit.sent("POST", "/users/two-orders/add")) == 1
    assert len(visit.sent("POST", "/users/two-orders/commit-buy")) == 1
    visit.must_be_clean()
