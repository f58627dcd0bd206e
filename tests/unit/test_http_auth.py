"""Who gets in by which token, with keys, clock and provider of the test's own."""

import base64
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.access import jwks as keys_module
from chalicelib.access.errors import AuthUnavailableError, UnauthorizedError
from chalicelib.access.jwks import KeyRing
from chalicelib.access.tokens import CACHE_LIMIT, MAX_HEADER_LENGTH, Caller, ProviderTokens, Role, SecretTokens, Tokens
from tests.integration.provider import AUDIENCE, ISSUER, Key

SECRET = "a secret of the tests, 32 bytes or more"
RSA, OTHER_RSA, EC = Key("first"), Key("first"), Key("curve", "ES256")


@dataclass
class Time:
    """A clock for both: seconds since the start of the test for the keys, the real time and those for the tokens."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int((time.time() + self.seconds) * 1000)


@dataclass
class Fetches:
    """A provider that answers, or does not, and counts."""

    keys: Sequence[Key]
    count: int = 0
    away: bool = False
    then: Callable[[], None] = field(default=lambda: None)

    def __call__(self) -> list[jwt.PyJWK]:
        self.count += 1
        self.then()
        if self.away:
            raise jwt.PyJWKClientConnectionError("away")
        return [jwt.PyJWK(key.public()) for key in self.keys]


def provider_tokens(fetches: Fetches, clock: Time, user: str = "sub", role: str = "role") -> ProviderTokens:
    return ProviderTokens(KeyRing(fetches, clock.monotonic), ISSUER, AUDIENCE, user, role)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def fetches() -> Fetches:
    return Fetches([RSA, EC])


@pytest.fixture
def tokens(fetches: Fetches, clock: Time) -> Tokens:
    """Return a system that takes both kinds."""
    return Tokens([SecretTokens(SECRET), provider_tokens(fetches, clock)], clock.now_ms)


def secret_token(secret: str | bytes = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    good = {"sub": "jane", "role": "trader", "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in good.items() if value is not None}, secret, algorithm)


def unsigned(header: object, claims: object, signature: bytes = b"") -> str:
    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")

    return b".".join([part(header), part(claims), part(signature)]).decode()


def refuses(tokens: Tokens, token: str) -> bool:
    try:
        tokens.check(f"Bearer {token}")
    except UnauthorizedError as error:
        refusal = error
    else:
        return False
    assert token not in str(refusal)
    assert refusal.__cause__ is None
    return True


@pytest.mark.parametrize("key", [RSA, EC], ids=["RS256", "ES256"])
def test_a_token_of_the_provider_lets_its_user_in(tokens: Tokens, key: Key) -> None:
    assert tokens.check(f"Bearer {key.token()}") == Caller("jane", Role.TRADER)
    assert tokens.check(f"bearer {key.token(role='operator')}") == Caller("jane", Role.OPERATOR)
    assert tokens.check(f"Bearer {key.token(aud=['others', AUDIENCE])}") == Caller("jane", Role.TRADER)


def test_a_token_of_the_secret_lets_its_user_in(tokens: Tokens) -> None:
    assert tokens.check(f"Bearer {secret_token()}") == Caller("jane", Role.TRADER)


FAR_AHEAD = 4_000_000_000
"""In the year 2096: a time that has not come however long ago these tests were collected."""

BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": 1_700_000_000},
    "never expires": {"exp": None},
    "not yet valid": {"nbf": FAR_AHEAD},
    "issued in the future": {"iat": FAR_AHEAD},
    "no user": {"sub": None},
    "impossible user": {"sub": "a b"},
    "user of another kind": {"sub": ["jane"]},
    "no role": {"role": None},
    "unknown role": {"role": "king"},
    "role of another kind": {"role": {"$gt": ""}},
    "expiry of words": {"exp": "tomorrow"},
    "endless expiry": {"exp": 1e400},
}


@pytest.mark.parametrize("kind", BAD_CLAIMS)
def test_wrong_claims_are_refused_from_whomever(tokens: Tokens, kind: str) -> None:
    assert refuses(tokens, RSA.token(**BAD_CLAIMS[kind]))
    assert refuses(tokens, secret_token(**BAD_CLAIMS[kind]))


@pytest.mark.parametrize("claims", [{"iss": "https://evil.example/"}, {"iss": None}, {"aud": "others"}, {"aud": None}])
def test_a_token_of_another_issuer_or_for_another_audience_is_refused(tokens: Tokens, claims: dict[str, Any]) -> None:
    assert refuses(tokens, RSA.token(**claims))


GOOD_CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "jane", "role": "operator", "exp": FAR_AHEAD}


def forgeries() -> dict[str, str]:
    """Return tokens for an operator that nobody signed who may."""
    confused = {"alg": "HS256", "kid": RSA.kid, "typ": "JWT"}
    pem = RSA.public_pem()
    signed = jwt.api_jws.PyJWS().get_algorithm_by_name("HS256").sign
    message = unsigned(confused, GOOD_CLAIMS).rpartition(".")[0]
    key_confusion = f"{message}.{base64.urlsafe_b64encode(signed(message.encode(), pem)).decode().rstrip('=')}"
    return {
        "alg none": unsigned({"alg": "none"}, GOOD_CLAIMS),
        "alg None": unsigned({"alg": "None", "kid": RSA.kid}, GOOD_CLAIMS),
        "no alg": unsigned({"kid": RSA.kid}, GOOD_CLAIMS),
        "alg of another kind": unsigned({"alg": ["RS256"], "kid": RSA.kid}, GOOD_CLAIMS),
        "no signature": unsigned({"alg": "RS256", "kid": RSA.kid}, GOOD_CLAIMS),
        "the public key as a secret": key_confusion,
        "another secret": secret_token("x" * 32, role="operator"),
        "another algorithm with the right secret": secret_token(SECRET * 2, "HS512", role="operator"),
        "another key under a known name": OTHER_RSA.token(role="operator"),
        "an unknown key": Key("unknown").token(role="operator"),
        "no key named": RSA.token(role="operator", headers={"kid": None}),
        "a key of another kind": unsigned({"alg": "RS256", "kid": 7}, GOOD_CLAIMS),
        "the curve's name on the other key's signature": RSA.token(role="operator", headers={"kid": EC.kid}),
        "a key brought along": OTHER_RSA.token(role="operator", headers={"jwk": OTHER_RSA.public(), "kid": "brought"}),
        "a key's address brought along": OTHER_RSA.token(headers={"jku": "https://evil.example/k", "kid": "brought"}),
        "claims changed": ".".join([RSA.token().split(".")[0], unsigned({}, GOOD_CLAIMS).split(".")[1], "c2ln"]),
        "an unknown extension that must be understood": RSA.token(headers={"crit": ["x"], "x": 1}),
    }


@pytest.mark.parametrize("kind", forgeries())
def test_a_forgery_is_refused(tokens: Tokens, kind: str) -> None:
    assert refuses(tokens, forgeries()[kind])


def test_each_kind_of_token_is_refused_where_it_is_not_set_up(fetches: Fetches, clock: Time) -> None:
    only_secret = Tokens([SecretTokens(SECRET)], clock.now_ms)
    only_provider = Tokens([provider_tokens(fetches, clock)], clock.now_ms)
    assert refuses(only_secret, RSA.token())
    assert refuses(only_provider, secret_token())


def test_a_token_of_the_secret_before_is_taken_while_that_is_set(clock: Time) -> None:
    before, token = "the secret before, of 32 bytes or more", secret_token("the secret before, of 32 bytes or more")
    tokens = Tokens([SecretTokens(SECRET, before)], clock.now_ms)
    assert tokens.check(f"Bearer {token}").user == "jane"
    assert tokens.check(f"Bearer {secret_token()}").user == "jane"
    assert refuses(tokens, secret_token(before, exp=1))
    assert refuses(tokens, secret_token("a secret of neither, of 32 bytes or more"))
    assert refuses(Tokens([SecretTokens(SECRET)], clock.now_ms), token)


def test_a_secret_that_is_a_public_key_does_not_help(fetches: Fetches, clock: Time) -> None:
    """Even where somebody set the provider's public key as the secret, each kind keeps to its own algorithms."""
    tokens = Tokens([SecretTokens("x" * 40), provider_tokens(fetches, clock)], clock.now_ms)
    assert refuses(tokens, forgeries()["the public key as a secret"])


