"""The running system against its own OpenAPI document, and what operators see of it.

`make fuzz` runs this with FUZZ_EXAMPLES=400: more than 5,000 cases a server.
"""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra.local.background import BackgroundStack
from infra.local.stack import PROJECT

SECONDS = 60.0
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
SEED = os.environ.get("FUZZ_SEED", "7")
LEAST_CASES = 5_000 if EXAMPLES >= 400 else 1_000


def ask(
    stack: BackgroundStack, method: str, path: str, token: str | None = None, body: object = None
) -> tuple[int, Mapping[str, str], str]:
    address = stack.url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        replied = {name.lower(): value for name, value in response.getheaders()}
        return response.status, replied, response.read().decode()


def counted(stack: BackgroundStack, command: str, outcome: str) -> float:
    """Return a counter of /metrics."""
    status, _, text = ask(stack, "GET", "/metrics", stack.operator_token)
    assert status == 200
    found = re.search(rf'^trading_commands_total{{command="{command}",outcome="{outcome}"}} (\S+)$', text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def log_of(stack: BackgroundStack) -> str:
    server = next(name for name in stack.pids if name in {"gateway", "chalice"})
    return (stack.data / "logs" / f"{server}.log").read_text()


@pytest.mark.timeout(3600)
def test_every_answer_is_in_the_document_whatever_is_asked(served: BackgroundStack, tmp_path: Path) -> None:
    """All checks of schemathesis, with the operator's token: what is valid gets in, what is not does not, no 5xx."""
    config = PROJECT / "tests/e2e/schemathesis.toml"
    run = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    run += [
        f"{served.url}/openapi.json",
        "--url",
        served.url,
        "--header",
        f"Authorization: Bearer {served.operator_token}",
    ]
    run += ["--checks", "all", "--max-examples", str(EXAMPLES), "--seed", SEED, "--continue-on-failure", "--no-color"]
    run += ["--generation-database", "none"]
    done = subprocess.run(
        run, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    cases = re.search(r"([\d,]+) generated, ([\d,]+) passed", done.stdout)
    assert cases is not None, done.stdout[-2_000:]
    print(f"{served.pids.keys() - {'arbiter', 'mongod', 'redis'}}: {cases.group(0)}")  # noqa: T201 - the figure of `make fuzz`
    assert int(cases.group(1).replace(",", "")) >= LEAST_CASES
    assert counted(served, "ADD", "ok") > 0
    assert counted(served, "COMMIT_BUY", "no_pending_buy") > 0
    assert '"outcome":"internal_error"' not in log_of(served)
    assert "Traceback" not in log_of(served)


def test_the_document_is_served_without_a_token(served: BackgroundStack) -> None:
    status, headers, text = ask(served, "GET", "/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert text == (PROJECT / "docs/openapi.json").read_text()


def test_metrics_count_commands_and_are_for_operators(served: BackgroundStack) -> None:
    before = counted(served, "ADD", "ok")
    token = served.trader_token("counted")
    for _ in range(40):
        assert ask(served, "POST", "/users/counted/add", token, {"amount": "1.00"})[0] == 200
    assert counted(served, "ADD", "ok") == before + 40
    _, headers, text = ask(served, "GET", "/metrics", served.operator_token)
    assert headers["content-type"].startswith("text/plain; version=")
    assert "counted" not in text  # nothing of users
    assert ask(served, "GET", "/metrics")[0] == 401
    assert ask(served, "GET", "/metrics", token)[0] == 403
    assert ask(served, "POST", "/metrics", served.operator_token)[0] == 405


def test_metrics_tell_where_quotes_came_from_and_which_server_was_asked(served: BackgroundStack) -> None:
    token = served.trader_token("quoted")
    for _ in range(3):
        assert ask(served, "GET", "/users/quoted/quote/MTR", token)[0] == 200
    _, _, text = ask(served, "GET", "/metrics", served.operator_token)
    found = dict(re.findall(r'^trading_quotes_total{source="(\w+)"} (\S+)$', text, re.MULTILINE))
    assert float(found["cache"]) >= 2
    assert float(found["source"]) >= 1
    server = next(name for name in served.pids if name in {"gateway", "chalice"})
    assert f'trading_server_info{{server="{server}"}} 1.0' in text


def test_a_command_is_one_line_of_the_log_without_a_token(served: BackgroundStack) -> None:
    token = served.trader_token("logged")
    status, _, text = ask(served, "POST", "/users/logged/add", token, {"amount": "1.00"})
    assert status == 200
    end = time.monotonic() + SECONDS
    while not (lines := [line for line in log_of(served).splitlines(keepends=True) if '"user":"logged"' in line]):
        assert time.monotonic() < end  # the line comes a moment after the answer
        time.sleep(0.01)
    assert len(lines) == 1
    line: dict[str, Any] = json.loads(lines[0])
    assert (line["command"], line["outcome"], line["transaction"]) == ("ADD", "ok", json.loads(text)["transaction"])
    assert line["request_id"]
    assert 0 < line["save_ms"] <= line["ms"]
    assert token.rpartition(".")[2] not in log_of(served)
    assert served.operator_token.rpartition(".")[2] not in log_of(served)


def test_a_log_is_fetched_by_its_name_whatever_is_in_it(served: BackgroundStack) -> None:
    token = served.trader_token("fetcher")
    name = "d'été 50%25 & more+.xml"
    assert ask(served, "POST", "/users/fetcher/dumplog", token, {"filename": name})[0] == 200
    status, headers, text = ask(served, "GET", f"/users/fetcher/dumplog?filename={quote(name, safe='')}", token)
    assert (status, headers["content-type"]) == (200, "application/xml")
    assert text.startswith('<?xml version="1.0"?>')


def test_answers_and_refusals_have_security_headers(served: BackgroundStack) -> None:
    for path in ("/health", "/users/jane/summary", "/metrics"):
        _, headers, _ = ask(served, "GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers
