"""A request as it came over HTTP, before it is anything of API Gateway's."""

from dataclasses import dataclass

BODY_LIMIT_BYTES = 64 * 1024


@dataclass(slots=True)
class HttpRequest:
    """One request, whole.

    `path` is percent-decoded, `query` as it was sent. Header names are in lower case; of a header that was sent more
    than once `headers` has the last value, as API Gateway does, and `repeated` all of them.
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
    """The path as it was sent: a `/` that is percent-encoded in it separates nothing."""

    arrived_ms: int = 0
    """When its first byte was received; 0 where nobody looked."""
