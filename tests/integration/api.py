"""The app in the test's process, called through Chalice's own test client, on the real servers."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from chalice.test import Client

from app import app
from chalicelib import runtime as runtime_module
from chalicelib.config.settings import settings
from tests.integration.shop import SECRET


def token(user: str = "operator", role: str = "operator", secret: str = SECRET, **claims: Any) -> str:
    """Return a token; further claims replace those it has."""
    return jwt.encode({"sub": user, "role": role, "exp": int(time.time()) + 600, **claims}, secret)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: status, headers in lower case, body as text and, when it is JSON, parsed."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """Return the code of a problem, checking its form."""
        assert self.headers["content-type"] == "application/problem+json"
        assert set(self.body) == {"type", "title", "status", "detail", "code"}
        assert self.body["status"] == self.status
        code: str = self.body["code"]
        return code


@dataclass(frozen=True, slots=True)
class Api:
    """Sends requests as the operator, unless told otherwise."""

    folder: Path

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = "operator",
    ) -> Reply:
        """Return the reply to one request; `authorization` None sends no such header."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if authorization is not None:
            sent["Authorization"] = f"Bearer {token()}" if authorization == "operator" else authorization
        payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        with Client(app) as client:
            response = client.http.request(method, path, headers=sent, body=payload)
        replied = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, replied, response.body.decode())

    def post(self, path: str, body: object = None, **headers: str) -> Reply:
        """Send a POST; underscores in header names stand for dashes."""
        return self.ask("POST", path, body, headers={name.replace("_", "-"): text for name, text in headers.items()})

    def get(self, path: str, **headers: str) -> Reply:
        """Send a GET."""
        return self.ask("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


@contextmanager
def running_api(
    mongo_uri: str, database: str, redis_url: str, folder: Path, without: Sequence[str] = (), **more: str
) -> Iterator[Api]:
    """Set the app up for a database of the test, with `more` settings and `without` some, and forget it afterwards."""
    env = {
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": database,
        "REDIS_URL": redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": SECRET,
        "DUMP_PLACE": str(folder),
        **more,
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in env.items():
            environment.setenv(name, value)
        for name in without:
            environment.delenv(name)
        runtime_module.forget()
        settings.cache_clear()
        try:
            yield Api(folder)
        finally:
            runtime_module.forget()
            settings.cache_clear()
