"""The settings of the interface: who signs tokens, who may ask from a browser, and what is shown of a wrong value."""

import pytest

from chalicelib.config.settings import SettingError, read_cors_origin, read_settings
from chalicelib.connections import connect_database, connect_redis
from chalicelib.http.routes import CORS, cors_config
from chalicelib.runtime import make_rate_limit, make_tokens
from tests.unit.test_settings import GOOD

PROVIDER = {
    "AUTH_JWKS_URL": "https://login.example.com/.well-known/jwks.json",
    "AUTH_ISSUER": "https://login.example.com/",
    "AUTH_AUDIENCE": "day-trading",
}


def message(env: dict[str, str]) -> str:
    with pytest.raises(SettingError) as raised:
        read_settings(env)
    return str(raised.value)


def without(env: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in env.items() if key != name}


def test_a_provider_makes_the_secret_unnecessary_and_both_may_be_there() -> None:
    alone = read_settings(without(GOOD, "AUTH_SECRET") | PROVIDER)
    assert (alone.auth_secret, alone.auth_user_claim, alone.auth_role_claim) == (None, "sub", "role")
    assert set(make_tokens(alone)._kinds) == {"RS256", "ES256"}
    assert set(make_tokens(read_settings(GOOD | PROVIDER))._kinds) == {"HS256", "RS256", "ES256"}
    assert set(make_tokens(read_settings(GOOD))._kinds) == {"HS256"}


@pytest.mark.parametrize("name", ["AUTH_ISSUER", "AUTH_AUDIENCE"])
def test_a_provider_without_issuer_or_audience_is_refused(name: str) -> None:
    assert message(without(GOOD | PROVIDER, name)).startswith(f"setting {name}: got nothing, takes ")
    assert message(GOOD | PROVIDER | {name: " "}).startswith(f"setting {name}: got ' ', takes ")


@pytest.mark.parametrize(
    "url",
    ["", "http://login.example.com/keys", "file:///etc/passwd", "https://", "login.example.com/keys", "https://x:y/z"]
    + ["http://localhost.example.com/keys", "http://127.0.0.1.example.com/keys", "https://login.example.com"],
)
def test_keys_come_over_https_only(url: str) -> None:
    assert message(GOOD | PROVIDER | {"AUTH_JWKS_URL": url}).startswith(f"setting AUTH_JWKS_URL: got {url!r}, takes ")


LOGIN = {**PROVIDER, "LOGIN_CLIENT_ID": "page"}


def test_a_login_needs_a_provider_whose_issuer_is_an_address() -> None:
    assert read_settings(GOOD | PROVIDER).login_client_id is None
    found = read_settings(GOOD | LOGIN)
    assert (found.login_client_id, found.login_scope, found.login_token, found.login_origin) == (
        "page",
        "openid",
        "access",
        None,
    )
    assert message(GOOD | {"LOGIN_CLIENT_ID": "page"}).startswith("setting AUTH_JWKS_URL: got nothing, takes ")
    for issuer in ("us", "http://login.example.com", "https://a b", "https://a;script-src", "javascript:alert(1)"):
        assert message(GOOD | LOGIN | {"AUTH_ISSUER": issuer}).startswith(
            f"setting AUTH_ISSUER: got {issuer!r}, takes "
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOGIN_CLIENT_ID", " "),
        ("LOGIN_SCOPE", ""),
        ("LOGIN_TOKEN", "refresh"),
        ("LOGIN_ORIGIN", "https://login.example.com/path"),
        ("LOGIN_ORIGIN", "http://login.example.com"),
        ("LOGIN_ORIGIN", "https://a b"),
        ("LOGIN_ORIGIN", "*"),
    ],
)
def test_wrong_settings_of_the_login_are_named(name: str, value: str) -> None:
    assert message(GOOD | LOGIN | {name: value}).startswith(f"setting {name}: got {value!r}, takes ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:80"])
def test_on_this_machine_keys_may_come_without_tls(host: str) -> None:
    url = f"http://{host}/keys"
    assert read_settings(GOOD | PROVIDER | {"AUTH_JWKS_URL": url}).auth_jwks_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "info"),
        ("RATE_LIMIT", "-1"),
        ("DUMP_RATE_LIMIT", "-1"),
        ("RATE_LIMIT_SECONDS", "0"),
        ("AUTH_TIMEOUT_MS", "never"),
        ("AUTH_USER_CLAIM", ""),
        ("CORS_ORIGIN", "*"),
        ("CORS_ORIGIN", "https://a.example, https://b.example"),
        ("CORS_ORIGIN", "https://trade.example.com/"),
        ("CORS_ORIGIN", "https://trade.example.com/page"),
        ("CORS_ORIGIN", "null"),
        ("CORS_ORIGIN", ""),
    ],
)
def test_a_wrong_value_is_named_with_what_it_got(name: str, value: str) -> None:
    assert message(GOOD | {name: value}).startswith(f"setting {name}: got {value!r}, takes ")


@pytest.mark.parametrize("name", ["MONGO_URI", "REDIS_URL"])
@pytest.mark.parametrize(
    "value", ["http://user:swordfish@host/x", "user:swordfish@host", "x//user:sword//fish@host@host"]
)
def test_the_credentials_of_an_address_are_never_shown(name: str, value: str) -> None:
    said = message(GOOD | {name: value})
    assert said.startswith(f"setting {name}: got ")
    assert "host" in said
    assert "fish" not in said
    assert "user" not in said


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb://user:swordfish@host:port/", "mongodb://h/?replicaSet"])
def test_an_address_of_mongodb_that_is_none_is_named(uri: str) -> None:
    with pytest.raises(SettingError, match=r"^setting MONGO_URI: got ") as raised:
        connect_database(read_settings(GOOD | {"MONGO_URI": uri}))
    assert "swordfish" not in str(raised.value)


def test_an_address_of_redis_that_is_none_is_named() -> None:
    with pytest.raises(SettingError, match=r"^setting REDIS_URL: got ") as raised:
        connect_redis(read_settings(GOOD | {"REDIS_URL": "redis://user:swordfish@host:port"}))
    assert "swordfish" not in str(raised.value)


def test_traders_have_limits_unless_they_are_taken_off() -> None:
    settings = read_settings(GOOD)
    assert (settings.rate_limit, settings.dump_rate_limit, settings.rate_limit_seconds) == (1_200, 10, 60)
    assert make_rate_limit(connect_redis(settings), settings, settings.rate_limit) is not None
    assert make_rate_limit(connect_redis(settings), settings, 0) is None


def test_there_is_no_cors_unless_it_is_set() -> None:
    assert CORS is None
    assert read_cors_origin({}) is None


def test_cors_names_the_one_origin_and_what_it_may_send_and_read() -> None:
    config = cors_config(read_cors_origin({"CORS_ORIGIN": "https://trade.example.com:8443"}))
    assert config is not None
    headers = config.get_access_control_headers()
    assert headers["Access-Control-Allow-Origin"] == "https://trade.example.com:8443"
    assert {"Authorization", "Content-Type", "Idempotency-Key", "X-Transaction-Num"} <= set(
        headers["Access-Control-Allow-Headers"].split(",")
    )
    assert headers["Access-Control-Expose-Headers"] == "Idempotent-Replayed,Retry-After"
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("server", ["gateway-1", "x" * 200, "x" + "\u00e9" * 100])
def test_mongodb_is_told_which_server_it_serves_in_the_128_bytes_it_takes(server: str) -> None:
    settings = read_settings({**GOOD, "SERVER_NAME": server})
    database = connect_database(settings, answer_ms=1_000)
    said = database.client.options.pool_options.metadata["application"]["name"]
    database.client.close()
    assert f"day-trading {server}".startswith(said)
    assert said == f"day-trading {server}" or 127 <= len(said.encode()) <= 128
