"""Settings are checked at start: a wrong one names itself, what it got and what it takes."""

from dataclasses import fields
from pathlib import Path

import pytest

from chalicelib.config.settings import SettingError, Settings, read_settings

GOOD = {
    "MONGO_URI": "mongodb://127.0.0.1:27017/?replicaSet=rs",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "QUOTE_SOURCE": "fixed:10.00",
    "AUTH_SECRET": "0123456789abcdef0123456789abcdef",
    "DUMP_PLACE": "dumps",
}
TLS = {"MONGO_URI": "mongodb+srv://host/", "REDIS_URL": "rediss://host"}


def test_good_settings_are_read() -> None:
    read = read_settings({**GOOD, "MONGO_POOL_SIZE": "7"})
    assert (read.mongo_pool_size, read.mongo_database, read.quote_source) == (7, "day_trading", "fixed:10.00")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_has_no_default_must_be_there(name: str) -> None:
    with pytest.raises(SettingError, match=f"^setting {name}: got nothing, takes "):
        read_settings({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONGO_URI", "http://x"),
        ("REDIS_URL", "127.0.0.1"),
        ("MONGO_POOL_SIZE", "many"),
        ("MONGO_POOL_SIZE", "0"),
        ("COMMAND_TIMEOUT_MS", "-1"),
        ("RECENT_ACCOUNTS", "1.5"),
        ("DUMP_PLACE", " "),
        ("WRITE_CONCERN", "0"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_got(name: str, value: str) -> None:
    with pytest.raises(SettingError) as raised:
        read_settings({**GOOD, name: value})
    assert str(raised.value).startswith(f"setting {name}: got {value!r}, takes ")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("MONGO_URI", "mongodb+srv://user:hidden@host/"),
        ("MONGO_URI", "mongodb://user:hidden@one,two/?replicaSet=rs&tls=true"),
        ("MONGO_URI", "mongodb://user:hidden@one/?SSL=True"),
        ("REDIS_URL", "rediss://:hidden@host:6379/0"),
    ],
)
def test_addresses_with_tls_are_taken_where_it_is_required(name: str, good: str) -> None:
    settings = read_settings({**GOOD, **TLS, name: good, "REQUIRE_TLS": "yes"})
    assert good in {settings.mongo_uri, settings.redis_url}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("MONGO_URI", "mongodb://user:hidden@host/?replicaSet=rs"),
        ("MONGO_URI", "mongodb+srv://user:hidden@host/?tls=false"),
        ("MONGO_URI", "mongodb+srv://user:hidden@host/?tlsInsecure=true"),
        ("MONGO_URI", "mongodb://user:hidden@host/?tls=true&tlsAllowInvalidCertificates=true"),
        ("REDIS_URL", "redis://:hidden@host:6379/0"),
        ("REDIS_URL", "rediss://:hidden@host:6379/0?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss://:hidden@host:6379/0?ssl_check_hostname=false"),
    ],
)
def test_addresses_without_tls_are_refused_where_it_is_required(name: str, bad: str) -> None:
    assert read_settings({**GOOD, **TLS, name: bad})
    with pytest.raises(SettingError, match=f"setting {name}: .*because REQUIRE_TLS is yes") as raised:
        read_settings({**GOOD, **TLS, name: bad, "REQUIRE_TLS": "yes"})
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("name", ["AUTH_SECRET", "AUTH_SECRET_PREVIOUS"])
def test_a_short_secret_is_refused_and_never_shown(name: str) -> None:
    with pytest.raises(SettingError, match=f"setting {name}: ") as raised:
        read_settings({**GOOD, name: "swordfish"})
    assert "swordfish" not in str(raised.value)
    assert "9 bytes" in str(raised.value)


def test_a_previous_secret_alone_is_refused_since_its_tokens_would_still_be_accepted() -> None:
    provider = {"AUTH_JWKS_URL": "https://login.example.com/keys", "AUTH_ISSUER": "https://x", "AUTH_AUDIENCE": "x"}
    only_provider = {name: value for name, value in {**GOOD, **provider}.items() if name != "AUTH_SECRET"}
    assert read_settings(only_provider).auth_secret is None
    with pytest.raises(SettingError, match=r"setting AUTH_SECRET_PREVIOUS: got .*without AUTH_SECRET"):
        read_settings({**only_provider, "AUTH_SECRET_PREVIOUS": "x" * 32})


def test_traces_are_off_unless_asked_for_and_need_their_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**GOOD, "OTEL_TRACES_EXPORTER": "otlp"}
    assert read_settings(GOOD).otel_traces_exporter == "none"
    assert read_settings(asked).otel_traces_exporter == "otlp"
    assert read_settings({**asked, "OTEL_SDK_DISABLED": "true"}).otel_traces_exporter == "none"
    with pytest.raises(SettingError, match="none or otlp"):
        read_settings({**GOOD, "OTEL_TRACES_EXPORTER": "jaeger"})
    monkeypatch.setattr("chalicelib.config.settings.find_spec", lambda _: None)
    with pytest.raises(SettingError, match="requirements-observing"):
        read_settings(asked)


def test_every_setting_stands_in_the_operations_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    for field in fields(Settings):
        assert f"`{field.name.upper()}`" in manual


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingError) as raised:
        read_settings({"LOG_LEVEL": "LOUD", "AUTH_JWKS_URL": "http://elsewhere"})
    named = [line.split()[1].rstrip(":") for line in str(raised.value).splitlines()]
    wanted = ["AUTH_AUDIENCE", "AUTH_ISSUER", "AUTH_JWKS_URL", "DUMP_PLACE", "LOG_LEVEL", "MONGO_URI"]
    assert sorted(named) == [*wanted, "QUOTE_SOURCE", "REDIS_URL"]
