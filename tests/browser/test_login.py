"""Signing in at an OpenID Connect provider: a real one, in a process of its own beside the stack."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Route

from infra.local.background import BackgroundStack, running_stack
from infra.local.services.login import CLIENT, NAME
from tests.browser.conftest import SMALL, Visits
from tests.browser.test_failures import add, ask, away
from tests.browser.test_look import must_look_well
from tests.browser.visits import SECONDS, Visit

TOKEN_SECONDS = 12
REFUSED_SECONDS = TOKEN_SECONDS + 10 + SECONDS
"""After so long the server has refused a token: it lets clocks be 10 s apart."""

LEAST_BETWEEN = 4.9
"""Seconds between two renewals, which the page's timer makes 5."""

VERIFIER = "a verifier of 43 characters or more is what PKCE wants"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
AT_PROVIDER = re.compile("^Sign in at ")


@pytest.fixture(scope="module")
def door(chromium_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """Return a stack at which people sign in, with tokens that have to be renewed often."""
    data = tmp_path_factory.mktemp("door") / "stack"
    prices = ("--quote-source", "fixed:10.00", "--trigger-seconds", "0")
    with running_stack(data, *SMALL, *prices, "--login", "--login-seconds", str(TOKEN_SECONDS)) as stack:
        yield stack


def provider_of(stack: BackgroundStack) -> str:
    """Return host and port of the provider, as the page is told."""
    _, page = ask(stack, "GET", "/", "")
    (told,) = re.findall('data-login-issuer="http://([^"]+)"', page)
    return str(told)


def provider(
    stack: BackgroundStack, method: str, path: str, form: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    """Ask the provider, past the page; return status, headers and text."""
    with contextlib.closing(http.client.HTTPConnection(provider_of(stack), timeout=SECONDS)) as asked:
        body = None if form is None else urlencode(form)
        asked.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"} if body else {})
        answer = asked.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def authorization(stack: BackgroundStack, **changed: str) -> str:
    """Return the address of an authorization request as the page makes it, but for what is changed."""
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": f"{stack.url}/",
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"/oauth2/authorize?{urlencode({**asked, **changed})}"


def code_for(stack: BackgroundStack, user: str, **changed: str) -> str:
    status, headers, text = provider(stack, "POST", authorization(stack, **changed), {"sub": user})
    assert status == 302, text
    (code,) = parse_qs(urlsplit(headers["location"]).query)["code"]
    return code


def redeem(stack: BackgroundStack, code: str, **changed: str) -> tuple[int, dict[str, Any]]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": f"{stack.url}/"}
    form |= {"client_id": CLIENT, "code_verifier": VERIFIER, **changed}
    status, _, text = provider(stack, "POST", "/oauth2/token", form)
    return status, json.loads(text)


def at_provider(page: Page, user: str) -> None:
    """Sign in at the provider, on its page."""
    page.get_by_placeholder("sub").fill(user)
    page.get_by_role("button", name="Authorize").click()


def sign_in(visit: Visit, user: str) -> None:
    """Go to the provider, sign in there and come back."""
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(visit.page, user)
    visit.page.locator(".who strong", has_text=user).wait_for()


def token_of(page: Page) -> str:
    kept: str = page.evaluate("sessionStorage.getItem('day-trading.token')")
    return kept


def must_only_have_asked(visit: Visit) -> None:
    """Check that the page wrote no error, and asked nobody but its server and the provider."""
    assert visit.errors == []
    hosts = {urlsplit(item.url).netloc for item in visit.requests if item.url.startswith("http")}
    assert hosts <= {urlsplit(visit.stack.url).netloc, provider_of(visit.stack)}
    assert not [item.url for item in visit.requests if "eyJ" in item.url], "no token in an address"


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1600, "light")])
def test_the_form_with_a_provider_passes_axe(door: BackgroundStack, visits: Visits, width: int, scheme: str) -> None:
    visit = visits(door, width, scheme).open()
    visit.page.get_by_role("button", name=AT_PROVIDER).wait_for()
    must_look_well(visit)
    visit.page.get_by_text("With a token instead").click()
    visit.page.get_by_label("Token").wait_for()
    must_look_well(visit)


