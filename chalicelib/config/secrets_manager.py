"""Secrets from AWS Secrets Manager, read once at start.

Without the SDK, which Lambda provides but whose import takes longer than the rest of a start: one POST, signed with
Signature Version 4.
"""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

TRIES = 3
TIMEOUT_SECONDS = 2.0
_SERVICE = "secretsmanager"
_TYPE = "application/x-amz-json-1.1"
_TARGET = f"{_SERVICE}.GetSecretValue"


class SecretError(Exception):
    """A secret that cannot be read; says why, without its contents."""


def read_secret(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the contents of the secret with that name or ARN, a JSON object of strings. Raises SecretError."""
    body = json.dumps({"SecretId": name}).encode()
    answer = _answer(body, env)
    try:
        held = json.loads(answer["SecretString"])
    except (KeyError, ValueError):
        raise SecretError("it is not a JSON object") from None
    if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
        raise SecretError("it is not a JSON object of texts")
    return held


def _answer(body: bytes, env: Mapping[str, str]) -> Any:
    try:
        region = env.get("AWS_REGION") or env["AWS_DEFAULT_REGION"]
        url = _endpoint(env, region)
        headers = sign(url, body, env, region, datetime.now(UTC))
    except KeyError as error:
        raise SecretError(f"{error.args[0]} is not set") from None
    request = urllib.request.Request(url, body, headers)  # noqa: S310  # AWS's address, or a setting of the operator
    said = ""
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = _said(error)
            if error.code < 500:
                break
        except (OSError, ValueError) as error:
            said = str(error)
    raise SecretError(said)


def _endpoint(env: Mapping[str, str], region: str) -> str:
    given = env.get("AWS_ENDPOINT_URL_SECRETS_MANAGER") or env.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (given or f"https://{_SERVICE}.{region}.{suffix}").rstrip("/") + "/"


def _said(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            kind = str(json.load(error).get("__type", ""))
        except (OSError, ValueError, AttributeError):
            kind = ""
    return kind.rpartition("#")[2] or f"HTTP {error.code}"


def sign(url: str, body: bytes, env: Mapping[str, str], region: str, now: datetime) -> dict[str, str]:
    """Return the headers of a request, signed with the credentials in `env`. Raises KeyError if there are none."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": _TYPE, "host": urlsplit(url).netloc, "x-amz-date": stamp, "x-amz-target": _TARGET}
    if "AWS_SESSION_TOKEN" in env:
        headers["x-amz-security-token"] = env["AWS_SESSION_TOKEN"]
    names = ";".join(sorted(headers))
    lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
    asked = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
    scope = f"{stamp[:8]}/{region}/{_SERVICE}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(asked.encode()).hexdigest()])
    key = f"AWS4{env['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{env['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers
