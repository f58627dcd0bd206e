"""Bearer tokens for a local stack."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jwt

from chalicelib.config.settings import SettingError
from infra.host.arguments import add_examples, decimal, folder_name
from infra.local.folder import DEFAULT_FOLDER, SecretMissingError, existing_secret
from infra.local.part_settings import settings_with

DEFAULT_HOURS = 24.0
MOST_HOURS = 10 * 366 * 24.0
_USER = re.compile(r"[A-Za-z0-9_-]{1,64}")


def trader_token(secret: str, user: str, hours: float = DEFAULT_HOURS) -> str:
    """Return a token for one trader; raises ValueError for an invalid user id."""
    if not _USER.fullmatch(user):
        raise ValueError(f"user {user!r}: a name is 1 to 64 of A-Z a-z 0-9 _ -")
    return _token(secret, user, "trader", hours)


def operator_token(secret: str, hours: float = DEFAULT_HOURS) -> str:
    """Return a token that may act for any user."""
    return _token(secret, "operator", "operator", hours)


class RenewedToken:
    """A token that is renewed after half of its lifetime: the current one is valid for at least the other half."""

    def __init__(
        self, make: Callable[[], str], hours: float = DEFAULT_HOURS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._make = make
        self._half_life_seconds = hours * 3600 / 2
        self._now = now
        self._made_at = now()
        self._token = make()

    def current(self) -> str:
        """Return the token."""
        if self._now() - self._made_at >= self._half_life_seconds:
            self._made_at, self._token = self._now(), self._make()
        return self._token


def page_link(url: str, token: str) -> str:
    """Return the page's URL with the token; browsers do not send the part after `#` to the server."""
    return f"{url.rstrip('/')}/#token={token}"


def _token(secret: str, subject: str, role: str, hours: float) -> str:
    now = int(time.time())
    claims = {"sub": subject, "role": role, "iat": now, "exp": now + int(hours * 3600)}
    return jwt.encode(claims, secret, algorithm="HS256")


def find_secret(folder: Path | None, environment: Mapping[str, str]) -> str:
    """Return the secret of the stack in `folder`; without a folder, that of the default one, else AUTH_SECRET.

    Raises SecretMissingError if there is none.
    """
    try:
        return existing_secret(folder or DEFAULT_FOLDER)
    except SecretMissingError as error:
        secret = environment.get("AUTH_SECRET")
        if folder is None and secret:
            return secret
        raise SecretMissingError(
            f"{error}. Start one, name its folder with --data, or set AUTH_SECRET without --data"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a token; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.tokens", description=__doc__)
    add_examples(
        parser,
        "python -m infra.tokens --user jane",
        "python -m infra.tokens --operator --data DIR --hours 1",
        "python -m infra.tokens --user jane --link http://127.0.0.1:8000",
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="NAME", help="a token for this trader")
    who.add_argument("--operator", action="store_true", help="a token that may act for anyone")
    parser.add_argument(
        "--data", type=folder_name, metavar="DIR", help=f"the stack's folder (default: {DEFAULT_FOLDER})"
    )
    parser.add_argument(
        "--hours", type=decimal(1 / 3600, MOST_HOURS, "hours"), default=DEFAULT_HOURS, help="valid for (%(default)g)"
    )
    parser.add_argument("--link", metavar="URL", help="print the address of the page at URL that signs in with it")
    options = parser.parse_args(arguments)
    try:
        secret = find_secret(options.data, os.environ)
        settings_with(AUTH_SECRET=secret)  # or no server would take the token
        if options.operator:
            token = operator_token(secret, options.hours)
        else:
            token = trader_token(secret, options.user, options.hours)
    except (SecretMissingError, SettingError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(token if options.link is None else page_link(options.link, token))
    return 0


if __name__ == "__main__":
    sys.exit(main())