def test_somebody_signs_in_trades_and_signs_out_at_the_provider_too(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "trader_one")
    assert page.url == f"{door.url}/", "code and state are out of the address bar"
    add(visit, "100")
    visit.glance("Cash").get_by_text("100.00").wait_for()
    assert "eyJ" not in page.evaluate("JSON.stringify(localStorage)")
    assert page.context.cookies() == []
    page.reload()
    visit.glance("Cash").get_by_text("100.00").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()
    page.get_by_role("button", name=AT_PROVIDER).wait_for()
    assert page.url == f"{door.url}/"
    assert page.evaluate("sessionStorage.length") == 0
    must_only_have_asked(visit)


def test_an_operator_is_one_by_a_claim_of_the_provider_and_comes_back_to_the_view(
    door: BackgroundStack, visits: Visits
) -> None:
    visit = visits(door)
    visit.page.goto(f"{door.url}/#/users/jane")
    sign_in(visit, "operator")
    visit.page.get_by_role("link", name="Account of jane").wait_for()
    visit.page.get_by_role("link", name="System").click()
    visit.panel("System").wait_for()


def test_the_back_button_leads_back_to_the_page_before_and_after_signing_in(
    door: BackgroundStack, visits: Visits
) -> None:
    visit = visits(door).open()
    page = visit.page
    page.get_by_role("button", name=AT_PROVIDER).click()
    page.get_by_placeholder("sub").wait_for()
    page.go_back()
    sign_in(visit, "back")
    page.go_back()  # at the provider's page again, whose answer would be for a sign-in that was used
    at_provider(page, "other")
    page.locator(".who strong", has_text="back").wait_for()
    assert page.url == f"{door.url}/"
    must_only_have_asked(visit)


def test_only_one_of_a_tab_and_its_copy_renews(door: BackgroundStack, visits: Visits) -> None:
    """The provider takes a refresh token once; a copied tab has the same one."""
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "copied")
    with page.context.expect_page() as opened:
        renewed_by = page.evaluate("window.open(location.href) && sessionStorage.getItem('day-trading.renewal')")
    copy = opened.value
    copy.locator(".who strong", has_text="copied").wait_for()
    assert copy.evaluate("sessionStorage.getItem('day-trading.renewal')") == renewed_by
    renewals: list[Page] = []
    page.context.on(
        "request",
        lambda asked: renewals.append(asked.frame.page) if asked.url.endswith("/oauth2/token") else None,
    )
    refused = copy.get_by_text("The server no longer accepts your token")
    deadline = time.monotonic() + REFUSED_SECONDS
    while not refused.is_visible() and time.monotonic() < deadline:
        copy.evaluate("window.dispatchEvent(new Event('focus'))")  # it reads the account
        copy.wait_for_timeout(500)
    refused.wait_for()
    assert set(renewals) == {page}
    page.locator(".who strong", has_text="copied").wait_for()
    copy.close()
    add(visit, "1")
    visit.glance("Cash").get_by_text("1.00").wait_for()


def test_a_tab_whose_token_ended_while_it_slept_goes_on_with_a_new_one(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "sleeper")
    kept: str = page.evaluate("JSON.stringify(sessionStorage)")
    page.goto("about:blank")  # no timer runs
    over = json.loads(base64.urlsafe_b64decode(json.loads(kept)["day-trading.token"].split(".")[1] + "=="))["exp"]
    page.wait_for_function("over => Date.now() / 1000 > over + 11", arg=over, timeout=REFUSED_SECONDS * 1000)
    page.goto(f"{door.url}/")
    visit.glance("Cash").get_by_text("0.00").wait_for()
    assert token_of(page) != json.loads(kept)["day-trading.token"]
    assert visit.errors == visit.refused == []


def test_somebody_whose_machine_has_the_wrong_time_signs_in(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door)
    visit.page.add_init_script("{ const now = Date.now; Date.now = () => now() + 3_600_000; }")
    visit.open()
    sign_in(visit, "early")
    add(visit, "2")
    visit.glance("Cash").get_by_text("2.00").wait_for()
    assert visit.errors == visit.refused == []


