"""Authentication: bearer tokens, checked inside the app so that every deployment checks them alike (docs/api.md).

There are two kinds, with different algorithms, so that a key of one cannot serve for the other:

- HS256, signed with AUTH_SECRET or, during rotation, AUTH_SECRET_PREVIOUS, with the claims `sub` and `role`: used by
  the local stack and its tools.
- RS256 or ES256, signed by the OpenID Connect provider whose keys are at AUTH_JWKS_URL, for AUTH_AUDIENCE.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import jwt

from chalicelib import concurrency
from chalicelib.access.errors import ForbiddenError, UnauthorizedError
from chalicelib.access.jwks import KeyRing
from chalicelib.clock import Clock, monotonic_seconds
from chalicelib.config import logins
from chalicelib.domain.errors import InvalidUserError
from chalicelib.domain.names import parse_user

MAX_HEADER_LENGTH = 8192
"""The limit of the Authorization header; API Gateway accepts 10 KB of headers in all."""

LEEWAY_SECONDS = 10
"""By how much the clocks of the token's issuer and of this server may differ."""

CACHE_LIMIT = 2000
"""How many checked tokens a process caches, some 300 bytes each."""

CACHE_MS = 300_000
"""How long a checked token is cached: as long as a provider's keys are."""

_NO_BEARER = "the Authorization header must be: Bearer TOKEN"
_NOT_VALID = "the token is not valid"


class Role(StrEnum):
    """The bearer's role: a trader acts for itself, an operator for anyone."""

    TRADER = "trader"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a checked token."""

    user: str
    role: Role

    @property
    def is_operator(self) -> bool:
        """Return whether the caller may act for anyone."""
        return self.role is Role.OPERATOR

    def must_act_for(self, user: str) -> None:
        """Raise ForbiddenError unless the caller may act for a user, whether the user exists or not."""
        if not self.is_operator and self.user != user:
            raise ForbiddenError("the token does not allow acting for this user")

    def must_be_operator(self) -> None:
        """Raise ForbiddenError unless the caller is an operator."""
        if not self.is_operator:
            raise ForbiddenError("only an operator may do this")


class TokenKind(Protocol):
    """A kind of token: how it is checked, and whom it identifies."""

    @property
    def algorithms(self) -> Sequence[str]:
        """Return the algorithms of such tokens; no other kind uses them."""

    def claims(self, token: str, header: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the claims of a token signed with a key of this kind; raises jwt.InvalidTokenError."""

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Return the caller that the claims identify; raises InvalidUserError or ValueError."""


class SecretTokens:
    """Tokens signed with a secret that the system shares with its tools."""

    algorithms = ("HS256",)

    def __init__(self, *secrets: str) -> None:
        """Accept tokens signed with any of these: the current secret and, during rotation, the previous one."""
        self._secrets = secrets

    def claims(self, token: str, _header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the checked claims."""
        for secret in self._secrets:
            with suppress(jwt.InvalidSignatureError):
                return self._claims(token, secret)
        logins.refused.set()  # perhaps it is signed with a secret that this process has not read yet
        raise jwt.InvalidSignatureError

    def _claims(self, token: str, secret: str) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            secret,
            algorithms=self.algorithms,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "sub", "role"]},
        )

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Return the caller that the claims identify."""
        return Caller(parse_user(claims["sub"]), Role(claims["role"]))


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """Tokens of an OpenID Connect provider, issued for `audience`; the two claims name the user and the role."""

    keys: KeyRing
    issuer: str
    audience: str
    user_claim: str
    role_claim: str
    algorithms: Sequence[str] = ("RS256", "ES256")

    def claims(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the checked claims; raises AuthUnavailableError if the provider's keys cannot be fetched."""
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise jwt.InvalidTokenError("no kid")
        key = self.keys.find(kid)
        if key is None or key.algorithm_name != header["alg"]:
            raise jwt.InvalidTokenError("no such key")
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            leeway=LEEWAY_SECONDS,
            issuer=self.issuer,
            audience=self.audience,
            options={"require": ["exp", "iss", "aud"]},
        )

    def caller(self, claims: Mapping[str, Any]) -> Caller:
        """Return the caller that the claims identify; of several roles, the most powerful."""
        given = _claim(claims, self.role_claim)
        roles = given if isinstance(given, list) else [given]
        role = Role.OPERATOR if Role.OPERATOR in roles else Role.TRADER
        if role not in roles:
            raise ValueError("neither trader nor operator")
        return Caller(parse_user(_claim(claims, self.user_claim)), role)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim; a name that is not a claim may be a path, such as Keycloak's `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


class Tokens:
    """Checks bearer tokens; thread-safe.

    A valid token is cached by its hash, at most until it has expired by the wall clock or by the monotonic one, because
    verifying a signature costs more than the rest of the check. An invalid one is not: its check costs the same each
    time, bounded by its length.
    """

    def __init__(
        self, kinds: Sequence[TokenKind], clock: Clock, monotonic: Callable[[], float] = monotonic_seconds
    ) -> None:
        self._kinds = {algorithm: kind for kind in kinds for algorithm in kind.algorithms}
        self._clock = clock
        self._monotonic = monotonic
        self._lock = concurrency.Lock()
        self._checked: OrderedDict[bytes, tuple[Caller, int, float]] = OrderedDict()

    def check(self, authorization: str | None) -> Caller:
        """Return the bearer of an Authorization header.

        Raises UnauthorizedError, which reveals nothing about the token, or AuthUnavailableError.
        """
        if authorization is None:
            raise UnauthorizedError("needs a header Authorization: Bearer TOKEN")
        if len(authorization) > MAX_HEADER_LENGTH or not authorization.isascii():
            raise UnauthorizedError(_NO_BEARER)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthorizedError(_NO_BEARER)
        name = hashlib.sha256(token.encode()).digest()
        now, steady = self._clock(), self._monotonic()
        caller, until_ms, until_steady = self._checked.get(name, (None, 0, 0.0))  # atomic: only changes need the lock
        if caller is not None and now < until_ms and steady < until_steady:
            return caller
        caller, exp = self._verify(token)
        left_ms = min(CACHE_MS, (exp + LEEWAY_SECONDS) * 1000 - now)
        self._remember(name, (caller, now + left_ms, steady + left_ms / 1000))
        return caller

    def _verify(self, token: str) -> tuple[Caller, int]:
        try:
            header = jwt.get_unverified_header(token)
            kind = self._kinds.get(header.get("alg", ""))
            if kind is None:
                raise UnauthorizedError(_NOT_VALID)
            claims = kind.claims(token, header)
            return kind.caller(claims), math.floor(claims["exp"])
        except (jwt.PyJWTError, InvalidUserError, ValueError, TypeError, OverflowError, RecursionError):
            # The reason helps an attacker more than a client, and may quote the token.
            raise UnauthorizedError(_NOT_VALID) from None

    def _remember(self, name: bytes, checked: tuple[Caller, int, float]) -> None:
        with self._lock:
            self._checked[name] = checked
            self._checked.move_to_end(name)
            while len(self._checked) > CACHE_LIMIT:
                self._checked.popitem(last=False)
