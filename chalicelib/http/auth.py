"""Who is asking: bearer tokens, checked inside the app so that it is the same wherever the app runs (API.md)."""

from dataclasses import dataclass
from enum import StrEnum

import jwt

from chalicelib.domain.errors import ForbiddenError, InvalidUserError, UnauthorizedError
from chalicelib.domain.names import parse_user

ALGORITHM = "HS256"
"""The only algorithm that is accepted, whatever a token's own header says."""

MAX_TOKEN_LENGTH = 4096
LEEWAY_SECONDS = 10
"""How far the clocks of the token's maker and of this server may be apart."""


class Role(StrEnum):
    """What a token's bearer may do: a trader acts for itself, an operator for anyone."""

    TRADER = "trader"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a checked token."""

    user: str
    role: Role

    def must_act_for(self, user: str) -> None:
        """Raise ForbiddenError unless the caller may act for a user; says nothing of whether the user exists."""
        if self.role is not Role.OPERATOR and self.user != user:
            raise ForbiddenError("the token does not allow acting for this user")

    def must_be_operator(self) -> None:
        """Raise ForbiddenError unless the caller is an operator."""
        if self.role is not Role.OPERATOR:
            raise ForbiddenError("only an operator may do this")


def check_token(authorization: str | None, secret: str) -> Caller:
    """Return the bearer of an Authorization header; raises UnauthorizedError, never showing the token."""
    if authorization is None:
        raise UnauthorizedError("an Authorization header with a bearer token is needed")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
        raise UnauthorizedError("the Authorization header must be: Bearer TOKEN")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "sub", "role"]},
        )
        return Caller(parse_user(claims["sub"]), Role(claims["role"]))
    except (jwt.InvalidTokenError, InvalidUserError, ValueError) as error:
        raise UnauthorizedError("the token is not valid") from error
