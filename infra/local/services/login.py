"""The login provider as a part of the local stack."""

import http.client
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from infra.host.ports import HOST
from infra.local.process import Part

NAME = "login-provider"
CLIENT = "day-trading"
"""The page's client id, and so the `aud` of ID tokens."""

DEFAULT_SECONDS = 300
_PROJECT = Path(__file__).parents[3]
_PROBE_SECONDS = 2.0


def issuer(port_number: int) -> str:
    """Return the provider's issuer, from which everything else is discovered."""
    return f"http://{HOST}:{port_number}"


def app_settings(port_number: int) -> dict[str, str]:
    """Return the settings of an app whose users log in here."""
    return {
        "AUTH_JWKS_URL": f"{issuer(port_number)}/jwks",
        "AUTH_ISSUER": issuer(port_number),
        "AUTH_AUDIENCE": CLIENT,
        "AUTH_USER_CLAIM": "sub",
        "AUTH_ROLE_CLAIM": "role",
        "LOGIN_CLIENT_ID": CLIENT,
        "LOGIN_TOKEN": "id",
        "LOGIN_SCOPE": "openid",
        "LOGIN_ORIGIN": issuer(port_number),
    }


def login_provider_part(port_number: int, page_port: int, seconds: int, environment: Mapping[str, str]) -> Part:
    """Return a provider for the page, ready when it can be discovered."""
    command = [sys.executable, "-m", "infra.login_provider", "--port", str(port_number), "--page-port", str(page_port)]
    command += ["--token-seconds", str(seconds)]
    return Part(NAME, command, environment, partial(_why_not_discovered, port_number), folder=_PROJECT)


def _why_not_discovered(port_number: int) -> str | None:
    connection = http.client.HTTPConnection(HOST, port_number, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/.well-known/openid-configuration")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    return None if status == http.HTTPStatus.OK else f"discovery answered {status}"
