"""HTTP requests as bytes: their target and headers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


class UrlError(ValueError):
    """An address that is not an HTTP server's."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: a host, and the path prefix of the interface (`/prod` on API Gateway)."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        """Return host and port as the Host header gives them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the address as a URL."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_url(url: str) -> Target:
    """Return the target that a URL names. Raises UrlError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UrlError(f"{url!r} is not the URL of an HTTP server, such as http://127.0.0.1:8000")
    if parts.query or parts.fragment or parts.username is not None:
        raise UrlError(f"{url!r} must be a plain address: no query, fragment or user name")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise UrlError(f"{url!r} contains characters that are not allowed in a URL")
    if port == 0:
        raise UrlError(f"{url!r} has port 0")
    return Target(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


class HeaderError(ValueError):
    """A header that cannot be added to requests."""


_OWN_HEADERS = frozenset(
    {"idempotency-key", "x-transaction-num", "content-length", "transfer-encoding", "connection", "expect"}
)
"""Headers that the load generator sets itself."""


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the value in `NAME: VALUE`. Raises HeaderError."""
    name, colon, value = text.partition(":")
    value = value.strip(" \t")
    if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise HeaderError(f"{text!r} is not a header, such as 'X-Api-Key: secret'")
    if not re.fullmatch(r"[ -~\t]*", value):
        raise HeaderError(f"the value of header {name} contains characters that are not allowed in a header")
    if name.lower() in _OWN_HEADERS:
        raise HeaderError(f"header {name} is the load generator's own")
    return name, value


class RequestWriter:
    """Writes requests for one target and token, each as the bytes of one send.

    `headers` are added to every request and replace its own headers of the same names. Without a token there is no
    Authorization.
    """

    def __init__(self, target: Target, token: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._prefix = target.prefix
        given = {name.lower() for name, _ in headers}
        common = {"Host": target.authority, "Authorization": f"Bearer {token}", "Accept": "application/json"}
        if not token:
            del common["Authorization"]
        self._common = [(name, value) for name, value in common.items() if name.lower() not in given]
        self._common += headers
        lines = [(name, value) for name, value in common.items() if name.lower() not in given]
        lines += [(name, value) for name, value in headers if name.lower() != "content-type"]
        self._headers = " HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines)
        types = [value for name, value in headers if name.lower() == "content-type"] or ["application/json"]
        self._json_headers = f"{self._headers}Content-Type: {types[-1]}\r\nContent-Length: "

    def get(self, path: str, more: str = "") -> bytes:
        """Return a request that reads `path`; `more` is further header lines, each ended by CRLF."""
        return f"GET {self._prefix}{path}{self._headers}{more}\r\n".encode()

    def post(self, path: str, body: str, more: str = "") -> bytes:
        """Return a request with a JSON body, which must be ASCII so that its length in bytes is known."""
        return f"POST {self._prefix}{path}{self._json_headers}{len(body)}\r\n{more}\r\n{body}".encode()

    def request(self, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
        """Return any request; its headers replace the common ones of the same names."""
        given = {name.lower() for name, _ in headers}
        lines = [(name, value) for name, value in self._common if name.lower() not in given]
        lines += headers
        if body or method in {"POST", "PUT", "PATCH"}:
            lines.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return f"{method} {self._prefix}{path} HTTP/1.1\r\n{head}\r\n".encode() + body
