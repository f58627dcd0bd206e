"""The settings: one frozen object, read from the environment and checked before anything starts."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from urllib.parse import parse_qsl, urlsplit

from chalicelib.config.secrets_manager import SecretError, read_secret

MIN_SECRET_BYTES = 32
"""HS256 needs a key at least as long as its hash (RFC 7518 section 3.2)."""

HERE = frozenset({"localhost", "127.0.0.1", "::1"})
LOGIN_TOKENS = ("access", "id")
"""Which of the provider's tokens the page sends: the one whose `aud` is AUTH_AUDIENCE."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
WRITE_CONCERNS = ("majority-journaled", "majority", "one")
"""What must have happened to a write before its command is answered; the safest is first and the default."""

DEFAULT_DATABASE = "day_trading"
MAX_NAMESPACE_LENGTH = 128

MOST_CLOCK_TOLERANCE_MS = 5_000
MOST_OF_AN_ACCOUNT = 10_000
"""The limit of orders, triggers or symbols: an account with this many of each still fits MongoDB's 16 MiB."""

_HOST = re.compile(r"[a-z0-9._:-]+")
"""The host of an origin; names that are not ASCII are written in Punycode."""

_S3_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/]+)*/?")


class SettingError(Exception):
    """A setting that cannot be used: its name, its value and what it takes."""

    def __init__(self, name: str, got: str | None, takes: str) -> None:
        shown = "nothing" if got is None else repr(got)
        super().__init__(f"setting {name}: got {shown}, takes {takes}")
        self.name = name


class SeveralSettingsError(SettingError):
    """Several settings that cannot be used, each with its value and what it takes."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        super().__init__(errors[0].name, None, "")
        self.args = ("\n".join(map(str, errors)),)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the functions; `docs/operations.md` describes each."""

    mongo_uri: str
    mongo_database: str
    mongo_pool_size: int
    mongo_timeout_ms: int
    write_concern: str
    command_timeout_ms: int
    clock_tolerance_ms: int
    recent_accounts: int
    max_orders: int
    max_triggers: int
    max_holdings: int
    group_commit: int
    redis_url: str
    redis_namespace: str
    redis_timeout_ms: int
    redis_pool_size: int
    quote_source: str
    recent_quotes: int
    quote_try_ms: int
    quote_limit_ms: int
    quote_first_pause_ms: int
    quote_longest_pause_ms: int
    quote_open_questions: int
    quote_lock_spare_ms: int
    quote_poll_ms: int
    quote_cache_pause_ms: int
    sweep_limit_ms: int
    sweep_quotes_at_once: int
    sweep_writes_at_once: int
    sweep_batch: int
    trigger_seconds: int
    auth_secret: str | None
    auth_secret_previous: str | None
    auth_jwks_url: str | None
    auth_issuer: str | None
    auth_audience: str | None
    auth_user_claim: str
    auth_role_claim: str
    auth_timeout_ms: int
    login_client_id: str | None
    login_scope: str
    login_token: str
    login_origin: str | None
    rate_limit: int
    dump_rate_limit: int
    rate_limit_seconds: int
    cors_origin: str | None
    log_level: str
    otel_traces_exporter: str
    dump_place: str
    dump_link_seconds: int
    dump_quota_mb: int
    dump_bucket_owner: str | None
    dump_function: str | None
    dump_limit_ms: int
    archive_days: int
    server_name: str


def _text(name: str, env: Mapping[str, str], default: str | None = None) -> str:
    value = env.get(name, default)
    if value is None or not value.strip():
        raise SettingError(name, value, "a value; it has no default")
    return value


