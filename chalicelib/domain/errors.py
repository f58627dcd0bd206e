"""The errors of the system, each with the stable code of the interface (API.md).

TradingError
├── RequestError                 the form of a request: not a command, not audited
│   ├── InvalidAmountError       invalid_amount
│   ├── InvalidSymbolError       invalid_symbol
│   ├── InvalidUserError         invalid_user
│   ├── InvalidFilenameError     invalid_filename
│   ├── InvalidOrderError        invalid_order
│   ├── InvalidQueryError        invalid_query
│   ├── InvalidHeaderError       invalid_header
│   ├── InvalidJsonError         invalid_json
│   ├── MissingFieldError        missing_field
│   ├── UnknownFieldError        unknown_field
│   ├── UnauthorizedError        unauthorized
│   ├── ForbiddenError           forbidden
│   ├── NotFoundError            not_found
│   ├── MethodNotAllowedError    method_not_allowed
│   ├── TooLargeError            too_large
│   ├── UnsupportedMediaTypeError  unsupported_media_type
│   ├── KeyReusedError           idempotency_key_reused
│   └── RateLimitedError         rate_limited
├── RejectedError                a command the rules of SPEC.md section 3 refuse: audited, code in `code`
└── UnavailableError             nothing was changed; safe to send again with the same key
    ├── QuoteUnavailableError    quote_unavailable
    ├── StoreUnavailableError    store_unavailable
    ├── AuthUnavailableError     auth_unavailable
    ├── ClockSkewError           clock_skew
    └── UnknownDataVersionError  unknown_data_version
"""

from typing import ClassVar

MIGRATING = 0
"""The version of data that are being taken to another."""

UNKNOWN_DATA_RETRY_SECONDS = 30
"""Until then another build may have been deployed."""


class TradingError(Exception):
    """Base of all errors the system raises on purpose; `code` is the stable code of API.md."""

    code: str


class RequestError(TradingError):
    """The request is not a command: it is refused for its form and leaves no trace."""


class FieldError(RequestError):
    """A field or parameter of the request is wrong; `field` names it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class InvalidAmountError(FieldError):
    """An amount or price that is not money (SPEC.md section 1)."""

    code = "invalid_amount"


class InvalidSymbolError(FieldError):
    """A stock symbol that is not 1 to 3 ASCII letters."""

    code = "invalid_symbol"


class InvalidUserError(FieldError):
    """A user id that is not 1 to 64 of `A-Z a-z 0-9 _ -`."""

    code = "invalid_user"


class InvalidFilenameError(FieldError):
    """A file name that is not a plain name."""

    code = "invalid_filename"


class InvalidOrderError(FieldError):
    """The number of an order that is not a whole number from 1."""

    code = "invalid_order"


class InvalidQueryError(FieldError):
    """A query parameter that does not have the form API.md gives it."""

    code = "invalid_query"


class InvalidHeaderError(FieldError):
    """A request header that does not have the form API.md gives it."""

    code = "invalid_header"


class InvalidJsonError(RequestError):
    """A body that is not one JSON object in UTF-8."""

    code = "invalid_json"


class MissingFieldError(FieldError):
    """A field that the command needs is not there."""

    code = "missing_field"


class UnknownFieldError(FieldError):
    """A field that the command does not have."""

    code = "unknown_field"


class UnauthorizedError(RequestError):
    """No token, or one that does not prove who is asking."""

    code = "unauthorized"


class ForbiddenError(RequestError):
    """The token is good, but not for this account."""

    code = "forbidden"


class NotFoundError(RequestError):
    """No such route."""

    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The route exists, but not for this method; `allowed` lists those it has."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} is not allowed here; allowed: {', '.join(allowed)}")
        self.allowed = allowed


class TooLargeError(RequestError):
    """A body over the limit."""

    code = "too_large"


class UnsupportedMediaTypeError(RequestError):
    """A body that is not application/json."""

    code = "unsupported_media_type"


class KeyReusedError(RequestError):
    """An idempotency key came again with a different command (SPEC.md section 7)."""

    code = "idempotency_key_reused"


class RateLimitedError(RequestError):
    """The user gave more commands than it may; `retry_after_seconds` says when the next one will be taken."""

    code = "rate_limited"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("too many commands; send this one again later")
        self.retry_after_seconds = retry_after_seconds


class RejectedError(TradingError):
    """A command that the rules refuse; `code` is one of SPEC.md section 3."""

    CODES: ClassVar[frozenset[str]] = frozenset(
        {
            "amount_below_price",
            "insufficient_funds",
            "insufficient_shares",
            "no_pending_buy",
            "no_pending_sell",
            "no_buy_amount",
            "no_sell_amount",
            "order_changed",
        }
    )

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnavailableError(TradingError):
    """A part of the system did not answer; nothing was changed. `retry_after_seconds` is a hint to the client."""

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuoteUnavailableError(UnavailableError):
    """No quote could be had (SPEC.md section 4)."""

    code = "quote_unavailable"


class StoreUnavailableError(UnavailableError):
    """The database did not confirm the change within its time."""

    code = "store_unavailable"


class AuthUnavailableError(UnavailableError):
    """The identity provider's keys could not be had, so nobody can say whether the token is good."""

    code = "auth_unavailable"


class ClockSkewError(UnavailableError):
    """This server's clock and the database's disagree, so it does not decide what depends on the time."""

    code = "clock_skew"

    def __init__(self, ahead_ms: int, tolerance_ms: int) -> None:
        side = "ahead of" if ahead_ms > 0 else "behind"
        super().__init__(
            f"this server's clock is {abs(ahead_ms) / 1000:.1f} s {side} the database's and may be off by "
            f"{tolerance_ms / 1000:g} s: nothing was changed; send it again"
        )


class UnknownDataVersionError(UnavailableError):
    """The data have a form that this build does not know; it neither reads nor writes them."""

    code = "unknown_data_version"

    def __init__(self, found: int | None, known: int) -> None:
        data = {
            None: "the data bear no version",
            MIGRATING: "a migration of the data was begun and has not come to its end",
        }.get(found, f"the data are of version {found}")
        is_old = found is None or found < known
        remedy = "stop all servers and run `python -m infra.migrate`" if is_old else "deploy the build that they are of"
        super().__init__(
            f"{data}, this build works on version {known}: nothing was changed; operators: {remedy}",
            UNKNOWN_DATA_RETRY_SECONDS,
        )
