"""Summaries of accounts: asked of a server, or read from a file with one JSON object a line."""

import http.client
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from infra.audit.logfile import UnreadableLogError

_TIMEOUT_SECONDS = 30.0


def from_file(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield user and summary from a file of summaries as `GET /users/{user}/summary` answers them."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007  # named in the error
                if line.strip():
                    summary = json.loads(line)
                    yield str(summary["user"]), summary
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableLogError(f"{path}, line {number}: {error!r}") from error


def from_server(url: str, token: str, users: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask a server for the summaries of users, one after the other over one connection."""
    address = urlsplit(url)
    if address.scheme not in {"http", "https"} or address.hostname is None:
        raise UnreadableLogError(f"{url} is not an http address")
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname, address.port, timeout=_TIMEOUT_SECONDS)
    try:
        for user in users:
            path = f"{address.path.rstrip('/')}/users/{quote(user)}/summary"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:
                raise UnreadableLogError(f"{url}: the summary of {user} was answered {response.status}")
            yield user, json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreadableLogError(f"{url}: {error!r}") from error
    finally:
        connection.close()
