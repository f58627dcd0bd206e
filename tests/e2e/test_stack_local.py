"""The local stack as a user runs it: `python -m infra.local up`."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import psutil
import pytest

from infra.host.ports import HOST, free_port, reserve
from infra.local.background import BackgroundStack
from infra.local.folder import StackFolder
from infra.local.stack import PROJECT
from tests.conftest import StartStack
from tests.processors import processors_of

SECONDS = 90.0


def ask(stack: BackgroundStack, method: str, path: str, token: str, body: object = None) -> tuple[int, Any]:
    address = stack.url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=SECONDS)) as connection:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def run_up(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a stack that is expected to end by itself."""
    command = [sys.executable, "-m", "infra.local", "up", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False)


def family_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def all_gone(processes: Sequence[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    return not alive


TWO_GATEWAYS = ("gateway-1", "gateway-2", "haproxy")


@pytest.mark.usefixtures("haproxy_program")
@pytest.mark.parametrize(
    ("server", "workers", "parts"),
    [("gateway", 2, TWO_GATEWAYS), ("gateway", 1, ("gateway",)), ("chalice", 1, ("chalice",))],
)
def test_a_stack_serves_commands_and_stops_without_a_trace(
    stack: StartStack, server: str, workers: int, parts: Sequence[str]
) -> None:
    """Also asserts, in the fixture, exit status 0 and that no process is left."""
    running = stack("--server", server, "--workers", str(workers), "--quote-source", "fixed:10.00")
    status, answer = ask(running, "POST", "/users/jane/add", running.trader_token("jane"), {"amount": "100.00"})
    assert (status, answer["cash"]) == (200, "100.00")
    status, answer = ask(running, "GET", "/users/jane/quote/ABC", running.operator_token)
    assert (status, answer["price"]) == (200, "10.00")
    assert set(running.pids) == {"arbiter", "mongod", "redis", *parts}
    assert stat.S_IMODE((running.data / "stack.json").stat().st_mode) == 0o600
    assert [path for path in running.data.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []
    claims = jwt.decode(running.operator_token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 24 * 3600
    assert running.stop() == 0
    assert not (running.data / "stack.json").exists()


@pytest.mark.parametrize("options", [(), ("--replicas", "3")])
def test_the_stores_leave_the_workers_their_processors_where_there_are_others(
    stack: StartStack, options: Sequence[str]
) -> None:
    running = stack(*options)
    first, *others = sorted(os.sched_getaffinity(0))
    assert processors_of(psutil.Process(running.pids["gateway"])) == {first}
    pids = {name: pid for name, pid in running.pids.items() if name.startswith(("mongod", "redis"))}
    stores = {name: processors_of(psutil.Process(pid)) for name, pid in pids.items()}
    wanted = {first, *others} if options or not others else set(others)  # three members need all there are
    assert stores == dict.fromkeys(stores, wanted)


@pytest.mark.usefixtures("haproxy_program")
def test_a_second_start_finds_the_data_and_a_killed_stack_leaves_no_process(stack: StartStack) -> None:
    first = stack()
    ask(first, "POST", "/users/jane/add", first.operator_token, {"amount": "12.34"})
    assert first.stop() == 0
    killed = stack("--workers", "2")
    assert killed.mongo_uri == first.mongo_uri
    _, answer = ask(killed, "POST", "/users/jane/add", first.operator_token, {"amount": "1.00"})
    assert answer["cash"] == "13.34"
    family = family_of(killed.process.pid)
    assert len(family) >= 6  # mongod, its arbiter, redis, two gateways, haproxy
    killed.process.send_signal(signal.SIGKILL)
    assert all_gone(family)
    again = stack()
    assert ask(again, "GET", "/users/jane/summary", again.operator_token)[1]["cash"] == "13.34"


def test_a_stack_whose_accounts_were_deleted_starts_anew(stack: StartStack) -> None:
    """The arbiter beside them must not remember their replica set: it would refuse the new one."""
    first = stack()
    ask(first, "POST", "/users/jane/add", first.operator_token, {"amount": "12.34"})
    assert first.stop() == 0
    shutil.rmtree(first.data / "mongod")
    second = stack()
    assert ask(second, "GET", "/users/jane/summary", second.operator_token)[1]["cash"] == "0.00"


def test_two_stacks_run_side_by_side(stack: StartStack, tmp_path: Path) -> None:
    one, other = stack(data=tmp_path / "one"), stack(data=tmp_path / "other")
    ask(one, "POST", "/users/jane/add", one.operator_token, {"amount": "1.00"})
    ask(other, "POST", "/users/jane/add", other.operator_token, {"amount": "2.00"})
    assert ask(one, "GET", "/users/jane/summary", one.operator_token)[1]["cash"] == "1.00"
    assert ask(other, "GET", "/users/jane/summary", other.operator_token)[1]["cash"] == "2.00"
    assert ask(one, "GET", "/users/jane/summary", other.operator_token)[0] == 401


def test_a_part_that_dies_is_reported_and_the_stack_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local", "up", "--data", str(tmp_path), "--port", str(free_port())]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready http://127.0.0.1:")
        family = family_of(process.pid)
        os.kill(json.loads((tmp_path / "stack.json").read_text())["pids"]["redis"], signal.SIGKILL)
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
    assert "redis died (killed by SIGKILL)\nlast lines of" in errors
    assert "| " in errors
    assert "Ready to accept connections" in errors
    assert all_gone(family)
    assert not (tmp_path / "stack.json").exists()


def test_two_signals_stop_it_at_once_and_leave_nothing(stack: StartStack) -> None:
    running = stack()
    family = family_of(running.process.pid)
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.01)  # two of a kind at the same moment are one to the kernel
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(SECONDS) == 0
    assert all_gone(family)


def test_a_taken_port_is_said_and_nothing_starts(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.closing(reserve(port)):
        ended = run_up("--port", str(port), "--data", str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.strip().startswith(f"port {port} on {HOST} is taken by another program")
    assert ended.stdout == ""


def test_a_folder_in_use_is_said_and_left_alone(tmp_path: Path) -> None:
    with StackFolder(tmp_path).locked():
        ended = run_up("--port", str(free_port()), "--data", str(tmp_path))
    assert ended.returncode == 1
    assert f"{tmp_path} is in use by the stack with process id {os.getpid()}" in ended.stderr


@pytest.mark.parametrize("source", ["", "guessed:10.00"])
def test_a_wrong_setting_is_named_and_nothing_starts(tmp_path: Path, source: str) -> None:
    ended = run_up("--port", str(free_port()), "--data", str(tmp_path), "--quote-source", source)
    assert ended.returncode == 1
    assert ended.stderr.startswith("setting QUOTE_SOURCE: got ")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    "wrong", [["--server", "apache"], ["--workers", "0"], ["--port", "x"], ["--trigger-seconds", "-1"]]
)
def test_wrong_options_are_refused(wrong: list[str]) -> None:
    assert run_up(*wrong).returncode == 2


def test_plain_chalice_local_serves_with_the_environment_of_the_docs(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path
) -> None:
    """`chalice local`, as docs/local-stack.md shows it; its answers come 40 ms late, one after the other."""
    port = free_port()
    environment = os.environ | {
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": mongo_database,
        "REDIS_URL": redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": "x" * 48,
        "DUMP_PLACE": str(tmp_path),
    }
    command = [str(Path(sys.executable).with_name("chalice")), "local", "--no-autoreload", "--stage", "local"]
    command += ["--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            assert _answer_of_health(port, process) == {"status": "ok"}
        finally:
            process.terminate()


def _answer_of_health(port: int, process: "subprocess.Popen[bytes]") -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
            try:
                connection.request("GET", "/health")
                return json.loads(connection.getresponse().read())
            except ConnectionRefusedError:
                time.sleep(0.05)
    return "chalice local did not answer"
