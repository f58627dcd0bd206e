"""What is wrong with a request as HTTP, before it is anything of trading.

RequestError
├── InvalidHeaderError         invalid_header
├── InvalidQueryError          invalid_query
├── InvalidJsonError           invalid_json
├── MissingFieldError          missing_field
├── UnknownFieldError          unknown_field
├── NotFoundError              not_found
├── MethodNotAllowedError      method_not_allowed
├── TooLargeError              too_large
└── UnsupportedMediaTypeError  unsupported_media_type
"""

from chalicelib.domain.errors import FieldError, RequestError


class InvalidHeaderError(FieldError):
    """A request header that does not have the format that docs/api.md gives."""

    code = "invalid_header"


class InvalidQueryError(FieldError):
    """A query parameter that does not have the format that docs/api.md gives."""

    code = "invalid_query"


class InvalidJsonError(RequestError):
    """A body that is not one JSON object in UTF-8."""

    code = "invalid_json"


class MissingFieldError(FieldError):
    """A field that the command needs is missing."""

    code = "missing_field"


class UnknownFieldError(FieldError):
    """A field that the command does not have."""

    code = "unknown_field"


class NotFoundError(RequestError):
    """No such route."""

    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The route exists, but not for this method; `allowed` lists its methods."""

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
