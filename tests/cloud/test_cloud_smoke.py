"""`python -m infra.cloud smoke`, on a local stack and on servers that do not do what they should."""

import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

import pytest
from pymongo import MongoClient

from infra.cloud.smoke import Client, SmokeError
from infra.local.background import BackgroundStack, running_stack
from infra.local.stack import PROJECT

Answer = Callable[[str, str, bytes, dict[str, str]], tuple[int, bytes]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    """Return a stack whose prices move and whose triggers fire."""
    small = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder / "stack", *small, "--quote-source", "simulated:1", "--trigger-seconds", "1") as running:
        yield running


def smoke(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra.cloud", "smoke", *arguments]
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=False)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve what `answer` makes of a method, a path and a body; yields the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, text = answer(self.command, self.path, body, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = serve  # noqa: N815  # names of the standard library

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def through(stack: BackgroundStack, change: Callable[[str, bytes], bytes]) -> Answer:
    """Return what the stack answers to requests whose bodies were changed on the way."""

    def answer(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        sent = change(path, body) if method == "POST" else None
        given = {name: value for name, value in headers.items() if name not in {"Host", "Content-Length", "Connection"}}
        request = urllib.request.Request(f"{stack.url}{path}", sent, given, method=method)  # noqa: S310  # our own
        try:
            with urllib.request.urlopen(request, timeout=30) as found:  # noqa: S310
                return found.status, found.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    return answer


def test_a_stack_that_works_is_found_to_and_no_other_account_is_touched(stack: BackgroundStack) -> None:
    done = smoke(f"{stack.url}/", LOADGEN_TOKEN=stack.operator_token)
    assert done.returncode == 0, done.stderr
    health, commands, replay = done.stdout.splitlines()
    assert health == "health: ok"
    assert commands.startswith("18 commands on the account smoke-")
    assert replay.endswith("answers and accounts verified")
    with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        users = client["day_trading"]["accounts"].distinct("_id")
        made = [user for user in users if not user.startswith("smoke-")]
        (alone,) = [user for user in users if user.count("-") == 1]
        journal = client["day_trading"]["accounts"].find_one({"_id": alone})
    assert (len(users), made) == (4, [])
    assert journal is not None


def test_what_is_down_is_said(stack: BackgroundStack) -> None:
    with serving(lambda *_asked: (200, b'{"status": "degraded", "down": ["redis"]}')) as url:
        done = smoke(url, LOADGEN_TOKEN=stack.operator_token)
    assert (done.returncode, done.stdout) == (1, "")
    assert '{"status": "degraded", "down": ["redis"]}' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_done_is_named_with_its_answer(stack: BackgroundStack) -> None:
    done = smoke(stack.url, AUTH_SECRET="a secret of another stack, of 32 bytes or more")
    assert (done.returncode, done.stdout) == (1, "health: ok\n")
    assert "was answered 401" in done.stderr
    assert "the token is not valid" in done.stderr


def test_money_that_is_not_as_it_should_be_is_found(stack: BackgroundStack) -> None:
    """Behind something that adds a cent to what three accounts are given."""

    def change(path: str, body: bytes) -> bytes:
        if path.endswith("/add") and path.count("-") > 1:
            given = json.loads(body)
            return json.dumps({"amount": f"{float(given['amount']) + 0.01:.2f}"}).encode()
        return body

    with serving(through(stack, change)) as url:
        done = smoke(url, LOADGEN_TOKEN=stack.operator_token)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert done.stderr.startswith("the replay failed:")


def test_what_is_refused_for_now_is_asked_again_with_its_key_and_not_for_ever() -> None:
    pauses: list[float] = []
    asked: list[str] = []

    def answer(_method: str, path: str, _body: bytes, _headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append(path)
        return (200, b"{}") if path == "/late" and len(asked) > 2 else (503, b"starting")

    with serving(answer) as url:
        client = Client(url, "token", pauses.append)
        assert client("POST", "/late", {}) == (200, {})
        assert pauses == [1.0, 1.0]
        with pytest.raises(SmokeError, match=r"/never was not answered in 10 tries, the last time: 503 starting"):
            client("GET", "/never")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["https://x/api"], {}, "needs a token: set LOADGEN_TOKEN"),
        (["x/api"], {"AUTH_SECRET": "0" * 32}, "'x/api' is not a URL"),
    ],
)
def test_what_is_missing_is_said(arguments: list[str], environment: dict[str, str], said: str) -> None:
    done = smoke(*arguments, **environment)
    assert (done.returncode, said in done.stderr) == (2, True)
