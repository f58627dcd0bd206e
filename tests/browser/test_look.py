"""The page as a whole: for everybody, on every width, and nothing but its own files."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

from infra.local.background import BackgroundStack
from tests.browser.conftest import Visits
from tests.browser.test_events import buy, given
from tests.browser.test_failures import ask
from tests.browser.visits import Visit

MOST_BYTES = 120_000
MOST_BYTES_SENT = 43 * 1024
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = [(width, scheme) for width in (360, 1600) for scheme in ("light", "dark")]


def violations(visit: Visit) -> list[str]:
    """Return what axe finds wrong with the page as it is now."""
    found: Any = Axe().run(visit.page, options={"runOnly": WCAG}).response
    assert len(found["passes"]) > 10
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def must_look_well(visit: Visit) -> None:
    """Check what can be checked of a look: axe, and that nothing has to be scrolled sideways."""
    assert violations(visit) == []
    wide = visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0


def a_full_account(stack: BackgroundStack, user: str) -> str:
    """Give an account some of everything, and return its trader's token."""
    token = stack.trader_token(user)
    for name, body in [
        ("add", {"amount": "5000.00"}),
        ("buy", {"symbol": "AXE", "amount": "1000.00"}),
        ("commit-buy", {}),
        ("sell", {"symbol": "AXE", "amount": "100.00"}),
        ("buy", {"symbol": "AXE", "amount": "100.00"}),
        ("buy", {"symbol": "TWO", "amount": "60.00"}),
        ("commit-sell", {}),
        ("sell", {"symbol": "AXE", "amount": "50.00"}),
        ("set-buy-amount", {"symbol": "LOW", "amount": "100.00"}),
        ("set-buy-trigger", {"symbol": "LOW", "price": "5.00"}),
        ("set-buy-amount", {"symbol": "NIL", "amount": "100.00"}),
        ("set-sell-amount", {"symbol": "AXE", "amount": "200.00"}),
        ("set-sell-trigger", {"symbol": "AXE", "price": "20.00"}),
    ]:
        assert ask(stack, "POST", f"/users/{user}/{name}", token, body)[0] == 200, name
    assert ask(stack, "POST", f"/users/{user}/cancel-set-buy", token, {"symbol": "NON"})[0] == 409
    return token


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_traders_page_passes_axe(floor: BackgroundStack, visits: Visits, width: int, scheme: str) -> None:
    visit = visits(floor, width, scheme).open()
    visit.page.get_by_role("heading", name="Sign in").wait_for()
    must_look_well(visit)
    visit.page.get_by_role("button", name="Sign in").click()
    visit.says("Paste a token.")
    must_look_well(visit)
    visit.open(a_full_account(floor, f"axe{width}{scheme}"))
    visit.panel("Holdings").get_by_role("row", name=re.compile("AXE .* reserved")).wait_for()
    ticket = visit.panel("Trade")
    ticket.get_by_label("Symbol").fill("axe")
    ticket.get_by_label("Amount").fill("100")
    ticket.locator("dl.preview").wait_for()
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.says("Enter an amount.")
    visit.panel("Triggers").get_by_text("−50.0%").wait_for()
    must_look_well(visit)
    visit.must_be_clean()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_news_a_changed_order_and_an_outage_pass_axe(
    floor: BackgroundStack, visits: Visits, width: int, scheme: str
) -> None:
    user = f"told{width}{scheme}"
    given(floor, user, ("add", {"amount": "100.00"}), buy("OLD", "20"))
    visit = visits(floor, width, scheme).open(floor.trader_token(user))
    button = visit.panel("Pending orders").get_by_role("button", name="Commit the buy of 2 shares of OLD")
    button.wait_for()
    with visit.hidden():
        given(floor, user, buy("XYZ", "20"))
        button.evaluate("element => element.click()")
        visit.says(re.compile("Nothing was changed: a newer buy came first"))
    visit.panel("What happened").get_by_text("Order placed: buy 2 shares of XYZ").wait_for()
    must_look_well(visit)
    down = {"code": "store_unavailable", "detail": "down: mongodb"}
    for path in ("**/account*", "**/health"):
        visit.page.route(path, lambda route: route.fulfill(status=503, json=down))
    visit.page.locator(".trouble").get_by_text("database (MongoDB)").wait_for()
    visit.page.locator(".old .notice").wait_for()
    must_look_well(visit)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_an_operators_page_passes_axe(floor: BackgroundStack, visits: Visits, width: int, scheme: str) -> None:
    visit = visits(floor, width, scheme).open(floor.operator_token)
    visit.panel("System").locator("svg").first.wait_for()
    visit.panel("Audit log of all users").wait_for()
    must_look_well(visit)
    visit.must_be_clean()


def test_the_page_is_small_and_asks_nothing_of_another_host(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor).open(floor.trader_token("small"))
    visit.glance("Cash").wait_for()
    files = [
        item
        for item in visit.requests
        if not item.url.startswith("data:") and not re.search("/users/|/prices/|/health", item.url)
    ]
    answers = [answer for item in files if (answer := item.response()) is not None]
    assert len(answers) == len(files) > 10
    assert sum(len(answer.body()) for answer in answers) < MOST_BYTES
    assert {answer.status for answer in answers} == {200}
    assert sum(item.sizes()["responseBodySize"] for item in files) < MOST_BYTES_SENT
    visit.must_be_clean()


def test_the_policy_lets_no_other_script_style_or_host_in(floor: BackgroundStack, visits: Visits) -> None:
    """As the browser enforces it: what an injected text could try is refused."""
    visit = visits(floor).open()
    visit.page.get_by_role("heading", name="Sign in").wait_for()
    tried = visit.page.evaluate(
        """async () => {
            const refused = [];
            document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.broken = 1'>");
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            document.body.append(script);
            const far = document.createElement("script");
            far.src = "https://example.com/x.js";
            document.body.append(far);
            await fetch("https://example.com/").catch(() => {});
            document.body.insertAdjacentHTML("beforeend", "<style>body { color: red }</style><p style='color: red'>");
            for (let look = 0; look < 200 && new Set(refused).size < 5; look += 1) {
                await new Promise((done) => setTimeout(done, 50));
            }
            return { refused: [...new Set(refused)].sort(), broken: window.broken ?? null };
        }"""
    )
    assert tried["broken"] is None
    assert {"connect-src", "script-src-attr", "script-src-elem", "style-src-attr", "style-src-elem"} <= set(
        tried["refused"]
    )


def test_nobody_who_prefers_less_motion_sees_any(floor: BackgroundStack, visits: Visits) -> None:
    visit = visits(floor).open(a_full_account(floor, "still"))
    bar = visit.page.locator(".bar span").first
    bar.wait_for(state="attached")
    timing = "element => getComputedStyle(element).animationTimingFunction"
    assert bar.evaluate(timing) == "linear"
    visit.page.emulate_media(reduced_motion="reduce")
    assert bar.evaluate(timing) == "steps(12)"


def test_the_addresses_of_the_page_are_relative(floor: BackgroundStack, visits: Visits) -> None:
    """In AWS the page stands below the path of a stage: here below one that the browser adds."""
    visit = visits(floor)

    def below(route: Any) -> None:
        parts = urlsplit(route.request.url)
        assert parts.path.startswith("/api/"), parts.path
        route.continue_(url=f"{floor.url}{parts.path.removeprefix('/api')}")

    visit.page.route("**/*", below)
    visit.page.goto(f"{floor.url}/api/#token={floor.trader_token('staged')}")
    visit.glance("Cash").get_by_text("$0.00").wait_for()
    visit.must_be_clean()
