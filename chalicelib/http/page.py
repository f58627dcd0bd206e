"""The trader's page: the files of `chalicelib/web`, read once and served as they are.

What the page loads has the version in its address and never changes there, so browsers keep it; the page itself is
asked for anew each time, so a deployment is seen at once and no browser mixes the files of two.
"""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from chalice.app import Request, Response

from chalicelib.config.settings import Settings
from chalicelib.http.errors import NotFoundError
from chalicelib.http.headers import matches_etag

WEB = Path(__file__).parents[1] / "web"
INDEX = "index.html"
INDEX_TYPE = "text/html; charset=utf-8"
ASSET_TYPES: Mapping[str, str] = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

_MAY: Mapping[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
CONTENT_SECURITY_POLICY = "; ".join(f"{what} {sources}" for what, sources in _MAY.items())
"""What the page may do: nothing is loaded from, or sent to, another host, and no text becomes a script."""

_ALWAYS_ASK = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the page loads."""

    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """The page as it is served by this process; `version` stands for all its files together."""

    version: str
    index: Template
    assets: Mapping[str, Asset]


def asset_names() -> list[str]:
    """Return the names of the files that the page may load."""
    return sorted(path.name for path in WEB.iterdir() if path.suffix in ASSET_TYPES)


@cache
def page() -> Page:
    """Return the page; its files are read on first use, and no other file ever is."""
    index = (WEB / INDEX).read_text(encoding="utf-8")
    texts = {name: (WEB / name).read_text(encoding="utf-8") for name in asset_names()}
    digest = hashlib.sha256(index.encode())
    for name, text in texts.items():
        digest.update(f"\0{name}\0{text}".encode())
    assets = {name: Asset(ASSET_TYPES[Path(name).suffix], text) for name, text in texts.items()}
    return Page(digest.hexdigest()[:12], Template(index), assets)


def index_response(request: Request, settings: Settings) -> Response:
    """Return the page itself; it is told in which claims of a provider's token to look for user and role."""
    served = page()
    text = served.index.substitute(
        version=served.version,
        user_claim=html.escape(settings.auth_user_claim),
        role_claim=html.escape(settings.auth_role_claim),
    )
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    headers: dict[str, str | list[str]] = {
        "Cache-Control": _ALWAYS_ASK,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "ETag": etag,
    }
    if matches_etag(request.headers.get("if-none-match") or "", etag):
        return Response("", status_code=304, headers=headers)
    return Response(text, headers={"Content-Type": INDEX_TYPE, **headers})


def asset_response(version: str, name: str) -> Response:
    """Return a file that the page loads; raises NotFoundError for any other, and for one of another version."""
    served = page()
    asset = served.assets.get(name)
    if asset is None or version != served.version:
        raise NotFoundError("the page has no such file")
    return Response(asset.text, headers={"Content-Type": asset.content_type, "Cache-Control": _FOR_EVER})
