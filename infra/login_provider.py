"""An OpenID Connect provider for development: anybody can log in as anybody. Part of the local stack with --login.

It is `oidc-provider-mock`, whose last version for Python 3.11 lacks some of what the page needs; Flask hooks add it
here: PKCE, public clients, CORS, refreshes that return an ID token and a one-time refresh token, and roles. Redirects
go only to the stack's page. The published keys do not include their private halves.
"""

import argparse
import base64
import hashlib
import http.client
import json
import logging
import os
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import flask
import jwt
import werkzeug.serving

from infra.host.arguments import add_examples, port, whole
from infra.host.ports import HOST
from infra.local.services.login import DEFAULT_SECONDS, issuer

USERS: Mapping[str, str] = {"jane": "trader", "john": "trader", "operator": "operator"}
"""The users that its page offers, with their roles; any other name is a trader."""

_REMEMBERED = 1000
"""The most logins in progress, and the most refresh tokens, that are kept; the oldest are dropped."""

_PUBLIC = ("kty", "kid", "use", "alg", "n", "e")
_FOREIGN_STYLE = re.compile(r'<link\s+rel="stylesheet"\s+href="https://[^>]*>')
"""What the library's pages load from other hosts, which would delay a user without internet access."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class Latest(OrderedDict[str, dict[str, str]]):
    """Values kept under a code or a token until they are taken; the oldest are dropped."""

    def add(self, key: str, value: dict[str, str]) -> None:
        """Keep a value; drop the oldest one over the limit."""
        self[key] = value
        while len(self) > _REMEMBERED:
            self.popitem(last=False)


class Additions:
    """What is added to the library's app."""

    def __init__(self, app: flask.Flask, pages: Sequence[str], own: str) -> None:
        self._app = app
        self._pages = pages
        self._own = own
        self._names = set(USERS)
        self._challenges = Latest()
        self._renewals = Latest()
        app.before_request(self._before)
        app.after_request(self._after)

    def _before(self) -> flask.Response | None:
        request = flask.request
        if request.host_url != f"{self._own}/":  # a name that somebody else has pointed at this machine (DNS rebinding)
            return _refusal("invalid_request", f"the provider is at {self._own}")
        match request.method, request.path:
            case _, "/oauth2/authorize":
                return self._authorization_request(request)
            case _, "/oauth2/end_session":
                return self._leaving_to(request.values.get("post_logout_redirect_uri"))
            case _, "/oauth2/end_session/confirm":
                return self._leaving_to(request.values.get("redirect_uri"))
            case "PUT", path if path.startswith("/users/"):
                self._names.add(path.removeprefix("/users/"))
            case "POST", "/oauth2/token":
                return self._token_request(request)
        return None

    def _leaving_to(self, address: str | None) -> flask.Response | None:
        return None if address is None or address in self._pages else _refusal("invalid_request", "not a page of ours")

    def _authorization_request(self, request: flask.Request) -> flask.Response | None:
        if request.args.get("redirect_uri") not in self._pages:
            return _refusal("invalid_request", "redirect_uri must be the page's address")
        if request.args.get("code_challenge_method") != "S256" or not request.args.get("code_challenge"):
            return _refusal("invalid_request", "needs a code_challenge with code_challenge_method=S256")
        name = request.form.get("sub")
        if name and name not in self._names:
            self._app.test_client().put(f"/users/{name}", json={"role": "trader"}, base_url=self._own)
        return None

    def _token_request(self, request: flask.Request) -> flask.Response | None:
        """Check what the library does not, then let it take the page for a client with a secret."""
        form = request.form
        if form.get("grant_type") == "authorization_code":
            kept = self._challenges.pop(form.get("code", ""), None)
            if kept is None or kept["challenge"] != _challenge(form.get("code_verifier", "")):
                return _refusal("invalid_grant", "no such code, or not this verifier")
        elif form.get("grant_type") == "refresh_token" and form.get("refresh_token") not in self._renewals:
            return _refusal("invalid_grant", "no such refresh token, or used before")
        if request.authorization is None and "client_secret" not in form:
            pair = base64.b64encode(f"{form.get('client_id', '')}:public".encode()).decode()
            request.environ["HTTP_AUTHORIZATION"] = f"Basic {pair}"
        return None

    def _after(self, response: flask.Response) -> flask.Response:
        request = flask.request
        response.headers["Content-Security-Policy"] = _POLICY
        if request.headers.get("Origin") in {page.removesuffix("/") for page in self._pages}:
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Vary"] = "Origin"
        if response.mimetype == "text/html":
            response.set_data(_FOREIGN_STYLE.sub("", response.get_data(as_text=True)))
        if request.path == "/oauth2/authorize" and response.location:
            self._sent_back(request, response)
        elif request.path == "/jwks":
            keys = response.get_json()["keys"]
            response.set_data(json.dumps({"keys": [_public(key) for key in keys]}))
        elif request.path == "/oauth2/token" and response.status_code == http.HTTPStatus.OK:
            self._tokens_given(request, response)
        return response

    def _sent_back(self, request: flask.Request, response: flask.Response) -> None:
        answer = parse_qs(urlsplit(response.location or "").query)
        if "code" in answer:
            self._challenges.add(answer["code"][0], {"challenge": request.args["code_challenge"]})
        elif "state" not in answer and "state" in request.args:  # in an error: the library omits it
            response.location = f"{response.location}&{urlencode({'state': request.args['state']})}"

    def _tokens_given(self, request: flask.Request, response: flask.Response) -> None:
        form = request.form
        if form.get("grant_type") == "refresh_token":
            # The library has accepted the token, but its answer has no ID token: that of a new login has one.
            known = self._renewals.pop(form["refresh_token"])
            tokens = self._signed_in(**known)
        else:
            tokens = response.get_json()
            claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
            known = {
                "name": claims["sub"],
                "client": (claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]])[0],
            }
        self._renewals.add(tokens["refresh_token"], known)
        response.set_data(json.dumps(tokens))

    def _signed_in(self, name: str, client: str) -> dict[str, Any]:
        """Return the tokens of a login without asking the user."""
        verifier = base64.urlsafe_b64encode(os.urandom(32)).decode()
        back = {"redirect_uri": self._pages[0], "client_id": client}
        asked = {"response_type": "code", "scope": "openid", "code_challenge_method": "S256", **back}
        asked["code_challenge"] = _challenge(verifier)
        with self._app.test_client() as browser:
            sent = browser.post(f"/oauth2/authorize?{urlencode(asked)}", data={"sub": name}, base_url=self._own)
            (code,) = parse_qs(urlsplit(sent.headers["Location"]).query)["code"]
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, **back}
            tokens: dict[str, Any] = browser.post("/oauth2/token", data=form, base_url=self._own).get_json()
        return tokens


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _public(key: Mapping[str, str]) -> dict[str, str]:
    return {name: key[name] for name in _PUBLIC if name in key} | {"use": "sig", "alg": "RS256"}


