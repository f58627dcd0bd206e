"""A server that dies behind a load balancer in the middle of a replay costs retries, and nothing else."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from infra.host.ports import HOST, free_port
from infra.local.background import BackgroundStack, running_stack
from infra.local.folder import StackFolder
from infra.local.parts import why_not_healthy
from infra.local.stack import PROJECT

SECONDS = 120.0
COMMANDS = 1500
SMALL = ("--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64", "--redis-memory-mb", "64")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundStack]:
    data = tmp_path_factory.mktemp("failover") / "stack"
    with running_stack(data, "--quote-source", "fixed:10.00", "--trigger-seconds", "0", *SMALL) as stack:
        yield stack


class Balancer:
    """Passes connections on to some ports in turn, and asks nobody whether they are well: half of them may fail."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._next = itertools.cycle(ports)
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self._open: set[socket.socket] = set()
        self._ended = False
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]

    @contextmanager
    def running(self) -> Iterator[None]:
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield
        finally:
            self._ended = True
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            self._listener.close()
            for one in list(self._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in self._threads:
                thread.join()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client, next(self._next)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, port: int) -> None:
        with client, suppress(OSError), socket.create_connection((HOST, port)) as server:
            self._open |= {client, server}
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(server, client))
            back.start()
            self._pump(client, server)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def second_server(running: BackgroundStack) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run another gateway over the same database and cache; give its port and its process."""
    port = free_port()
    environment = {
        **os.environ,
        "MONGO_URI": running.mongo_uri,
        "MONGO_DATABASE": running.mongo_database,
        "REDIS_URL": running.redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": StackFolder(running.data).secret(),
        "DUMP_PLACE": str(running.data / "dumps"),
        "GROUP_COMMIT": "128",
        "SERVER_NAME": "second",
    }
    command = [sys.executable, "-m", "infra.servers.gateway", "--port", str(port), "--name", "second"]
    process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        until(lambda: why_not_healthy(port) is None)
        yield port, process
    finally:
        kill(process.pid)
        process.wait()


def kill(pid: int) -> None:
    """Kill a process and its children, as a machine that goes away does."""
    with suppress(psutil.NoSuchProcess):
        victim = psutil.Process(pid)
        for process in (victim, *victim.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def until(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def commands_done(running: BackgroundStack) -> int:
    with MongoClient[dict[str, Any]](running.mongo_uri) as client:
        accounts = client[running.mongo_database]["accounts"].find()
        return sum(int(state_of(account)["version"]) for account in accounts)


def loadgen(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "loadgen", *arguments]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "load", [["--processes", "2"], ["--rate", "400", "--allow-missed-rate"]], ids=["closed, 2 processes", "open"]
)
def test_killing_one_of_two_servers_in_the_middle_of_a_run_costs_retries_only(
    running: BackgroundStack, tmp_path: Path, load: list[str]
) -> None:
    workload, out = tmp_path / "workload.txt", tmp_path / "report.json"
    size = [f"--commands={COMMANDS}", "--users=30", "--symbols=20", "--seed=3", f"--out={workload}"]
    said, errors = loadgen("generate", *size).communicate(timeout=SECONDS)
    with ExitStack() as parts:
        port, victim = parts.enter_context(second_server(running))
        balancer = Balancer([urlsplit(running.url).port or 0, port])
        parts.enter_context(balancer.running())
        target = [f"--url=http://{HOST}:{balancer.port}", f"--token={running.operator_token}", f"--json={out}"]
        before = commands_done(running)
        replay = loadgen("replay", str(workload), *target, "--verify", *load)
        until(lambda: replay.poll() is not None or commands_done(running) - before > COMMANDS // 4)
        assert replay.poll() is None
        kill(victim.pid)
        said, errors = replay.communicate(timeout=SECONDS)
    assert replay.returncode == 0, said + errors
    report = json.loads(out.read_text())
    assert (report["commands"], report["errors"]) == (COMMANDS, 0)
    assert report["retries"] > 0
    assert sum(report["retry_reasons"].values()) == report["retries"]
    assert sum(row["retries"] for row in report["intervals"]["rows"]) == report["retries"]
    assert f"{report['retries']:,} retries" in said
    assert "Reasons for retries: " in said
    assert report["verification"]["passed"] is True
    assert report["verification"]["answers"] == COMMANDS
