"""Compresses answers for clients that accept it, as API Gateway does (`minimum_compression_size`)."""

import gzip
from functools import lru_cache

from infra.servers.gateway.problems import HttpAnswer

LEAST_BYTES = 1024
"""A shorter body fits a packet or two as it is; `.chalice/config.json` has the same number."""

MOST_BYTES = 1024 * 1024
"""Compressing a longer body, a log, would delay everybody else for too long."""

_LEVEL = 6
_TYPES = ("text/", "application/json", "application/problem+json")
_KEPT_ASSETS = 64


def compressed(accept_encoding: str, answer: HttpAnswer) -> HttpAnswer:
    """Return an answer with its body compressed, or unchanged if that is no use or the client does not accept it."""
    status, headers, body = answer
    if not LEAST_BYTES <= len(body) <= MOST_BYTES:
        return answer
    names = {name.lower(): value for name, value in headers}
    if not names.get("content-type", "").startswith(_TYPES) or "content-encoding" in names:
        return answer
    varying = [*headers, ("Vary", "Accept-Encoding")]
    if not accepts_gzip(accept_encoding):
        return HttpAnswer(status, varying, body)
    packed = (
        _packed_asset(body) if "immutable" in names.get("cache-control", "") else gzip.compress(body, _LEVEL, mtime=0)
    )
    return HttpAnswer(status, [*(_weak(*header) for header in varying), ("Content-Encoding", "gzip")], packed)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header accepts gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, str] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "").removeprefix("q=") or "1"
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.isascii() and weight.replace(".", "", 1).isdigit() and float(weight) > 0


@lru_cache(maxsize=_KEPT_ASSETS)
def _packed_asset(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


def _weak(name: str, value: str) -> tuple[str, str]:
    """Make a strong entity tag weak: it now stands for other bytes (RFC 9110, section 8.8.3)."""
    return name, f"W/{value}" if name.lower() == "etag" and not value.startswith("W/") else value