def _refusal(error: str, description: str) -> flask.Response:
    response = flask.jsonify({"error": error, "error_description": description})
    response.status_code = http.HTTPStatus.BAD_REQUEST
    return response


def make_app(own: str, pages: Sequence[str], token_seconds: int) -> flask.Flask:
    """Return the provider's app; `pages` are the permitted redirect addresses."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # on this machine, as in the library's own command line
    import oidc_provider_mock  # type: ignore[import-untyped]  # noqa: PLC0415 - it is without types; see the line above

    users = [oidc_provider_mock.User(sub=name, claims={"role": role}) for name, role in USERS.items()]
    app: flask.Flask = oidc_provider_mock.app(access_token_max_age=timedelta(seconds=token_seconds), user_claims=users)
    Additions(app, pages, own)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    add_examples(parser, f"python -m {__spec__.name} --port 9400 --page-port 8000")
    parser.add_argument("--port", type=port, required=True)
    parser.add_argument("--page-port", type=port, required=True, help="of the page to redirect to")
    parser.add_argument("--token-seconds", type=whole(1, 86_400), default=DEFAULT_SECONDS, help="(%(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # URLs contain state and nonce
    pages = [f"http://{host}:{options.page_port}/" for host in (HOST, "localhost")]
    app = make_app(issuer(options.port), pages, options.token_seconds)
    werkzeug.serving.make_server(HOST, options.port, app, threaded=True).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