@pytest.mark.parametrize(
    "header", [b"[" * 5_000, b'{"alg":' * 800, b"\xff\xfe", b"7", b"null", b'{"alg": 1e400}', b'"HS256"', b""], ids=repr
)
def test_a_header_that_is_no_header_is_refused(tokens: Tokens, header: bytes) -> None:
    assert refuses(tokens, unsigned(header, GOOD_CLAIMS))


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(max_size=40))
def test_no_bytes_break_the_check(header: bytes, claims: bytes, signature: bytes) -> None:
    tokens = Tokens([SecretTokens(SECRET), provider_tokens(Fetches([RSA]), Time())], Time().now_ms)
    assert refuses(tokens, unsigned(header, claims, signature))


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip", "cty"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.sampled_from(["HS256", "RS256", "first"])
        | st.lists(st.text(max_size=3), max_size=2),
    )
)  # fmt: skip
def test_no_header_breaks_the_check(header: dict[str, Any]) -> None:
    tokens = Tokens([SecretTokens(SECRET), provider_tokens(Fetches([RSA]), Time())], Time().now_ms)
    assert refuses(tokens, unsigned(header, GOOD_CLAIMS, b"signature"))


def test_a_withdrawn_key_is_accepted_no_longer_when_the_wall_clock_is_set_back(fetches: Fetches, clock: Time) -> None:
    set_back_ms = 0
    kinds = [provider_tokens(fetches, clock)]
    tokens = Tokens(kinds, lambda: clock.now_ms() - set_back_ms, clock.monotonic)
    token = f"Bearer {RSA.token()}"
    assert tokens.check(token).user == "jane"
    fetches.keys, set_back_ms, clock.seconds = [EC], 3_600_000, 600.0
    with pytest.raises(UnauthorizedError):
        tokens.check(token)


