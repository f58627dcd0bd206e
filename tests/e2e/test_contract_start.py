"""Wrong settings keep a server from starting, and say so; an import of the app needs none."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from infra.host.ports import HOST, free_port, reserve
from infra.local import process as parts
from infra.local.parts import why_not_healthy
from infra.local.process import Part
from infra.local.stack import PROJECT
from tests.unit.test_settings import GOOD as SETTINGS

SECONDS = 60.0
GOOD = SETTINGS | {"MONGO_URI": "mongodb://127.0.0.1:1/?directConnection=true", "REDIS_URL": "redis://127.0.0.1:1/0"}
NAMES = {"AUTH_JWKS_URL", "CORS_ORIGIN", "LOG_LEVEL", "AWS_LAMBDA_FUNCTION_NAME"} | set(GOOD)
SERVERS = {"gateway": ["-m", "infra.servers.gateway"], "chalice": ["-m", "infra.servers.chalice_server"]}


def run(command: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | settings
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


WRONG = [
    ("LOG_LEVEL", "LOUD"),
    ("QUOTE_SOURCE", "guess"),
    ("CORS_ORIGIN", "*"),
    ("AUTH_JWKS_URL", "http://x.example/k"),
]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_server_with_a_wrong_setting_names_it_and_does_not_start(server: str, name: str, value: str) -> None:
    command = [*SERVERS[server], "--port", str(free_port())]
    done = run(command, **GOOD | {name: value})
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert f"setting {name}: got {value!r}, takes " in said
    assert "Serving" not in done.stdout


def test_a_stack_with_a_wrong_setting_names_it_before_anything_starts(tmp_path: Path) -> None:
    done = run(["-m", "infra.local", "up", "--data", str(tmp_path / "s"), "--port", str(free_port())], LOG_LEVEL="LOUD")
    assert done.returncode == 1
    assert done.stderr.startswith("setting LOG_LEVEL: got 'LOUD', takes ")
    assert not list((tmp_path / "s").glob("logs/*"))


def test_the_app_is_imported_without_any_setting_as_its_deployment_does() -> None:
    assert run(["-c", "import app"]).returncode == 0


def test_in_the_cloud_a_function_with_a_wrong_setting_does_not_even_begin() -> None:
    done = run(["-c", "import app"], AWS_LAMBDA_FUNCTION_NAME="f", **GOOD | {"LOG_LEVEL": "LOUD"})
    assert done.returncode == 1
    assert "setting LOG_LEVEL: got 'LOUD', takes " in done.stderr
    assert run(["-c", "import app"], AWS_LAMBDA_FUNCTION_NAME="f", **GOOD).returncode == 0


def test_a_function_that_answers_before_a_write_is_durable_says_so_in_its_log() -> None:
    told = "WRITE_CONCERN=one: a crash or a failover can lose answered commands"
    for value, is_told in (("one", True), ("majority-journaled", False)):
        done = run(["-c", "import app"], AWS_LAMBDA_FUNCTION_NAME="f", **GOOD | {"WRITE_CONCERN": value})
        assert done.returncode == 0
        assert (told in done.stdout) is is_told


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Run the app with CORS on a server, both stores away, and return its port; any answer will do."""
    port = free_port()
    environment = os.environ | GOOD | {"CORS_ORIGIN": "https://trade.example.com", "MONGO_TIMEOUT_MS": "100"}

    def why_not_ready() -> str | None:
        return None if "503" in (reason := why_not_healthy(port) or "503") else reason

    command = [sys.executable, *SERVERS[request.param], "--port", str(port)]
    with contextlib.closing(reserve(port)):
        running = parts.start(Part("server", command, environment, why_not_ready, folder=PROJECT), tmp_path)
        try:
            running.wait_until_ready()
            yield port
        finally:
            running.kill()


def ask(port: int, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        connection.request(method, path, None, dict(headers))
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}


def test_pages_of_the_configured_origin_may_ask(server: int) -> None:
    status, headers = ask(
        server,
        "OPTIONS",
        "/users/jane/add",
        {"Origin": "https://trade.example.com", "Access-Control-Request-Method": "POST"},
    )
    assert status == 200
    assert headers["access-control-allow-origin"] == "https://trade.example.com"
    assert "Idempotency-Key" in headers["access-control-allow-headers"]
    assert "POST" in headers["access-control-allow-methods"]
    for path in ("/openapi.json", "/users/jane/summary"):
        _, headers = ask(server, "GET", path, {"Origin": "https://evil.example"})
        assert headers["access-control-allow-origin"] == "https://trade.example.com"
