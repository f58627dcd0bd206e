"""Why a log that DUMPLOG has written is not handed out.

RequestError
├── LogNotFoundError    not_found
└── LogTooLargeError    too_large
"""

from chalicelib.domain.errors import RequestError


class LogNotFoundError(RequestError):
    """There is no log of that name."""

    code = "not_found"


class LogTooLargeError(RequestError):
    """The log is larger than what is handed out."""

    code = "too_large"