def test_without_a_secure_page_it_is_said_that_one_cannot_sign_in(door: BackgroundStack, visits: Visits) -> None:
    """A browser has no cryptography for a page that came over http from another machine."""
    visit = visits(door)
    visit.page.add_init_script("Object.defineProperty(window, 'isSecureContext', { value: false })")
    visit.open().page.get_by_role("button", name=AT_PROVIDER).click()
    visit.says("A browser signs in at a provider only from a page of https, or of this machine.")


def test_who_is_refused_at_the_provider_reads_that(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    visit.page.get_by_role("button", name="Deny").click()
    visit.says("The provider has not signed you in: it was denied there.")
    assert visit.page.url == f"{door.url}/"


def test_a_token_is_renewed_before_it_ends_and_what_was_typed_stays(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "renewed")
    field = visit.panel("Add cash").get_by_label("Amount to add")
    field.fill("12.34")
    first = token_of(page)
    for _ in range(2):  # the refresh token of a renewal renews in turn
        with page.expect_response(lambda answer: answer.url.endswith("/oauth2/token")) as answered:
            pass
        assert answered.value.status == 200
    assert field.input_value() == "12.34"
    assert token_of(page) != first
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.glance("Cash").get_by_text("12.34").wait_for()
    must_only_have_asked(visit)


def test_after_a_revocation_one_signs_in_anew_in_a_window_and_goes_on(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "revoked")
    field = visit.panel("Add cash").get_by_label("Amount to add")
    field.fill("56.78")
    assert provider(door, "POST", "/users/revoked/revoke-tokens", {})[0] == 204
    visit.says("The provider has ended your sign-in. Sign in again to continue where you left off.")
    assert page.evaluate("sessionStorage.getItem('day-trading.renewal')") is None
    assert token_of(page) is None
    with page.expect_popup() as opened:
        page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(opened.value, "revoked")
    page.locator(".who strong", has_text="revoked").wait_for()
    assert field.input_value() == "56.78"
    visit.panel("Add cash").get_by_role("button", name="Add cash").click()
    visit.glance("Cash").get_by_text("56.78").wait_for()
    if not opened.value.is_closed():
        opened.value.wait_for_event("close")


def test_while_the_provider_is_away_the_page_says_so_and_one_stays_signed_in(
    door: BackgroundStack, visits: Visits
) -> None:
    visit, leaver, stranger = visits(door).open(), visits(door).open(), visits(door).open()
    sign_in(leaver, "leaver")
    sign_in(visit, "patient")
    with away(door, NAME):
        visit.says(re.compile("does not answer. You are signed in until your token ends. Trying again"))
        add(visit, "5")
        visit.glance("Cash").get_by_text("5.00").wait_for()
        stranger.page.get_by_role("button", name=AT_PROVIDER).click()
        stranger.says(re.compile("^The sign-in provider .* does not answer"))
        leaver.page.get_by_role("button", name="Sign out").click()
        leaver.says(re.compile("^You have signed out. The sign-in provider .* does not answer"))
    # It keeps its sessions in memory: after a restart everybody has to sign in there again.
    sign_in(stranger, "later")
    assert stranger.errors == visit.errors == []


def test_an_answer_is_taken_once_and_another_ones_never(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()
    page = visit.page
    answers: list[str] = []
    page.on("framenavigated", lambda frame: answers.append(frame.url) if "state=" in frame.url else None)
    visit.page.on("request", lambda asked: answers.append(asked.url) if asked.is_navigation_request() else None)
    sign_in(visit, "once")
    (used,) = {url for url in answers if url.startswith(f"{door.url}/?") and "code=" in url}
    page.goto(used)  # while signed in, nothing comes of it
    page.locator(".who strong", has_text="once").wait_for()
    assert page.url == f"{door.url}/"
    other = visits(door).open()
    for address in (used, f"{door.url}/?code={code_for(door, 'mallory')}&state=made-up"):
        other.page.goto(address)
        other.says("This sign-in was used already, or was begun in another tab. Sign in again.")
        assert other.page.url == f"{door.url}/"
        assert token_of(other.page) is None
    assert other.sent("POST", "/oauth2/token") == []


def test_an_id_token_for_another_sign_in_is_not_taken(door: BackgroundStack, visits: Visits) -> None:
    """The nonce of an earlier request comes back in place of this one's: a token that was replayed."""
    visit = visits(door).open()
    nonces: list[str] = []

    def replay(route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        nonces.append(asked["nonce"][0])
        route.continue_(url=route.request.url.replace(nonces[-1], nonces[0]))

    visit.page.route(re.compile("/oauth2/authorize"), replay)
    sign_in(visit, "nonce")
    visit.page.get_by_role("button", name="Sign out").click()
    visit.page.get_by_role("button", name="End session").click()
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(visit.page, "nonce")
    visit.says(re.compile('^The provider\'s answer cannot be used: unexpected ID Token "nonce" claim value'))
    assert nonces[0] != nonces[-1]
    assert token_of(visit.page) is None


def test_a_token_for_another_client_opens_nothing(door: BackgroundStack) -> None:
    ours = redeem(door, code_for(door, "audience"))[1]["id_token"]
    other = redeem(door, code_for(door, "audience", client_id="other"), client_id="other")[1]["id_token"]
    assert ask(door, "GET", "/users/audience/summary", ours)[0] == 200
    status, text = ask(door, "GET", "/users/audience/summary", other)
    assert (status, json.loads(text)["code"]) == (401, "unauthorized")


def test_a_token_for_another_client_signs_nobody_in(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door).open()

    def swap(route: Route) -> None:
        (asked,) = visit.sent("GET", "/oauth2/authorize")
        (nonce,) = parse_qs(urlsplit(asked.url).query)["nonce"]
        code = code_for(door, "stranger", client_id="other", nonce=nonce)
        route.fulfill(response=route.fetch(), json=redeem(door, code, client_id="other")[1])

    visit.page.route(re.compile("/oauth2/token"), swap)
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(visit.page, "stranger")
    visit.says(re.compile('^The provider\'s answer cannot be used: unexpected JWT "aud"'))
    assert visit.page.evaluate("sessionStorage.length") == 0


def at_a_provider_for(visit: Visit, *, jwt: bool) -> None:
    """Have the page send access tokens, as at a provider that makes them for an interface: JWTs, or not."""

    def tokens(route: Route) -> None:
        given = route.fetch()
        told = given.json()
        route.fulfill(response=given, json={**told, "access_token": told["id_token"]} if jwt else told)

    visit.page.add_init_script(
        "new MutationObserver(() => { document.documentElement.dataset.loginToken = 'access'; })"
        ".observe(document, { childList: true })"
    )
    visit.page.route(re.compile("/oauth2/token"), tokens)


def test_the_access_token_is_sent_where_that_is_set_and_asked_for_its_audience(
    door: BackgroundStack, visits: Visits
) -> None:
    visit = visits(door)
    at_a_provider_for(visit, jwt=True)
    sign_in(visit.open(), "accessor")
    (asked,) = visit.sent("GET", "/oauth2/authorize")
    assert parse_qs(urlsplit(asked.url).query)["audience"] == [CLIENT]
    add(visit, "3")
    visit.glance("Cash").get_by_text("3.00").wait_for()
    first = token_of(visit.page)
    with visit.page.expect_response(lambda answer: answer.url.endswith("/oauth2/token")):
        pass
    visit.page.wait_for_function("first => sessionStorage.getItem('day-trading.token') !== first", arg=first)


def test_an_access_token_that_nobody_can_read_is_said_to_be_one(door: BackgroundStack, visits: Visits) -> None:
    visit = visits(door)
    at_a_provider_for(visit, jwt=False)
    visit.open().page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(visit.page, "opaque")
    visit.says("The provider's access token cannot be used here: it must be a JWT that names a user of this system")


def test_tokens_that_seem_to_have_ended_are_not_renewed_without_a_pause(door: BackgroundStack, visits: Visits) -> None:
    """As at a provider whose clock is behind: the page's is set ahead, after it has learned the time."""
    visit = visits(door).open()
    page = visit.page
    sign_in(visit, "behind")
    times: list[float] = []
    page.on("request", lambda asked: times.append(time.monotonic()) if asked.url.endswith("/oauth2/token") else None)
    page.route(
        re.compile("/users/"), lambda route: route.abort()
    )  # nothing is learned, nothing asked for a fresh token
    page.evaluate("{ const now = Date.now; Date.now = () => now() + 20_000; }")
    for _ in range(3):
        with page.expect_response(lambda answer: answer.url.endswith("/oauth2/token")):
            pass
    assert times[2] - times[1] >= LEAST_BETWEEN


def test_a_token_that_the_server_does_not_take_is_forgotten_with_what_renews_it(
    door: BackgroundStack, visits: Visits
) -> None:
    visit = visits(door).open()
    problem = {"code": "unauthorized", "detail": "no", "title": "Unauthorized", "status": 401}
    visit.page.route(
        re.compile(f"^{door.url}/users/"),
        lambda route: route.fulfill(status=401, json=problem, content_type="application/problem+json"),
    )
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    at_provider(visit.page, "unknown")
    visit.says("The server does not accept the provider's token: it is not valid here.")
    kept = "['day-trading.token', 'day-trading.renewal'].filter((name) => sessionStorage.getItem(name) !== null)"
    assert visit.page.evaluate(kept) == []


def test_a_code_is_worth_nothing_without_its_verifier_and_a_refresh_token_nothing_twice(door: BackgroundStack) -> None:
    assert redeem(door, code_for(door, "pkce"), code_verifier="x" * 43)[1]["error"] == "invalid_grant"
    code = code_for(door, "pkce")
    tokens = redeem(door, code)[1]
    assert redeem(door, code)[1]["error"] == "invalid_grant"
    renewal = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": CLIENT}
    status, _, text = provider(door, "POST", "/oauth2/token", renewal)
    assert (status, json.loads(text)["refresh_token"] != tokens["refresh_token"]) == (200, True)
    assert json.loads(provider(door, "POST", "/oauth2/token", renewal)[2])["error"] == "invalid_grant"


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example/", "http://127.0.0.1:1/", ""])
def test_the_provider_sends_nobody_to_another_place(door: BackgroundStack, address: str) -> None:
    assert provider(door, "GET", authorization(door, redirect_uri=address))[0] == 400
    assert provider(door, "POST", authorization(door, redirect_uri=address), {"sub": "jane"})[0] == 400
    leaving = urlencode({"post_logout_redirect_uri": address})
    assert provider(door, "GET", f"/oauth2/end_session?{leaving}")[0] == 400
    assert provider(door, "POST", "/oauth2/end_session/confirm", {"redirect_uri": address})[0] == 400


@pytest.mark.parametrize(
    "tried",
    [
        "?redirect_uri=https://evil.example/&iss=https://evil.example&next=//evil.example",
        "?state=https://evil.example/&error=x&error_uri=https://evil.example/",
        "#redirect_uri=https://evil.example/",
    ],
)
def test_no_parameter_leads_the_page_to_another_place(door: BackgroundStack, visits: Visits, tried: str) -> None:
    visit = visits(door)
    visit.page.goto(f"{door.url}/{tried}")
    visit.page.get_by_role("button", name=AT_PROVIDER).click()
    visit.page.get_by_placeholder("sub").wait_for()
    asked = urlsplit(visit.page.url)
    assert asked.netloc == provider_of(door)
    assert parse_qs(asked.query)["redirect_uri"] == [f"{door.url}/"]
    must_only_have_asked(visit)


def test_the_providers_keys_are_published_without_their_private_halves(door: BackgroundStack) -> None:
    _, _, text = provider(door, "GET", "/jwks")
    (key,) = json.loads(text)["keys"]
    assert set(key) == {"kty", "kid", "use", "alg", "n", "e"}


def test_the_provider_answers_under_its_own_name_only(door: BackgroundStack) -> None:
    """A web page whose name was pointed at this machine would be of one origin with it, and could read tokens."""
    with contextlib.closing(http.client.HTTPConnection(provider_of(door), timeout=SECONDS)) as asked:
        asked.request("GET", "/.well-known/openid-configuration", headers={"Host": "evil.example"})
        assert asked.getresponse().status == 400