def _number(name: str, env: Mapping[str, str], default: int, low: int, high: int) -> int:
    raw = env.get(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise SettingError(name, raw, f"a whole number from {low} to {high}")
    return value


def _checked(name: str, env: Mapping[str, str], takes: str, accepts: Callable[[str], bool]) -> str:
    value = env.get(name)
    if value is None or not accepts(value):
        raise SettingError(name, value if value is None else without_credentials(value), takes)
    return value


def _is_place(value: str) -> bool:
    if value.startswith("s3:"):
        return _S3_PLACE.fullmatch(value) is not None
    return bool(value.strip()) and "://" not in value


def without_credentials(address: str) -> str:
    """Return an address with its user and password removed, as far as they can be recognised."""
    scheme, slashes, rest = address.partition("//") if "//" in address else ("", "", address)
    return f"{scheme}{slashes}***@{rest.rpartition('@')[2]}" if "@" in rest else address


def _mongo_uri(env: Mapping[str, str], *, tls: bool) -> str:
    takes = "a mongodb:// or mongodb+srv:// address"
    value = _checked("MONGO_URI", env, takes, lambda value: value.startswith(("mongodb://", "mongodb+srv://")))
    if tls and not _mongo_has_tls(value):
        takes = "an address with TLS (mongodb+srv://, or tls=true) and certificates that are checked"
        raise SettingError("MONGO_URI", without_credentials(value), f"{takes}, because REQUIRE_TLS is yes")
    return value


def _mongo_has_tls(uri: str) -> bool:
    options = _options(uri)
    is_on = options.get("tls", options.get("ssl", "true" if uri.startswith("mongodb+srv:") else "false"))
    unchecked = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
    return is_on == "true" and not any(options.get(name) == "true" for name in unchecked)


def _redis_url(env: Mapping[str, str], *, tls: bool) -> str:
    takes = "a redis:// or rediss:// address"
    value = _checked("REDIS_URL", env, takes, lambda value: value.startswith(("redis://", "rediss://")))
    options = _options(value)
    is_checked = options.get("ssl_cert_reqs", "required") == "required"
    if tls and not (value.startswith("rediss:") and is_checked and options.get("ssl_check_hostname") != "false"):
        takes = "a rediss:// address whose certificate is checked"
        raise SettingError("REDIS_URL", without_credentials(value), f"{takes}, because REQUIRE_TLS is yes")
    return value


def _options(address: str) -> dict[str, str]:
    """Return the query parameters of an address, names and values in lower case; the last one of a name counts."""
    return {name.lower(): value.lower() for name, value in parse_qsl(address.partition("?")[2])}


def _one_of(name: str, env: Mapping[str, str], default: str, values: tuple[str, ...]) -> str:
    value = env.get(name, default)
    if value not in values:
        raise SettingError(name, value, " or ".join(values))
    return value


def _namespace(env: Mapping[str, str]) -> str:
    value = _text("REDIS_NAMESPACE", env, _text("MONGO_DATABASE", env, DEFAULT_DATABASE))
    if not (value.isprintable() and value == "".join(value.split()) and len(value) <= MAX_NAMESPACE_LENGTH):
        raise SettingError("REDIS_NAMESPACE", value, f"1 to {MAX_NAMESPACE_LENGTH} printable characters without blanks")
    return value


def _account(env: Mapping[str, str]) -> str | None:
    value = env.get("DUMP_BUCKET_OWNER")
    if value is not None and re.fullmatch("[0-9]{12}", value) is None:
        raise SettingError("DUMP_BUCKET_OWNER", value, "the 12 digits of an AWS account")
    return value


def _traces_exporter(env: Mapping[str, str]) -> str:
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return "none"
    value = _one_of("OTEL_TRACES_EXPORTER", env, "none", ("none", "otlp"))
    if value != "none" and find_spec("opentelemetry") is None:
        takes = "none, or what it needs: pip install --require-hashes -r requirements-observing.txt"
        raise SettingError("OTEL_TRACES_EXPORTER", value, takes)
    return value


def _secret(name: str, env: Mapping[str, str], *, is_needed: bool) -> str | None:
    value = env.get(name)
    if value is None and not is_needed:
        return None
    takes = f"a random secret of at least {MIN_SECRET_BYTES} bytes"
    if value is None or len(value.encode()) < MIN_SECRET_BYTES:
        # The value is never shown: a short secret is still a secret.
        raise SettingError(name, None if value is None else f"{len(value.encode())} bytes", takes)
    return value


def _previous_secret(env: Mapping[str, str]) -> str | None:
    found = _secret("AUTH_SECRET_PREVIOUS", env, is_needed=False)
    if found is not None and "AUTH_SECRET" not in env:
        raise SettingError(
            "AUTH_SECRET_PREVIOUS", "one without AUTH_SECRET", "nothing then: its tokens would be accepted"
        )
    return found


def _jwks_url(env: Mapping[str, str]) -> str | None:
    value = env.get("AUTH_JWKS_URL")
    if value is not None and not (parsed_origin(value, HERE) and urlsplit(value).path):
        raise SettingError("AUTH_JWKS_URL", value, "an https:// address (http:// only on this machine)")
    return value


def _for_provider(name: str, env: Mapping[str, str], takes: str) -> str | None:
    value = env.get(name)
    if "AUTH_JWKS_URL" in env and (value is None or not value.strip()):
        raise SettingError(name, value, f"{takes}, because AUTH_JWKS_URL is set")
    return value


def _login_client_id(env: Mapping[str, str]) -> str | None:
    value = env.get("LOGIN_CLIENT_ID")
    if value is None:
        return None
    if not value.strip():
        raise SettingError("LOGIN_CLIENT_ID", value, "the page's client id at the provider")
    if "AUTH_JWKS_URL" not in env:
        raise SettingError("AUTH_JWKS_URL", None, "the address of the provider's keys, because LOGIN_CLIENT_ID is set")
    issuer = env.get("AUTH_ISSUER", "")
    if parsed_origin(issuer, HERE) is None:
        takes = "an https:// address (http:// only on this machine), because LOGIN_CLIENT_ID is set"
        raise SettingError("AUTH_ISSUER", issuer, takes)
    return value


def _origin(name: str, env: Mapping[str, str], plain_hosts: frozenset[str] | None, takes: str) -> str | None:
    value = env.get(name)
    if value is not None and value != parsed_origin(value, plain_hosts):
        raise SettingError(name, value, takes)
    return value


def read_cors_origin(env: Mapping[str, str]) -> str | None:
    """Return the origin whose pages may use the interface, or None. Read separately because routes are made with it.

    Raises SettingError.
    """
    return _origin("CORS_ORIGIN", env, None, "one origin, such as https://trade.example.com")


def parsed_origin(address: str, plain_hosts: frozenset[str] | None = None) -> str | None:
    """Return the origin of an https address, or of an http one on one of these hosts (None: any)."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    plain = parts.scheme == "http" and (plain_hosts is None or host in plain_hosts)
    if not host or _HOST.fullmatch(host) is None or not (plain or parts.scheme == "https"):
        return None
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


SAMPLES: Mapping[str, str] = {
    "MONGO_URI": "mongodb://unused/?tls=true",
    "REDIS_URL": "rediss://unused",
    "QUOTE_SOURCE": "fixed:10.00",
    "AUTH_SECRET": "unused, and as long as it has to be",
    "DUMP_PLACE": "unused",
    "AUTH_JWKS_URL": "https://unused/keys",
    "AUTH_ISSUER": "https://unused",
    "AUTH_AUDIENCE": "unused",
}
"""A valid value for each setting that has no default or that others depend on."""


def read_settings(env: Mapping[str, str]) -> Settings:
    """Return the settings in `env`; raises SettingError, which names all that cannot be used."""
    errors: list[SettingError] = []
    tried = dict(env)
    while True:
        try:
            found = _read(tried)
        except SettingError as error:
            if error.name in {earlier.name for earlier in errors}:
                raise
            errors.append(error)
            tried.pop(error.name, None)
            if error.name in SAMPLES:  # a valid value in its place shows whether others are wrong too
                tried[error.name] = SAMPLES[error.name]
            continue
        if errors:
            raise errors[0] if len(errors) == 1 else SeveralSettingsError(errors)
        return found


def _read(env: Mapping[str, str]) -> Settings:
    tls = _one_of("REQUIRE_TLS", env, "no", ("no", "yes")) == "yes"
    return Settings(
        mongo_uri=_mongo_uri(env, tls=tls),
        mongo_database=_text("MONGO_DATABASE", env, DEFAULT_DATABASE),
        mongo_pool_size=_number("MONGO_POOL_SIZE", env, 100, 1, 1000),
        mongo_timeout_ms=_number("MONGO_TIMEOUT_MS", env, 5_000, 100, 60_000),
        write_concern=_one_of("WRITE_CONCERN", env, WRITE_CONCERNS[0], WRITE_CONCERNS),
        command_timeout_ms=_number("COMMAND_TIMEOUT_MS", env, 20_000, 100, 60_000),
        clock_tolerance_ms=_number("CLOCK_TOLERANCE_MS", env, 2_000, 100, MOST_CLOCK_TOLERANCE_MS),
        recent_accounts=_number("RECENT_ACCOUNTS", env, 2_000, 0, 1_000_000),
        max_orders=_number("MAX_ORDERS", env, 1_000, 1, MOST_OF_AN_ACCOUNT),
        max_triggers=_number("MAX_TRIGGERS", env, 1_000, 1, MOST_OF_AN_ACCOUNT),
        max_holdings=_number("MAX_HOLDINGS", env, 1_000, 1, MOST_OF_AN_ACCOUNT),
        group_commit=_number("GROUP_COMMIT", env, 1, 1, 1_000),
        redis_url=_redis_url(env, tls=tls),
        redis_namespace=_namespace(env),
        redis_timeout_ms=_number("REDIS_TIMEOUT_MS", env, 250, 10, 10_000),
        redis_pool_size=_number("REDIS_POOL_SIZE", env, 100, 1, 1_000),
        quote_source=_text("QUOTE_SOURCE", env),
        recent_quotes=_number("RECENT_QUOTES", env, 2_000, 0, 100_000),
        quote_try_ms=_number("QUOTE_TRY_MS", env, 30, 10, 30_000),
        quote_limit_ms=_number("QUOTE_LIMIT_MS", env, 5_000, 100, 60_000),
        quote_first_pause_ms=_number("QUOTE_FIRST_PAUSE_MS", env, 10, 1, 10_000),
        quote_longest_pause_ms=_number("QUOTE_LONGEST_PAUSE_MS", env, 250, 1, 10_000),
        quote_open_questions=_number("QUOTE_OPEN_QUESTIONS", env, 512, 1, 10_000),
        quote_lock_spare_ms=_number("QUOTE_LOCK_SPARE_MS", env, 500, 50, 10_000),
        quote_poll_ms=_number("QUOTE_POLL_MS", env, 50, 5, 1_000),
        quote_cache_pause_ms=_number("QUOTE_CACHE_PAUSE_MS", env, 1_000, 10, 60_000),
        sweep_limit_ms=_number("SWEEP_LIMIT_MS", env, 15_000, 100, 600_000),
        sweep_quotes_at_once=_number("SWEEP_QUOTES_AT_ONCE", env, 16, 1, 256),
        sweep_writes_at_once=_number("SWEEP_WRITES_AT_ONCE", env, 8, 1, 256),
        sweep_batch=_number("SWEEP_BATCH", env, 256, 1, 10_000),
        trigger_seconds=_number("TRIGGER_SECONDS", env, 0, 0, 3_600),
        auth_secret=_secret("AUTH_SECRET", env, is_needed="AUTH_JWKS_URL" not in env),
        auth_secret_previous=_previous_secret(env),
        auth_jwks_url=_jwks_url(env),
        auth_issuer=_for_provider("AUTH_ISSUER", env, "the `iss` of the provider's tokens"),
        auth_audience=_for_provider("AUTH_AUDIENCE", env, "the `aud` of tokens for this system"),
        auth_user_claim=_text("AUTH_USER_CLAIM", env, "sub"),
        auth_role_claim=_text("AUTH_ROLE_CLAIM", env, "role"),
        auth_timeout_ms=_number("AUTH_TIMEOUT_MS", env, 2_000, 100, 30_000),
        login_client_id=_login_client_id(env),
        login_scope=_text("LOGIN_SCOPE", env, "openid"),
        login_token=_one_of("LOGIN_TOKEN", env, LOGIN_TOKENS[0], LOGIN_TOKENS),
        login_origin=_origin("LOGIN_ORIGIN", env, HERE, "one https:// origin (http:// only on this machine)"),
        rate_limit=_number("RATE_LIMIT", env, 1_200, 0, 1_000_000),
        dump_rate_limit=_number("DUMP_RATE_LIMIT", env, 10, 0, 1_000_000),
        rate_limit_seconds=_number("RATE_LIMIT_SECONDS", env, 60, 1, 3_600),
        cors_origin=read_cors_origin(env),
        log_level=_one_of("LOG_LEVEL", env, "INFO", LOG_LEVELS),
        otel_traces_exporter=_traces_exporter(env),
        dump_place=_checked("DUMP_PLACE", env, "a folder or s3://bucket/prefix", _is_place),
        dump_link_seconds=_number("DUMP_LINK_SECONDS", env, 3_600, 1, 604_800),
        dump_bucket_owner=_account(env),
        dump_quota_mb=_number("DUMP_QUOTA_MB", env, 100, 0, 1_000_000),
        dump_function=env.get("DUMP_FUNCTION", "").strip() or None,
        dump_limit_ms=_number("DUMP_LIMIT_MS", env, 15_000, 100, 600_000),
        archive_days=_number("ARCHIVE_DAYS", env, 0, 0, 36_500),
        server_name=_text("SERVER_NAME", env, "day-trading"),
    )


def with_secrets(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return `env` with the contents of the secrets named in SECRET_IDS; raises SettingError."""
    found = dict(env)
    for name in filter(None, map(str.strip, env.get("SECRET_IDS", "").split(","))):
        try:
            found |= read_secret(name, env)
        except SecretError as error:
            takes = f"names or ARNs of secrets of AWS, with commas between, that can be read ({error})"
            raise SettingError("SECRET_IDS", name, takes) from None
    return found


@cache
def settings() -> Settings:
    """Return the settings of this process, read once from its environment and secrets."""
    return read_settings(with_secrets(os.environ))