def test_a_huge_token_costs_no_more_than_a_small_one(tokens: Tokens) -> None:
    """It is not even looked at."""

    def median_cpu_ns(authorization: str) -> float:
        taken = []
        for _ in range(200):
            began = time.thread_time_ns()  # what else runs on the machine costs this thread nothing
            with pytest.raises(UnauthorizedError):
                tokens.check(authorization)
            taken.append(time.thread_time_ns() - began)
        return statistics.median(taken)

    huge = f"Bearer {secret_token('x' * 32, filler='x' * 5_000_000)}"
    assert len(huge) > MAX_HEADER_LENGTH
    assert median_cpu_ns(huge) < 2 * median_cpu_ns(f"Bearer {secret_token('x' * 32)}")


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic abc", "bearer\tx", "x" * 10_000, "Bearer é.b.c"]
)
def test_what_is_no_bearer_token_is_refused(tokens: Tokens, authorization: str) -> None:
    with pytest.raises(UnauthorizedError):
        tokens.check(authorization)


def test_no_header_is_refused(tokens: Tokens) -> None:
    with pytest.raises(UnauthorizedError):
        tokens.check(None)


@pytest.mark.parametrize(
    ("user_claim", "role_claim", "claims"),
    [
        (
            "nickname",
            "https://trade.example.com/role",
            {"nickname": "jane", "https://trade.example.com/role": "trader"},
        ),
        ("cognito:username", "cognito:groups", {"cognito:username": "jane", "cognito:groups": ["eu", "trader"]}),
        (
            "preferred_username",
            "realm_access.roles",
            {"preferred_username": "jane", "realm_access": {"roles": ["trader"]}},
        ),
    ],
    ids=["Auth0", "Cognito", "Keycloak"],
)
def test_which_claims_name_user_and_role_is_set(
    fetches: Fetches, clock: Time, user_claim: str, role_claim: str, claims: dict[str, Any]
) -> None:
    tokens = Tokens([provider_tokens(fetches, clock, user_claim, role_claim)], clock.now_ms)
    assert tokens.check(f"Bearer {RSA.token(sub='auth0|123', role='operator', **claims)}") == Caller(
        "jane", Role.TRADER
    )
    assert refuses(tokens, RSA.token())


def test_of_several_roles_the_one_that_may_do_most_counts(tokens: Tokens) -> None:
    assert tokens.check(f"Bearer {RSA.token(role=['trader', 'operator'])}").is_operator
    assert refuses(tokens, RSA.token(role=[]))
    assert refuses(tokens, RSA.token(role="traderoperator"))


