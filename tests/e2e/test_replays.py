"""The system's main job, on the real stack: a workload replayed over HTTP, every account exact to the cent."""

import http.client
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from lxml import etree  # type: ignore[import-untyped]
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from infra.audit.logfile import SCHEMA
from infra.local.background import BackgroundStack
from infra.local.stack import PROJECT
from tests import course_log
from tests.conftest import StartStack

SECONDS = 240.0
PRICE_CENTS = 1000
QUIET_STACK = ("--quote-source", "fixed:10.00", "--trigger-seconds", "0")


def loadgen(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "loadgen", *arguments],
        cwd=PROJECT,
        timeout=SECONDS,
        check=False,
        capture_output=True,
        text=True,
    )


def generated(folder: Path, users: int, commands: int) -> Path:
    workload = folder / "workload.txt"
    size = [f"--users={users}", f"--commands={commands}", "--symbols=20", "--seed=7"]
    assert loadgen("generate", *size, f"--out={workload}").returncode == 0
    return workload


def replayed(running: BackgroundStack, workload: Path, report: Path, *more: str) -> dict[str, Any]:
    """Replay and verify; return the report."""
    target = [f"--url={running.url}", f"--token={running.operator_token}", f"--json={report}"]
    ended = loadgen("replay", str(workload), *target, *more)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def accounts(running: BackgroundStack) -> list[dict[str, Any]]:
    with MongoClient[dict[str, Any]](running.mongo_uri) as client:
        return list(client[running.mongo_database]["accounts"].find())


def worth_cents(account: dict[str, Any]) -> int:
    """Return cash, reserved cash and shares at the fixed price."""
    state = state_of(account)
    reserved = sum(order["value"] for order in state["pending_buys"])
    reserved += sum(trigger["amount"] for trigger in state["buy_triggers"].values())
    shares = sum(state["holdings"].values()) + sum(order["n"] for order in state["pending_sells"])
    shares += sum(trigger["n"] for trigger in state["sell_triggers"].values())
    cash = state["cash"]
    return int(cash + reserved + shares * PRICE_CENTS)


def added_cents(workload: Path) -> int:
    adds = [line.split(",") for line in workload.read_text().splitlines() if "] ADD," in line]
    return sum(int(fields[2].strip().replace(".", "")) for fields in adds)


@pytest.mark.usefixtures("haproxy_program")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("server", ["gateway", "chalice"])
def test_a_replay_is_exact_and_a_second_one_applies_the_file_again(
    stack: StartStack, tmp_path: Path, server: str, workers: str
) -> None:
    running = stack(*QUIET_STACK, "--server", server, "--workers", workers)
    workload = generated(tmp_path, users=8, commands=800)
    for times in (1, 2):
        report = replayed(running, workload, tmp_path / "report.json", "--verify")
        assert (report["commands"], report["errors"]) == (800, 0)
        worth = sum(worth_cents(account) for account in accounts(running))
        assert worth == times * added_cents(workload)


def test_a_negative_amount_is_answered_and_is_no_failure_of_the_replay(stack: StartStack, tmp_path: Path) -> None:
    workload = tmp_path / "workload.txt"
    workload.write_text(
        "[1] ADD,jane,100.00 \r\n[2] ADD,jane,-73280.58 \r\n[3] BUY,jane,S,50.00 \r\n[4] DUMPLOG,./testLOG\r\n"
    )
    report = replayed(stack(*QUIET_STACK), workload, tmp_path / "report.json", "--verify")
    assert report["errors"] == 0
    assert report["outcomes"]["400 invalid_amount"] == 1


def test_twelve_hundred_users_in_one_load_generator(stack: StartStack, tmp_path: Path) -> None:
    running = stack(*QUIET_STACK)
    report = replayed(running, generated(tmp_path, users=1200, commands=3600), tmp_path / "report.json", "--verify")
    assert (report["commands"], report["errors"]) == (3600, 0)
    assert len([account for account in accounts(running) if account["_id"] != "operator"]) == 1200


@pytest.mark.usefixtures("haproxy_program")
def test_one_key_in_flight_on_two_workers_at_once_is_applied_once(stack: StartStack) -> None:
    running = stack(*QUIET_STACK, "--workers", "2", "--balance", "request")
    headers = {"Authorization": f"Bearer {running.operator_token}", "Content-Type": "application/json"}

    def add(number: int) -> tuple[str, str | None, str]:
        connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=SECONDS)
        key = {"Idempotency-Key": f"key-{number // 4}"}
        connection.request("POST", "/users/jane/add", b'{"amount": "1.00"}', {**headers, **key})
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return key["Idempotency-Key"], response.getheader("Idempotent-Replayed"), body

    writers: set[str] = set()
    for turn in range(20):  # who has written has the newest record, and a lead with the next key: often with all twenty
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(add, range(80 * turn, 80 * turn + 80)))
        firsts = [key for key, replayed, _ in answers if replayed is None]
        assert sorted(firsts) == sorted({key for key, _, _ in answers})
        assert len({body for _, _, body in answers}) == 20
        (state,) = map(state_of, accounts(running))
        assert (state["cash"], state["version"]) == (2000 * (turn + 1), 20 * (turn + 1))
        writers |= {entry["srv"] for entry in state["open"]}
        if len(writers) == 2:
            break
    assert writers == {"gateway-1", "gateway-2"}


def test_the_log_of_a_replay_has_each_of_its_lines_and_nothing_of_what_prepares_and_verifies_it(
    stack: StartStack, tmp_path: Path
) -> None:
    """A line whose user is none is the only one that is missing; the log is valid by both schemas."""
    workload = generated(tmp_path, users=5, commands=200)
    lines = workload.read_text().splitlines()
    odd = ["ADD,{user},-73280.58", "ADD,{user},12.505", "QUOTE,{user},ABCD", "BUY,{user},abc,0", "ADD,no one,1.00"]
    odd += ["DUMPLOG,{user},./own", "DUMPLOG,{user},../own", "DUMPLOG,a/b", "DUMPLOG,./testLOG"]
    user = lines[0].split(",")[1].strip()
    lines += [f"[{number}] {line.format(user=user)}" for number, line in enumerate(odd, 1001)]
    workload.write_text("\n".join(lines))
    running = stack(*QUIET_STACK)
    for _ in range(2):  # on accounts that are there already, too
        replayed(running, workload, tmp_path / "report.json", "--verify", "--quiet")
    (log,) = (running.data / "dumps" / "all").glob("testLOG")
    (first, second) = (
        etree.parse(path).getroot() for path in sorted(log.parent.glob("verify-*"), key=os.path.getmtime)
    )
    for root in (first, second):
        etree.XMLSchema(etree.parse(SCHEMA)).assertValid(root)
        assert list(course_log.problems(root)) == []
    numbers = [int(event.findtext("transactionNum")) for event in first.iter("userCommand")]
    *own, dumplog = numbers
    assert sorted(own) == sorted(number for number in map(_number, lines) if number != 1005)
    assert dumplog not in map(_number, lines)
    assert len(list(second.iter("userCommand"))) == 2 * len(numbers)
    given = {event.findtext("transactionNum"): event for event in first.iter("userCommand")}
    assert given["1001"].findtext("funds") == "-73280.58"
    assert given["1009"].findtext("filename") == "./testLOG"


def _number(line: str) -> int:
    return int(line[1 : line.index("]")])
