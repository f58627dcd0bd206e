"""On the real stack: every acknowledged command is in the audit log exactly once, and the log replays to the cent."""

import http.client
import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.audit.cli import main as audit
from infra.local.background import BackgroundStack
from infra.local.stack import PROJECT
from tests.conftest import StartStack
from tests.integration.audit_parts import read_log, transactions

SECONDS = 120.0
STACK = ("--quote-source", "fixed:10.00", "--trigger-seconds", "0", "--workers", "2", "--balance", "request")
_NUMBERS = count(1_000_000)


@dataclass(frozen=True, slots=True)
class Command:
    """A request that can be sent again; its number names it in the log."""

    user: str
    path: str
    body: dict[str, str]
    number: int = field(default_factory=lambda: next(_NUMBERS))

    def send(self, stack: BackgroundStack) -> tuple[int, Any, bool]:
        """Return status, answer and whether it is the first outcome repeated. Raises OSError or HTTPException."""
        address = urlsplit(stack.url)
        headers = {
            "Authorization": f"Bearer {stack.operator_token}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"key-{self.number}",
            "X-Transaction-Num": str(self.number),
        }
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
        with closing(connection):
            connection.request("POST", f"/users/{self.user}/{self.path}", json.dumps(self.body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer, response.headers["Idempotent-Replayed"] == "true"


def commands_of(user: str, how_many: int) -> Iterator[Command]:
    """Yield commands of all outcomes, the same ones each time."""
    choice = random.Random(user)
    for _ in range(how_many):
        path = choice.choice(["add", "add", "buy", "buy", "commit-buy", "cancel-buy", "sell", "commit-sell"])
        body = {"add": {"amount": "25.50"}}.get(path, {"symbol": "ABC", "amount": "20.00"})
        yield Command(user, path, body if path in {"add", "buy", "sell"} else {})


def logged(stack: BackgroundStack) -> tuple[Path, Counter[int]]:
    """Write the log of all, check it as anyone would, and return it and how often it holds each command."""
    dump = Command("unused", "unused", {})
    address = urlsplit(stack.url)
    headers = {"Authorization": f"Bearer {stack.operator_token}", "X-Transaction-Num": str(dump.number)}
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)) as connection:
        connection.request("POST", "/dumplog", json.dumps({"filename": "./log"}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    assert response.status == 200, answer
    log = Path(answer["location"])
    assert audit(["check", str(log), "--url", stack.url, "--token", stack.operator_token]) == 0
    found = Counter(transactions(read_log(log.read_bytes())))
    assert found.pop(dump.number) == 1
    return log, found


def test_after_a_replay_the_log_is_sound_and_equals_the_accounts(stack: StartStack, tmp_path: Path) -> None:
    running = stack(*STACK)

    def loadgen(*arguments: str) -> None:
        command = [sys.executable, "-m", "loadgen", *arguments]
        subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=SECONDS)

    workload = str(tmp_path / "workload.txt")
    loadgen("generate", "--users=10", "--commands=1500", "--symbols=10", "--seed=3", f"--out={workload}")
    loadgen("replay", workload, f"--url={running.url}", f"--token={running.operator_token}", "--quiet")
    log, found = logged(running)
    assert found.total() == 1500
    assert max(found.values()) == 1
    broken = log.with_name("broken")
    lines = log.read_text().splitlines(keepends=True)
    lost = next(place for place, line in enumerate(lines) if line.startswith("<accountTransaction"))
    broken.write_text("".join(lines[:lost] + lines[lost + 1 :]))
    assert audit(["check", str(broken), "--url", running.url, "--token", running.operator_token]) == 1


def test_requests_that_come_twice_are_in_the_log_once(stack: StartStack) -> None:
    """Each is sent twice at the same moment, over two connections and to any of two workers."""
    running = stack(*STACK)
    with ThreadPoolExecutor(8) as pool:
        repeated = 0
        for rounds in zip(*(commands_of(f"user{number}", 60) for number in range(4)), strict=True):
            both = [[pool.submit(command.send, running) for _ in range(2)] for command in rounds]
            for one, other in ((first.result(), second.result()) for first, second in both):
                assert one[0] in {200, 409}
                assert one[:2] == other[:2]
                repeated += one[2] + other[2]
    assert repeated == 240
    _, found = logged(running)
    assert found.total() == 240
    assert max(found.values()) == 1


def test_commands_acknowledged_before_a_kill_and_those_sent_again_after_it_are_in_the_log_once(
    stack: StartStack, tmp_path: Path
) -> None:
    """All of the stack is killed at once in the middle of the work, and started again on the same data."""
    data = tmp_path / "stack"
    first = stack(*STACK, data=data)
    second: list[BackgroundStack] = []
    is_up_again, enough = threading.Event(), threading.Semaphore(0)
    acknowledged: list[Command] = []
    cut_off: list[Command] = []

    def work(user: str) -> None:
        for command in commands_of(user, 150):
            try:
                status, answer, _ = command.send(second[0] if second else first)
            except (OSError, http.client.HTTPException, ValueError):
                status, answer = 503, None
            while status in {502, 503}:
                cut_off.append(command)
                assert is_up_again.wait(SECONDS)
                status, answer, _ = command.send(second[0])
            assert status in {200, 409}, answer
            acknowledged.append(command)
            enough.release()

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, f"user{number}") for number in range(4)]
        for _ in range(250):
            assert enough.acquire(timeout=SECONDS)
        first.process.kill()
        first.process.wait(SECONDS)
        second.append(stack(*STACK, data=data))
        is_up_again.set()
        for worker in working:
            worker.result()
    assert len(acknowledged) == 600
    assert cut_off, "the kill did come in the middle of it"
    for command in acknowledged[-100:]:
        assert command.send(second[0])[2], "known, also when it was acknowledged before the kill"
    _, found = logged(second[0])
    assert found == Counter(command.number for command in acknowledged)
