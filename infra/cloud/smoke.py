"""Check that a deployed stack works: its health, one command of each kind, and a small replay that is verified.

The commands use their own accounts, whose names begin with `smoke-`; no other account is touched. They remain, as every
account does. The token is an operator's: LOADGEN_TOKEN, or one signed with AUTH_SECRET.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.host import guard
from infra.local.stack import PROJECT

TRIES = 10
LONGEST_PAUSE_SECONDS = 5.0
TIMEOUT_SECONDS = 30.0
"""API Gateway answers within 29 s."""

REPLAY_SECONDS = 300.0

_TRY_AGAIN = {429, 502, 503, 504}
_USERS, _COMMANDS, _SYMBOLS = 3, 300, 5
_SYMBOL = "ABC"


class SmokeError(Exception):
    """What does not work, in a sentence."""


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests to the stack at `url`; temporary failures are retried, commands with their key."""

    url: str
    token: str
    pause: Callable[[float], None] = time.sleep

    def __call__(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Return the status and the answer; raises SmokeError if there is none."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        body = None if fields is None else json.dumps(fields).encode()
        said = ""
        for _ in range(TRIES):
            request = urllib.request.Request(self.url + path, body, headers, method=method)  # noqa: S310  # the user's
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                    return answer.status, _decoded(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    text = error.read()
                if error.code not in _TRY_AGAIN:
                    return error.code, _decoded(text)
                said = f"{error.code} {text[:300].decode(errors='replace')}"
                self.pause(_seconds(error.headers.get("Retry-After")))
            except (OSError, ValueError) as error:
                said = str(error)
                self.pause(1.0)
        raise SmokeError(f"{method} {self.url}{path} was not answered in {TRIES} tries, the last time: {said}")


def smoke(url: str, token: str, say: Callable[[str], None]) -> None:
    """Check the stack at `url` as an operator and report what works; raises SmokeError at the first failure."""
    client, name = Client(url.rstrip("/"), token), f"smoke-{secrets.token_hex(4)}"
    status, health = client("GET", "/health")
    if (status, health) != (200, {"status": "ok"}):
        raise SmokeError(f"{url} is unhealthy: {json.dumps(health)}")
    say("health: ok")
    done = _one_of_each(client, name)
    say(f"{len(done)} commands on the account {name}, one of each kind at least: all done")
    _replay(client.url, token, name)
    say(f"{_COMMANDS} commands on {_USERS} accounts {name}-*: all done, answers and accounts verified")


def _one_of_each(client: Client, user: str) -> list[str]:
    """Send one command of each kind, in an order in which each succeeds whatever the price; return their names."""

    def give(name: str, **fields: str) -> Any:
        method = "GET" if name in {"summary", f"quote/{_SYMBOL}"} else "POST"
        status, answer = client(method, f"/users/{user}/{name}", fields if method == "POST" else None)
        if status != 200:
            raise SmokeError(f"{name} {json.dumps(fields)} of {user} was answered {status}: {json.dumps(answer)}")
        given.append(name)
        return answer

    given: list[str] = []
    price = Decimal(give(f"quote/{_SYMBOL}")["price"])
    # The price may change meanwhile: each order is worth several shares, and a trigger is far from it.
    worth = {"symbol": _SYMBOL, "amount": f"{price * 20:.2f}"}
    small = {"symbol": _SYMBOL, "amount": f"{price * 5:.2f}"}
    give("add", amount=f"{price * 200:.2f}")
    give("buy", **worth)
    give("cancel-buy")
    give("buy", **worth)
    give("commit-buy")
    give("sell", **small)
    give("cancel-sell")
    give("sell", **small)
    give("commit-sell")
    give("set-buy-amount", **small)
    give("set-buy-trigger", symbol=_SYMBOL, price="0.01")
    give("cancel-set-buy", symbol=_SYMBOL)
    give("set-sell-amount", **small)
    give("set-sell-trigger", symbol=_SYMBOL, price=f"{price * 4:.2f}")
    give("cancel-set-sell", symbol=_SYMBOL)
    give("dumplog", filename="smoke.xml")
    give("summary")
    return given


def _replay(url: str, token: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made, sent = Path(folder, "generated"), Path(folder, "workload")
        _loadgen(
            "generate", f"--users={_USERS}", f"--commands={_COMMANDS + 1}", f"--symbols={_SYMBOLS}", f"--out={made}"
        )
        lines = made.read_text().splitlines()[:-1]  # the last one is the log of all users
        sent.write_text("".join(f"{_of_user(line, name)}\n" for line in lines))
        _loadgen(
            "replay",
            str(sent),
            f"--url={url}",
            "--verify",
            "--no-log",
            "--quiet",
            "--threads=3",
            "--give-up=20",
            token=token,
        )


def _of_user(line: str, name: str) -> str:
    command, user, *rest = line.split(",")
    return ",".join([command, f"{name}-{user.strip()}", *rest])


def _loadgen(*arguments: str, token: str = "") -> None:
    """Run the load generator; it dies with us. The token must not appear in the process list."""
    command = guard.guarded(sys.executable, "-m", "loadgen", *arguments)
    environment = {**os.environ, "LOADGEN_TOKEN": token}
    try:
        done = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SmokeError(f"the replay did not end within {REPLAY_SECONDS:g} s") from None
    if done.returncode != 0:
        raise SmokeError(f"the replay failed:\n{done.stdout}{done.stderr}".rstrip())


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text[:300].decode(errors="replace")


def _seconds(retry_after: str | None) -> float:
    return min(float(retry_after), LONGEST_PAUSE_SECONDS) if retry_after and retry_after.isdecimal() else 1.0
