"""Errors of authentication, authorization and rate limits.

RequestError
├── UnauthorizedError      unauthorized
├── ForbiddenError         forbidden
└── RateLimitedError       rate_limited
UnavailableError
└── AuthUnavailableError   auth_unavailable
"""

from chalicelib.domain.errors import RequestError, UnavailableError


class UnauthorizedError(RequestError):
    """There is no token, or it does not prove who is asking."""

    code = "unauthorized"


class ForbiddenError(RequestError):
    """The token is valid, but not for this account."""

    code = "forbidden"


class RateLimitedError(RequestError):
    """The user exceeded the rate limit; `retry_after_seconds` says when the next command is accepted."""

    code = "rate_limited"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many commands; nothing was changed, send it again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class AuthUnavailableError(UnavailableError):
    """The identity provider's keys could not be fetched, so the token cannot be checked."""

    code = "auth_unavailable"
