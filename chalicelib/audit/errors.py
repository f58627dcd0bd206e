"""Why a log that DUMPLOG has written is not served.

RequestError
├── LogNotFoundError    not_found
└── LogTooLargeError    too_large
"""

from chalicelib.domain.errors import RequestError


class LogNotFoundError(RequestError):
    """There is no log with that name."""

    code = "not_found"


class LogTooLargeError(RequestError):
    """The log is larger than what is served."""

    code = "too_large"
