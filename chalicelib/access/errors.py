"""Who may not, or not now.

RequestError
├── UnauthorizedError      unauthorized
├── ForbiddenError         forbidden
└── RateLimitedError       rate_limited
UnavailableError
└── AuthUnavailableError   auth_unavailable
"""

from chalicelib.domain.errors import RequestError, UnavailableError


class UnauthorizedError(RequestError):
    """No token, or one that does not prove who is asking."""

    code = "unauthorized"


class ForbiddenError(RequestError):
    """The token is good, but not for this account."""

    code = "forbidden"


class RateLimitedError(RequestError):
    """The user gave more commands than it may; `retry_after_seconds` says when the next one will be taken."""

    code = "rate_limited"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many commands; nothing was changed, send it again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class AuthUnavailableError(UnavailableError):
    """The identity provider's keys could not be had, so nobody can say whether the token is good."""

    code = "auth_unavailable"
