"""An HTTP request, before it becomes an event of API Gateway."""

from dataclasses import dataclass

BODY_LIMIT_BYTES = 64 * 1024


@dataclass(slots=True)
class HttpRequest:
    """One complete request.

    `path` is percent-decoded, `query` as sent. Header names are in lower case; of a repeated header, `headers` has the
    last value, as in API Gateway, and `repeated` all of them.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    repeated: dict[str, list[str]]
    body: bytes
    client: str
    version: str = "1.1"
    is_last: bool = False
    """Whether its connection is closed after the answer."""

    raw_path: str | None = None
    """The path as sent: a percent-encoded `/` does not separate segments."""

    arrived_ms: int = 0
    """When its first byte was received; 0 if that is not known."""
