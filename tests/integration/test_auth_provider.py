"""Tokens of an identity provider, with its keys fetched over real HTTP by the app as it runs."""

import base64
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest

from chalicelib.access.errors import AuthUnavailableError, UnauthorizedError
from chalicelib.access.jwks import KeyRing, fetch_from
from chalicelib.access.tokens import ProviderTokens, Tokens
from chalicelib.clock import now_ms
from tests.integration.api import Api, running_api
from tests.integration.api import token as secret_token
from tests.integration.provider import AUDIENCE, ISSUER, Key, Provider, running_provider

KEY = Key("first")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider(KEY) as provider:
        yield provider


@pytest.fixture
def api(mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path, provider: Provider) -> Iterator[Api]:
    """Return the app on a fresh database, with both kinds of tokens."""
    more = {"AUTH_JWKS_URL": provider.url, "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, **more) as api:
        yield api


def tokens_of(provider: Provider, timeout_seconds: float = 30.0) -> Tokens:
    keys = KeyRing(fetch_from(provider.url, timeout_seconds))
    return Tokens([ProviderTokens(keys, ISSUER, AUDIENCE, "sub", "role")], now_ms)


def test_a_token_of_the_provider_opens_its_own_account_only(api: Api) -> None:
    jane = f"Bearer {KEY.token()}"
    assert api.ask("POST", "/users/jane/add", {"amount": "1.00"}, authorization=jane).status == 200
    assert api.ask("GET", "/users/john/summary", authorization=jane).code == "forbidden"
    assert api.ask("POST", "/dumplog", {"filename": "x"}, authorization=jane).code == "forbidden"
    assert api.ask("GET", "/users/jane/summary", authorization=f"Bearer {KEY.token(exp=1)}").code == "unauthorized"
    assert api.ask("GET", "/users/jane/summary", authorization=f"Bearer {secret_token('jane', 'trader')}").status == 200


def test_without_a_secret_only_the_provider_is_believed(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path, provider: Provider
) -> None:
    more = {"AUTH_JWKS_URL": provider.url, "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}
    with running_api(mongo_uri, mongo_database, redis_url, tmp_path, without=("AUTH_SECRET",), **more) as api:
        assert api.ask("GET", "/users/jane/summary", authorization=f"Bearer {KEY.token()}").status == 200
        assert api.ask("GET", "/users/jane/summary").code == "unauthorized"


def test_a_provider_that_is_away_is_a_503_that_says_when_to_come_back(api: Api, provider: Provider) -> None:
    provider.status = 500
    reply = api.ask("GET", "/users/jane/summary", authorization=f"Bearer {KEY.token()}")
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "auth_unavailable", "10")
    assert api.ask("GET", "/users/jane/summary").status == 200  # the other kind does not need it


def test_nothing_of_a_token_is_in_the_log(
    api: Api, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [KEY.token(), KEY.token(exp=1), Key("stranger").token(), "x.y.z" * 20, secret_token("jane", "king")]
    statuses = [api.ask("GET", "/users/jane/summary", authorization=f"Bearer {token}").status for token in shown]
    assert statuses == [200, 401, 401, 401, 401]
    api.ask("GET", "/users/jane/summary", authorization=f"Bearer {KEY.token()}", headers={"X-Transaction-Num": "x"})
    said = capsys.readouterr()
    log = caplog.text + said.out + said.err
    assert '"outcome":"unauthorized"' in log
    for token in shown:
        assert not any(part in log for part in token.split(".") if len(part) > 8)
    assert "stranger" not in log


def test_however_many_ask_at_once_the_keys_are_fetched_once(provider: Provider) -> None:
    tokens = tokens_of(provider)
    shown = [f"Bearer {KEY.token(jti=str(number))}" for number in range(40)]
    with ThreadPoolExecutor(20) as pool:
        assert {caller.user for caller in pool.map(tokens.check, shown)} == {"jane"}
    assert provider.asked == 1


def test_a_provider_that_hangs_costs_one_time_out_and_not_one_a_request(provider: Provider) -> None:
    provider.held = threading.Event()
    tokens = tokens_of(provider, timeout_seconds=0.2)

    def asks(number: int) -> bool:
        with pytest.raises(AuthUnavailableError):
            tokens.check(f"Bearer {KEY.token(jti=str(number))}")
        return True

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(asks, range(40)))
    provider.held.set()
    assert provider.asked == 1


def test_a_provider_whose_answer_trickles_in_costs_no_more_than_one_that_hangs(provider: Provider) -> None:
    provider.held, provider.trickles = threading.Event(), True
    tokens = tokens_of(provider, timeout_seconds=0.3)
    try:
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(tokens.check, f"Bearer {KEY.token()}").exception(timeout=20)
    finally:
        provider.held.set()
    assert isinstance(error, AuthUnavailableError)


@pytest.mark.parametrize("status", [302, 404, 500])
def test_keys_are_taken_from_that_address_and_no_other(provider: Provider, status: int) -> None:
    provider.status = status
    with pytest.raises(AuthUnavailableError):
        tokens_of(provider).check(f"Bearer {KEY.token()}")
    assert provider.asked == 1


def test_a_provider_that_serves_a_shared_secret_as_a_key_is_not_believed(provider: Provider) -> None:
    """Such a key would make every reader of the keys a signer."""
    provider.extra = [{"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"x" * 33).decode()}]
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "role": "operator", "exp": 4_000_000_000}
    forged = jwt.encode(claims, "x" * 33, headers={"kid": "shared"})
    tokens = tokens_of(provider)
    with pytest.raises(UnauthorizedError):
        tokens.check(f"Bearer {forged}")
    assert tokens.check(f"Bearer {KEY.token()}").user == "jane"
