"""The trader's page as files: what is served, how long it is kept, and that nothing else can be read."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from chalicelib.http.page import AS_SHIPPED, WEB, asset_names, page, served_text
from tests.integration.api import Api, Reply, running_api

LOADED_LATER = {"login.js", "metrics.js", "oauth4webapi.js", "system.js"}

PROVIDER = {
    "AUTH_JWKS_URL": "http://127.0.0.1:1/keys",
    "AUTH_ISSUER": "https://issuer.example",
    "AUTH_AUDIENCE": "trading",
    "AUTH_USER_CLAIM": 'a"><script>',
    "AUTH_ROLE_CLAIM": "realm_access.roles",
}


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path) as api:
        yield api


def test_the_page_is_served_without_a_token_under_a_strict_policy(api: Api) -> None:
    reply = api.ask("GET", "/", authorization=None)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = reply.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert set(re.findall(r"'[a-z]+'|data:|https?:", policy)) == {"'none'", "'self'", "data:"}
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-cache"


def test_the_page_loads_exactly_the_files_there_are_by_relative_addresses(api: Api) -> None:
    text = api.ask("GET", "/", authorization=None).text
    addresses = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert {address for address in addresses if not address.startswith("data:")} == {
        f"assets/{page().version}/{name}" for name in asset_names() if name not in LOADED_LATER
    }, "all but what only operators and signing in at a provider need"
    assert "<script>" not in text
    assert "style=" not in text


def test_the_page_that_a_browser_has_is_not_sent_again(api: Api) -> None:
    first = api.ask("GET", "/", authorization=None)
    again = api.ask("GET", "/", headers={"If-None-Match": f"W/{first.headers['etag']}"}, authorization=None)
    assert (again.status, again.text) == (304, "")
    assert again.headers["etag"] == first.headers["etag"]
    assert api.ask("GET", "/", headers={"If-None-Match": '"another"'}, authorization=None).status == 200


def test_what_the_page_loads_is_kept_for_ever_under_its_version(api: Api) -> None:
    for name in asset_names():
        reply = api.ask("GET", f"/assets/{page().version}/{name}", authorization=None)
        assert (reply.status, reply.text) == (200, served_text(name))
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.headers["content-type"] in {"text/css; charset=utf-8", "text/javascript; charset=utf-8"}
        assert reply.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_modules_of_others_are_served_as_they_are_and_ours_without_their_comments() -> None:
    for name in asset_names():
        written, served = (WEB / name).read_text(), served_text(name)
        if name in AS_SHIPPED:
            assert served == written
        else:
            assert re.search(r"^(//|/\*)", written)
            assert not re.search(r"^ *(//|/\*)| // ", served, re.MULTILINE)


def test_what_is_left_out_of_our_modules_is_no_part_of_a_text() -> None:
    """Where a comment follows code, all texts before it have ended; only markup goes over more than one line."""
    ours = [WEB / name for name in asset_names() if name not in AS_SHIPPED and name.endswith(".js")]
    lines = [line for path in ours for line in path.read_text().splitlines()]
    behind = [code for line in lines if (code := line.partition(" // ")[0]) != line]
    assert len(behind) > 20
    for code in behind:
        assert (code.count('"') % 2, code.count("`") % 2) == (0, 0), code


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "index.html", "LICENCES.txt", "..", "..%2Fhttp%2Fpage.py", quote("../../app.py", safe=""), "APP.JS"],
)
def test_no_other_file_can_be_read(api: Api, name: str) -> None:
    assert api.ask("GET", f"/assets/{page().version}/{name}", authorization=None).code == "not_found"


def test_files_of_another_version_are_not_mixed_with_these(api: Api) -> None:
    assert api.ask("GET", "/assets/0123456789ab/app.js", authorization=None).code == "not_found"


def test_the_page_knows_the_claims_of_the_providers_tokens(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **PROVIDER) as api:
        text = api.ask("GET", "/", authorization=None).text
    assert 'data-role-claim="realm_access.roles"' in text
    assert 'data-user-claim="a&quot;&gt;&lt;script&gt;"' in text


def policy_of(reply: Reply) -> dict[str, str]:
    parts = (part.partition(" ") for part in reply.headers["content-security-policy"].split("; "))
    return {name: sources for name, _, sources in parts}


def test_the_policy_admits_the_provider_and_nothing_else(
    api: Api, mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    without = policy_of(api.ask("GET", "/", authorization=None))
    login = {"LOGIN_CLIENT_ID": 'page"', "LOGIN_ORIGIN": "https://login.example", "LOGIN_TOKEN": "id"}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **PROVIDER, **login) as other:
        reply = other.ask("GET", "/", authorization=None)
    assert policy_of(reply) == {**without, "connect-src": "'self' https://issuer.example https://login.example"}
    assert without["connect-src"] == "'self'"
    assert 'data-login-client="page&quot;" data-login-issuer="https://issuer.example"' in reply.text
    assert "data-login" not in api.ask("GET", "/", authorization=None).text


def test_what_was_not_written_here_is_named_with_its_licence() -> None:
    licences = (WEB / "LICENCES.txt").read_text()
    for name in ("preact.js", "hooks.js", "htm.js", "oauth4webapi.js"):
        assert name in licences
    assert "The MIT License" in licences
    assert "Apache License" in licences
