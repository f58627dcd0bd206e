"""The page's arithmetic, in the browser that runs it: exact, whatever the size."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route

from chalicelib.domain.errors import InvalidAmountError
from chalicelib.domain.money import MAX_CENTS, format_cents, parse_cents
from chalicelib.http.page import page as served_page
from chalicelib.http.problems import STATUSES, UNKNOWN_CODES
from infra.local.background import BackgroundStack
from tests.browser.conftest import Visits


@pytest.fixture
def page(floor: BackgroundStack, visits: Visits) -> Page:
    visit = visits(floor).open()
    visit.page.get_by_role("heading", name="Sign in").wait_for()
    return visit.page


def call(page: Page, module: str, expression: str, *given: Any) -> Any:
    """Return what an expression comes to, `m` being a module of the page and `x` what is given."""
    address = f"./assets/{served_page().version}/{module}.js"
    script = f"async ([address, x]) => {{ const m = await import(new URL(address, location)); return {expression}; }}"
    return page.evaluate(script, [address, list(given)])


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ('{"transaction":9223372036854775807,"shares":12}', '{"transaction":"9223372036854775807","shares":12}'),
        ("[-9007199254740993,123456789012345]", '["-9007199254740993",123456789012345]'),
        ('{"a":"9223372036854775807 \\" 12345678901234567890"}', None),
        ('{"a\\"1234567890123456789":[true,null,"\\\\"]}', None),
        ("[0.1234567890123456,1.5,-2,0]", None),
    ],
)
def test_whole_numbers_of_63_bits_are_kept_and_nothing_else_is_changed(
    page: Page, text: str, parsed: str | None
) -> None:
    assert call(page, "api", "JSON.stringify(m.parseJson(x[0]))", text) == (parsed or text)


UNAVAILABLE = sorted(code for code, status in STATUSES.items() if status == 503)


@pytest.mark.parametrize("code", [*UNAVAILABLE, "internal_error", "bad_gateway", "http_504"])
@pytest.mark.parametrize("changes", [True, False], ids=["command", "read"])
def test_the_page_tells_a_command_that_may_have_been_done_from_one_that_changed_nothing(
    page: Page, code: str, changes: bool
) -> None:
    """By the code of the last answer; a read changes nothing whatever comes."""
    status = STATUSES.get(code, 504)
    text = ask_once(page, status, code, changes=changes)
    unknown = changes and code not in set(UNAVAILABLE) - UNKNOWN_CODES
    assert ("may have been done" in text, "nothing was changed" in text) == (unknown, not unknown)


@pytest.mark.parametrize(("last", "unknown"), [(401, True), (503, True), (409, False)])
def test_a_try_whose_outcome_nobody_knows_is_not_forgotten_by_the_next_answer(
    page: Page, last: int, unknown: bool
) -> None:
    code = {401: "unauthorized", 503: "quote_unavailable", 409: "insufficient_funds"}[last]
    text = ask_once(page, last, code, before=None)
    assert ("may have been done" in text) == unknown
    assert "nothing was changed" not in text


def ask_once(page: Page, status: int, code: str, *, changes: bool = True, before: int | None = 200) -> str:
    """Return what the page says of a request that is answered this at last; `before` None: after no answer at all."""
    answers = [(status, code)] if before is not None else [(503, "store_unavailable"), (status, code)]
    asked = iter(answers)

    def fulfil(route: Route) -> None:
        status, code = next(asked)
        body = json.dumps({"code": code, "detail": "why"})
        kind = "application/problem+json"
        route.fulfill(status=status, body=body, content_type=kind, headers={"Retry-After": "0"})

    page.route("**/asked", fulfil)
    patience = 0 if before is not None else 400
    send = "post('/asked', {}, {patienceMs: x[1]})" if changes else "get('/asked', {patienceMs: x[1]})"
    script = f"""async ([address, x]) => {{
        const {{ Api }} = await import(new URL(`${{address}}/api.js`, location));
        const {{ inWords }} = await import(new URL(`${{address}}/problems.js`, location));
        try {{ await new Api(() => {{}}).{send}; }} catch (error) {{ return inWords(error).text; }}
    }}"""
    text: str = page.evaluate(script, [f"./assets/{served_page().version}", [None, patience]])
    page.unroute("**/asked")
    return text


@settings(max_examples=15, deadline=None)
@given(
    amounts=st.lists(
        st.from_regex(r"\A[0-9]{1,11}(\.[0-9]{0,3})?\Z") | st.text(alphabet="0123456789.,-+eEx$", max_size=8),
        min_size=20,
        max_size=20,
    )
)
def test_the_page_takes_the_amounts_that_the_server_takes(any_page: Page, amounts: list[str]) -> None:
    read = call(any_page, "money", "x.map((text) => m.readAmount(text).cents?.toString() ?? null)", *amounts)
    for amount, cents in zip(amounts, read, strict=True):
        try:  # the page sends what it has read: what is only there for people is never seen by the server
            expected = parse_cents(as_the_server_takes_it(amount), "amount")
        except InvalidAmountError:
            assert cents is None, amount
        else:
            assert cents == str(expected), amount


def as_the_server_takes_it(typed: str) -> str:
    """Return an amount without a dollar sign, commas between thousands, and zeros in front."""
    text = typed.strip().removeprefix("$").strip()
    if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?", text):
        text = text.replace(",", "")
    return re.sub("^0+(?=[0-9])", "", f"0{text}" if re.match(r"\.[0-9]", text) else text)


@pytest.mark.parametrize(
    ("typed", "cents"),
    [("1,000.50", "100050"), ("$50", "5000"), (".5", "50"), ("$8,614.98", "861498"), (" $ 7 ", "700"), ("1,00", None)],
)
def test_amounts_are_taken_as_people_and_the_page_write_them(any_page: Page, typed: str, cents: str | None) -> None:
    assert call(any_page, "money", "m.readAmount(x[0]).cents?.toString() ?? null", typed) == cents


@pytest.fixture(scope="module")
def any_page(browser: Any, floor: BackgroundStack) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{floor.url}/")
    yield page
    context.close()


def test_money_goes_there_and_back(page: Page) -> None:
    cents = [1, 10, 99, 100, 101, 12345, MAX_CENTS, 9_007_199_254_740_993, 9_223_372_036_854_775_807]
    wires = [format_cents(amount) for amount in cents]
    assert call(page, "money", "x.map((text) => m.wireOf(m.centsOf(text)))", *wires) == wires
    assert call(page, "money", "x.map((text) => m.shown(m.centsOf(text)))", *wires) == [
        f"${amount // 100:,}.{amount % 100:02}" for amount in cents
    ]


def test_distances_are_percentages_with_a_sign(page: Page) -> None:
    pairs = [("1000", "1100"), ("1000", "800"), ("1000", "1000"), ("1000000000000000", "1001000000000000"), ("3", "4")]
    shown = call(page, "money", "x.map(([from, to]) => m.distance(BigInt(from), BigInt(to)))", *pairs)
    assert shown == ["+10.0%", "−20.0%", "0.0%", "+0.1%", "+33.3%"]


def test_rates_and_latencies_come_from_two_looks_at_the_counters(page: Page) -> None:
    def look(count: int, fast: int) -> str:
        return (
            '# HELP trading_commands_total x\ntrading_server_info{server="a"} 1.0\n'
            f'trading_commands_total{{command="ADD",outcome="ok"}} {count}.0\n'
            'trading_commands_total{command="ADD",outcome="store_unavailable"} 3.0\n'
            'trading_commands_total{command="BUY",outcome="insufficient_funds"} 2.0\n'
            f'trading_command_seconds_bucket{{command="ADD",le="0.01"}} {fast}.0\n'
            f'trading_command_seconds_bucket{{command="ADD",le="0.1"}} {count}.0\n'
            f'trading_command_seconds_bucket{{command="ADD",le="+Inf"}} {count}.0\n'
            f'trading_command_seconds_count{{command="ADD"}} {count}.0\n'
        )

    step = call(
        page,
        "metrics",
        """(() => {
            const [before, now] = [0, 1].map((n) => m.countsOf(m.parseMetrics(x[n]), n * 2000));
            const step = m.between(before, now);
            const [half, most] = [0.5, 0.95].map((q) => m.quantile(step.all, q));
            return { count: step.all.count, seconds: step.seconds, half, most, failed: now.outcomes.failed,
                     rejected: now.outcomes.rejected, anew: m.between(now, before) };
        })()""",
        look(100, 100),
        look(120, 115),
    )
    assert step == {
        "count": 20,
        "seconds": 2,
        "half": pytest.approx(0.01 * 10 / 15),
        "most": pytest.approx(0.01 + 0.09 * 4 / 5),
        "failed": 3,
        "rejected": 2,
        "anew": None,
    }
