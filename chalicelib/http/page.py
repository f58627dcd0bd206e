"""The trader's page: the files of `chalicelib/web`, read once and served without comments.

The page's files have the version in their URL and never change, so browsers cache them. The page itself is requested
each time, so a deployment is visible at once and no browser mixes files of two versions.
"""

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from chalice.app import Request, Response

from chalicelib.config.settings import Settings, parsed_origin
from chalicelib.http.errors import NotFoundError
from chalicelib.http.headers import matches_etag

WEB = Path(__file__).parents[1] / "web"
INDEX = "index.html"
INDEX_TYPE = "text/html; charset=utf-8"
AS_SHIPPED = frozenset({"htm.js", "hooks.js", "oauth4webapi.js", "preact.js"})
"""Third-party modules, which are served unchanged."""

_FOR_READERS = re.compile(r"^ *//.*\n|^ */\*(?s:.*?)\*/\n| // .*$|^ +|^\n|(?<=;)\n", re.MULTILINE)
"""Comments, indentation and line ends that part nothing in our own modules and style sheet; none of their strings looks
like a comment."""

_BETWEEN_RULES = re.compile(r"(?<=[{};:,])\s|\s(?={)|;\s(?=})")
"""What a style sheet has no need of either; none of its strings has it."""

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


def content_security_policy(asked: Sequence[str] = ()) -> str:
    """Return the page's Content-Security-Policy: it loads nothing from other hosts and connects only to these origins.

    No text becomes a script.
    """
    may = {**_MAY, "connect-src": " ".join((_MAY["connect-src"], *asked))}
    return "; ".join(f"{what} {sources}" for what, sources in may.items())


_ALWAYS_ASK = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the page loads."""

    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class TraderPage:
    """The page as this process serves it; `version` covers all its files."""

    version: str
    index: Template
    assets: Mapping[str, Asset]


def asset_names() -> list[str]:
    """Return the names of the page's files."""
    return sorted(path.name for path in WEB.iterdir() if path.suffix in ASSET_TYPES)


def served_text(name: str) -> str:
    """Return a file of the page as it is sent: ours without comments and indentation."""
    text = (WEB / name).read_text(encoding="utf-8")
    if name in AS_SHIPPED:
        return text
    text = _FOR_READERS.sub("", text)
    return _BETWEEN_RULES.sub("", text) if name.endswith(".css") else text


@cache
def page() -> TraderPage:
    """Return the page; its files are read on first use, and no others ever are."""
    index = (WEB / INDEX).read_text(encoding="utf-8")
    texts = {name: served_text(name) for name in asset_names()}
    digest = hashlib.sha256(index.encode())
    for name, text in texts.items():
        digest.update(f"\0{name}\0{text}".encode())
    assets = {name: Asset(ASSET_TYPES[Path(name).suffix], text) for name, text in texts.items()}
    return TraderPage(digest.hexdigest()[:12], Template(index), assets)


def login_origins(settings: Settings) -> list[str]:
    """Return the provider's origins that the page connects to: those of the issuer and of its token endpoint."""
    if settings.login_client_id is None:
        return []
    given = (parsed_origin(settings.auth_issuer or ""), settings.login_origin)
    return list(dict.fromkeys(origin for origin in given if origin is not None))


def _login_attributes(settings: Settings) -> str:
    """Return the page's attributes that say where users log in; empty without a login."""
    if settings.login_client_id is None:
        return ""
    told = {
        "client": settings.login_client_id,
        "issuer": settings.auth_issuer or "",
        "scope": settings.login_scope,
        "token": settings.login_token,
        "origins": " ".join(login_origins(settings)),
        "audience": settings.auth_audience or "",
    }
    return "".join(f' data-login-{name}="{html.escape(value)}"' for name, value in told.items())


def index_response(request: Request, settings: Settings) -> Response:
    """Return the page, with where users log in and which claims of a token name the user and the role."""
    served = page()
    text = served.index.substitute(
        version=served.version,
        user_claim=html.escape(settings.auth_user_claim),
        role_claim=html.escape(settings.auth_role_claim),
        login=_login_attributes(settings),
    )
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    headers: dict[str, str | list[str]] = {
        "Cache-Control": _ALWAYS_ASK,
        "Content-Security-Policy": content_security_policy(login_origins(settings)),
        "ETag": etag,
    }
    if matches_etag(request.headers.get("if-none-match") or "", etag):
        return Response("", status_code=304, headers=headers)
    return Response(text, headers={"Content-Type": INDEX_TYPE, **headers})


def asset_response(version: str, name: str) -> Response:
    """Return a file of the page; raises NotFoundError for any other file and for another version."""
    served = page()
    asset = served.assets.get(name)
    if asset is None or version != served.version:
        raise NotFoundError("the page has no such file")
    return Response(asset.text, headers={"Content-Type": asset.content_type, "Cache-Control": _FOR_EVER})