def test_keys_are_fetched_once_for_many_tokens(tokens: Tokens, fetches: Fetches) -> None:
    for number in range(50):
        tokens.check(f"Bearer {RSA.token(jti=str(number))}")
    assert fetches.count == 1


def test_a_new_key_is_found_and_a_withdrawn_one_is_not_taken_for_long(
    tokens: Tokens, fetches: Fetches, clock: Time
) -> None:
    old = RSA.token(exp=int(time.time()) + 10_000)
    tokens.check(f"Bearer {old}")
    fetches.keys = [new := Key("second")]
    clock.seconds += keys_module.PAUSE_SECONDS
    assert tokens.check(f"Bearer {new.token()}") == Caller("jane", Role.TRADER)
    assert fetches.count == 2
    clock.seconds += keys_module.LIFETIME_SECONDS
    assert refuses(tokens, old)


def test_unknown_keys_cause_one_fetch_a_pause_however_many_there_are(
    tokens: Tokens, fetches: Fetches, clock: Time
) -> None:
    forged = [unsigned({"alg": "RS256", "kid": f"k{number}"}, GOOD_CLAIMS, b"x" * 256) for number in range(300)]
    assert all(refuses(tokens, token) for token in forged)
    assert fetches.count == 1
    clock.seconds += keys_module.PAUSE_SECONDS
    assert all(refuses(tokens, token) for token in forged)
    assert fetches.count == 2
    assert tokens.check(f"Bearer {RSA.token()}").user == "jane"


def test_a_provider_that_is_away_is_asked_once_a_pause_and_said_to_be_away(
    tokens: Tokens, fetches: Fetches, clock: Time
) -> None:
    fetches.away = True
    for _ in range(50):
        with pytest.raises(AuthUnavailableError) as raised:
            tokens.check(f"Bearer {RSA.token()}")
        assert raised.value.retry_after_seconds == keys_module.PAUSE_SECONDS
    assert fetches.count == 1
    fetches.away = False
    clock.seconds += keys_module.PAUSE_SECONDS
    assert tokens.check(f"Bearer {RSA.token()}").user == "jane"


def test_known_keys_outlive_an_outage_of_the_provider_but_not_for_ever(
    tokens: Tokens, fetches: Fetches, clock: Time
) -> None:
    late = int(time.time()) + 100_000
    tokens.check(f"Bearer {RSA.token(exp=late)}")
    fetches.away = True
    clock.seconds = keys_module.LIFETIME_SECONDS + 1
    assert tokens.check(f"Bearer {RSA.token(exp=late, jti='2')}").user == "jane"
    clock.seconds = keys_module.LAST_RESORT_SECONDS + 1
    with pytest.raises(AuthUnavailableError):
        tokens.check(f"Bearer {RSA.token(exp=late, jti='3')}")


def test_a_tokens_end_is_its_end_though_it_was_checked_before(tokens: Tokens, clock: Time) -> None:
    given_ = RSA.token(exp=int(time.time()) + 60)
    assert tokens.check(f"Bearer {given_}").user == "jane"
    clock.seconds = 59
    assert tokens.check(f"Bearer {given_}").user == "jane"
    with tokens._lock:
        assert all(until_ms <= (int(time.time()) + 60 + 10) * 1000 for _, until_ms, _ in tokens._checked.values())


def test_a_checked_token_is_not_checked_again_and_a_bad_one_is_not_remembered(fetches: Fetches, clock: Time) -> None:
    checked: list[str] = []

    @dataclass(frozen=True)
    class Counted(ProviderTokens):
        def claims(self, token: str, header: Any) -> Any:
            checked.append(token)
            return super().claims(token, header)

    kind = Counted(KeyRing(fetches, clock.monotonic), ISSUER, AUDIENCE, "sub", "role")
    tokens = Tokens([kind], clock.now_ms)
    good, bad = RSA.token(), OTHER_RSA.token()
    for _ in range(3):
        tokens.check(f"Bearer {good}")
        assert refuses(tokens, bad)
    assert checked == [good, bad, bad, bad]
    assert good not in str(tokens._checked)


def test_what_is_remembered_of_tokens_is_bounded(clock: Time) -> None:
    tokens = Tokens([SecretTokens(SECRET)], clock.now_ms)
    for number in range(CACHE_LIMIT + 10):
        tokens.check(f"Bearer {secret_token(jti=str(number))}")
    assert len(tokens._checked) == CACHE_LIMIT
