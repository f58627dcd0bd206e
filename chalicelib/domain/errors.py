"""The errors of the system, each with the stable code of the interface (docs/api.md).

TradingError
├── RequestError                 a malformed or unauthorized request: it is not executed, and audited only
│   │                            if a field is wrong (FIELD_CODES)
│   ├── InvalidAmountError       invalid_amount
│   ├── InvalidSymbolError       invalid_symbol
│   ├── InvalidUserError         invalid_user
│   ├── InvalidFilenameError     invalid_filename
│   ├── InvalidOrderError        invalid_order
│   └── KeyReusedError           idempotency_key_reused
├── RejectedError                a command refused by docs/rules.md section 3: audited, code in `code`
├── PermanentError               it will fail again until an operator changes something
│   ├── AccountFullError         account_full
│   ├── DumpQuotaError           dump_quota
│   ├── IndexConflictError       index_conflict
│   └── NotSupportedError        not_supported
└── UnavailableError             a part of the system did not answer
    ├── QuoteUnavailableError    quote_unavailable
    ├── StoreUnavailableError    store_unavailable: the command may have been executed
    │   └── LoginRefusedError    the database refuses this server's login
    ├── ClockSkewError           clock_skew
    ├── UnknownDataVersionError  unknown_data_version
    └── TooLateError             too_late

Errors of HTTP, access and audit files are in `errors.py` of `http`, `access` and `audit`.
"""

from typing import ClassVar

MIGRATING = 0
"""The data version while a migration runs."""

UNKNOWN_DATA_RETRY_SECONDS = 30
"""By then a build that knows the data may have been deployed."""


class TradingError(Exception):
    """Base of all errors the system raises on purpose. `code` is the stable code of docs/api.md."""

    code: str


class RequestError(TradingError):
    """The request is malformed and changes nothing."""


class FieldError(RequestError):
    """A field or parameter of the request is wrong; `field` names it."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class InvalidAmountError(FieldError):
    """An amount or price that is not money (docs/rules.md section 1)."""

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
    """An order number that is not a whole number from 1."""

    code = "invalid_order"


FIELD_CODES = frozenset(
    {"invalid_amount", "invalid_symbol", "invalid_filename", "invalid_order", "missing_field", "unknown_field"}
)
"""The codes of wrong fields. A command refused with one is recorded like a rejection (docs/rules.md section 6)."""


class KeyReusedError(RequestError):
    """An idempotency key was reused with a different command (docs/rules.md section 7)."""

    code = "idempotency_key_reused"


class RejectedError(TradingError):
    """A command refused by the rules. `code` is one of docs/rules.md section 3."""

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
            "too_many_orders",
            "too_many_triggers",
            "too_many_holdings",
            "cash_limit",
        }
    )

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class PermanentError(TradingError):
    """The command cannot be executed; retrying is useless until an operator acts (docs/rules.md section 3)."""


class AccountFullError(PermanentError):
    """The account's document, or a number in it, would exceed what the database can hold. Nothing was changed."""

    code = "account_full"


class DumpQuotaError(PermanentError):
    """A log would exceed the trader's storage quota for logs. None was written."""

    code = "dump_quota"


class IndexConflictError(PermanentError):
    """A required index cannot be created: another index has its name or its fields."""

    code = "index_conflict"


class NotSupportedError(PermanentError):
    """The database does not support the operation."""

    code = "not_supported"


class UnavailableError(TradingError):
    """A part of the system did not answer in time. `retry_after_seconds` is a hint to the client.

    Nothing was changed, except possibly for StoreUnavailableError. The message gives the reason;
    `chalicelib/http/problems.py` adds what became of the command.
    """

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuoteUnavailableError(UnavailableError):
    """No quote could be had (docs/rules.md section 4)."""

    code = "quote_unavailable"


class StoreUnavailableError(UnavailableError):
    """The database did not confirm the change in time: it may have been made, or may still be made."""

    code = "store_unavailable"


class LoginRefusedError(StoreUnavailableError):
    """The database refuses this server's login. Retrying only helps with new secrets."""


class ClockSkewError(UnavailableError):
    """This server's clock and the database's disagree, so it makes no decision that depends on the time."""

    code = "clock_skew"

    def __init__(self, ahead_ms: int, tolerance_ms: int) -> None:
        side = "ahead of" if ahead_ms > 0 else "behind"
        super().__init__(
            f"this server's clock is {abs(ahead_ms) / 1000:.1f} s {side} the database's and may be off by "
            f"{tolerance_ms / 1000:g} s"
        )


class UnknownDataVersionError(UnavailableError):
    """The data have a version that this build does not know. It neither reads nor writes them."""

    code = "unknown_data_version"

    def __init__(self, found: int | None, known: int) -> None:
        data = {
            None: "the data have no version",
            MIGRATING: "a migration of the data has not finished",
        }.get(found, f"the data have version {found}")
        is_old = found is None or found < known
        remedy = "stop all servers and run `python -m infra.migrate`" if is_old else "deploy the newer build"
        super().__init__(
            f"{data}, this build works on version {known}; operators: {remedy}",
            UNKNOWN_DATA_RETRY_SECONDS,
        )


class TooLateError(UnavailableError):
    """A command was not begun within its time limit, counted from the arrival of its request."""

    code = "too_late"
