"""An operator's page: any account, everybody's log, and the system as it runs."""

import re
from pathlib import Path

from playwright.sync_api import Browser

from infra.local.background import BackgroundStack, running_stack
from tests.browser.conftest import SMALL, Visits
from tests.browser.test_failures import ask, away
from tests.browser.visits import visit
from tests.integration.audit_parts import read_log


def test_an_operator_looks_up_a_user_and_acts_for_it(floor: BackgroundStack, visits: Visits) -> None:
    token = floor.trader_token("client")
    assert ask(floor, "POST", "/users/client/add", token, {"amount": "123.45"})[0] == 200
    visit = visits(floor).open(floor.operator_token)
    page = visit.page
    lookup = page.get_by_role("form", name="Look up a user")
    lookup.get_by_label("User").fill("no such name!")
    lookup.get_by_role("button", name="Look up").click()
    visit.says("A user is 1 to 64 of letters, digits, _ and -.")
    lookup.get_by_label("User").fill("client")
    lookup.get_by_role("button", name="Look up").click()
    visit.glance("Cash").get_by_text("$123.45").wait_for()
    visit.panel("Add cash").get_by_label("Amount to add").fill("0.55")
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.glance("Cash").get_by_text("$124.00").wait_for()
    line = '"user":"client","operator":"operator","command":"ADD"'
    while not any(line in log.read_text() for log in (floor.data / "logs").glob("gateway*")):
        page.wait_for_timeout(50)  # a command's line may come a moment after its answer
    page.reload()
    visit.glance("Cash").get_by_text("$124.00").wait_for()
    page.get_by_role("link", name="System").click()
    visit.panel("System").wait_for()
    page.go_back()
    visit.glance("Cash").get_by_text("$124.00").wait_for()
    visit.must_be_clean()


def test_a_user_that_there_is_not_is_said_and_not_made(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor)
    visit.open(floor.operator_token)
    visit.panel("System").wait_for()
    visit.page.evaluate("location.hash = '#/users/nobody'")
    visit.says("No such user: nobody has no account.")
    visit.must_be_clean()
    assert '"exists":false' in ask(floor, "GET", "/users/nobody/account", floor.operator_token)[1]


def test_a_database_that_is_away_is_told_with_its_name(frail: BackgroundStack, visits: Visits) -> None:
    """To the operator, and to a trader who does something, or only looks."""
    system = visits(frail).open(frail.operator_token)
    system.panel("System").get_by_text("All parts are healthy.").wait_for()
    trader = visits(frail).open(frail.trader_token("untold"))
    trader.glance("Cash").wait_for()
    with away(frail, "mongod"):
        system.panel("System").get_by_text("Unhealthy: down: mongodb.").wait_for()
        trader.says("The server is up, but there is a problem with its database (MongoDB). Trying again…")
    system.panel("System").get_by_text("All parts are healthy.").wait_for(timeout=60_000)
    trader.page.get_by_text("database (MongoDB)").wait_for(state="detached", timeout=60_000)


def test_the_live_view_shows_what_the_system_does(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor).open(floor.operator_token)
    system = visit.panel("System")
    system.get_by_text("server gateway").wait_for()

    def gauge(name: str) -> str:
        return system.locator(".gauge", has_text=name).locator(".gauge-value").inner_text()

    token = floor.trader_token("busy")
    body = {"symbol": "SYS", "amount": "10.00"}
    while gauge("Commands per second") in {"…", "0.0"}:
        for _ in range(10):
            assert ask(floor, "POST", "/users/busy/buy", token, body)[0] == 409
    system.get_by_text(re.compile(r"median [\d.]+ ms")).first.wait_for()
    system.get_by_text(re.compile(r"[1-9][\d,]* cached, [1-9][\d,]* fetched, 0 not had")).wait_for()
    system.get_by_text(re.compile(r"\d+ since the start, [1-9][\d,]* rejected")).wait_for()
    assert int(gauge("Sweeps").replace(",", "")) > 0
    assert re.fullmatch(r"\d+\.\d%", gauge("Quotes from the cache"))
    visit.panel("Commands since the start").get_by_role("row", name=re.compile(r"^Buy [\d,]+")).wait_for()
    codes = visit.panel("Rejections and failures by code")
    codes.get_by_role("row", name=re.compile(r"^insufficient funds [\d,]+")).wait_for()
    system.get_by_text("All parts are healthy.").wait_for()
    visit.must_be_clean()


def test_an_operator_dumps_the_log_of_all_and_downloads_it(floor: BackgroundStack, visits: Visits) -> None:
    assert ask(floor, "POST", "/users/logged1/add", floor.operator_token, {"amount": "1.00"})[0] == 200
    visit = visits(floor).open(floor.operator_token)
    dump = visit.panel("Audit log of all users")
    dump.get_by_label("File name").fill("../all.xml")
    dump.get_by_role("button", name="Dump all").click()
    visit.says("The server does not accept this file name. (must be a plain name, not a path, got '../all.xml')")
    dump.get_by_label("File name").fill("everybody.xml")
    dump.get_by_role("button", name="Dump all").click()
    visit.says(re.compile(r"Written: \d+ events"))
    with visit.page.expect_download() as downloading:
        dump.get_by_role("button", name="Download").click()
    events = read_log(downloading.value.path().read_bytes())
    assert "logged1" in {fields.get("username") for _, fields in events}
    visit.must_be_clean(refused=True)


def test_where_there_are_no_metrics_the_page_says_where_they_are(floor: BackgroundStack, visits: Visits) -> None:
    """As API Gateway answers for a path that the app does not have."""
    visit = visits(floor)
    missing = '{"message":"Missing Authentication Token"}'
    visit.page.route("**/metrics", lambda route: route.fulfill(status=403, body=missing))
    visit.open(floor.operator_token)
    visit.says(re.compile("CloudWatch has the same figures"))
    visit.must_be_clean(refused=True)


def test_servers_behind_a_proxy_are_added_up(browser: Browser, tmp_path: Path) -> None:
    """Each look is answered by one of them; what both have counted is the sum."""
    pair = ("--servers", "2", "--quote-source", "fixed:10.00", "--trigger-seconds", "0")
    with running_stack(tmp_path / "stack", *SMALL, *pair) as stack:
        look = visit(browser, stack)
        look.open(stack.operator_token)
        look.panel("System").get_by_text(re.compile("server .+, server .+, every 2 s")).wait_for(timeout=60_000)
        for number in range(20):  # of users that HAProxy spreads over both
            assert ask(stack, "POST", f"/users/spread{number}/add", stack.operator_token, {"amount": "1.00"})[0] == 200
        row = look.panel("Commands since the start").get_by_role("row", name=re.compile("^Add cash 20 "))
        row.wait_for(timeout=60_000)
        look.must_be_clean()
        look.page.context.close()
