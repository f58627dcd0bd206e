"""A request as it came over HTTP, before it is anything of API Gateway's."""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

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


def split_target(target: bytes) -> tuple[str, str]:
    """Return the path, decoded, and the query of a request's target; it may name the server too (RFC 9112, 3.2.2)."""
    path, _, query = target.partition(b"#")[0].partition(b"?")
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode(errors="replace"), query.decode("latin-1")
