"""Headers of responses, and those of requests that responses depend on."""

from collections.abc import Mapping

SECURITY_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Defaults: the response is not cached, not framed, and not taken for a page."""


def matches_etag(if_none_match: str, etag: str) -> bool:
    """Return whether an If-None-Match header names an entity tag, weak or strong (RFC 9110, section 13.1.2)."""
    given = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in given or "*" in given
