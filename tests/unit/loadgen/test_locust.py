"""The same replay on Locust: every command once, each user's in order, over a master and two workers."""

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.host.ports import free_port
from infra.local.stack import PROJECT
from tests.unit.loadgen.conftest import WriteWorkload
from tests.unit.loadgen.runs import SECONDS, numbers_by_user, wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer

LINES = "\n".join(f"ADD,user{number % 30},1.00" for number in range(240))

Locust = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def locust() -> Iterator[Locust]:
    """Return a function that starts Locust; what still runs at the end of the test is killed."""
    with ExitStack() as running:

        def start(*arguments: str | Path) -> "subprocess.Popen[str]":
            command = [sys.executable, "-m", "locust", "-f", "loadgen/run/locustfile.py", *map(str, arguments)]
            process = subprocess.Popen(
                command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            running.callback(process.communicate)
            running.callback(process.kill)
            return process

        yield start


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate(timeout=SECONDS)
    return process.returncode, said


def alone(stub: StubServer, path: Path, *more: str) -> list[str]:
    size = ["--headless", "-u", "4", "-r", "4", "--only-summary"]
    return [*size, "--host", stub.url, "--workload", str(path), "--token", "good", *more]


def test_a_master_and_two_workers_send_every_command_once_and_in_order(
    stub: StubServer, write_workload: WriteWorkload, locust: Locust
) -> None:
    def misbehave(handler: Handler, request: Request) -> bool:
        trouble = request.command.transaction % 7 == 0 and request.attempt == 1
        if trouble:
            handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
        return trouble

    stub.misbehave = misbehave
    path, port = write_workload(f"{LINES}\nDUMPLOG,./one\n{LINES}\nDUMPLOG,./two"), str(free_port())
    master = locust("--master", "--master-bind-port", port, "--expect-workers", "2", *alone(stub, path))
    workers = [locust("--worker", "--master-port", port) for _ in range(2)]
    code, said = ended(master)
    assert code == 0, said
    assert [ended(worker)[0] for worker in workers] == [0, 0]
    assert Counter(request.command.transaction for request in stub.commands() if request.attempt == 1) == Counter(
        range(1, 483)
    )
    assert stub.exchange.executions == 482
    for user, numbers in numbers_by_user(stub).items():
        assert numbers == sorted(numbers), user
    for request in stub.commands():
        if request.command.user is None:  # it waited for all before it, on both workers
            repeated = request.command.transaction // 7
            assert request.answered == request.command.transaction - 1 + repeated
    assert stub.connections == 4  # one for each of Locust's users: both workers had their part
    assert "Aggregated" in said


def test_without_workers_it_replays_too_and_time_outs_hold(
    stub: StubServer, write_workload: WriteWorkload, locust: Locust
) -> None:
    def be_late_at_first(_handler: Handler, request: Request) -> bool:
        if request.attempt == 1:
            time.sleep(0.5)
        return False

    stub.misbehave = be_late_at_first
    path = write_workload("ADD,a,1.00\nADD,b,1.00\nADD,a,1.00")
    code, said = ended(locust(*alone(stub, path, "--timeout", "0.2", "--run-id", "mine")))
    assert code == 0, said
    assert stub.exchange.executions == 3
    assert {request.key for request in stub.commands()} == {"mine-1", "mine-2", "mine-3"}
    assert max(request.attempt for request in stub.commands()) >= 2


def test_a_command_without_a_final_answer_is_a_failure_and_the_others_still_go(
    stub: StubServer, write_workload: WriteWorkload, locust: Locust
) -> None:
    def misbehave(handler: Handler, request: Request) -> bool:
        if request.command.transaction == 2:
            handler.answer(500, {"code": "broken", "detail": "it broke"})
        return request.command.transaction == 2

    stub.misbehave = misbehave
    code, said = ended(locust(*alone(stub, write_workload("ADD,a,1.00\nADD,a,2.00\nADD,a,3.00"))))
    assert code == 1
    assert "500 broken (it broke)" in said
    assert stub.exchange.accounts["a"].cash == 400


@pytest.mark.parametrize(
    ("lines", "more", "reason"),
    [
        ("ADD,a", (), "ADD needs user,amount"),
        ("ADD,a,1.00", ("--workload", ""), "--workload is needed"),
    ],
)
def test_a_replay_that_cannot_begin_says_why_and_sends_nothing(
    stub: StubServer, write_workload: WriteWorkload, locust: Locust, lines: str, more: tuple[str, ...], reason: str
) -> None:
    code, said = ended(locust(*alone(stub, write_workload(lines), *more)))
    assert code == 1
    assert reason in said
    assert stub.commands() == []


def test_a_worker_that_is_lost_ends_the_run_and_is_named(
    stub: StubServer, write_workload: WriteWorkload, locust: Locust
) -> None:
    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.02)
        return False

    stub.misbehave = slow
    path, port = write_workload(f"{LINES}\n" * 40), str(free_port())
    master = locust("--master", "--master-bind-port", port, "--expect-workers", "2", *alone(stub, path))
    workers = [locust("--worker", "--master-port", port) for _ in range(2)]
    wait_until(lambda: stub.connections >= 4, "the replay does not begin")
    workers[0].kill()
    code, said = ended(master)
    assert code == 1, said
    assert "workers were lost: " in said


def test_gevent_patches_only_the_processes_of_locust() -> None:
    """Locust patches its process when it is imported; its plugin for pytest, loaded here, must not do so."""
    assert socket.socket.__module__ == "socket"
    found = "import sys, pytest_locust.plugin, loadgen.cli; print('gevent' in sys.modules or 'locust' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", found], cwd=PROJECT, check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"
