"""Triggers in the whole stack: a replay with the ticker running, proved against the independent model."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pymongo import MongoClient

from chalicelib.store.documents import Document
from infra.background import BackgroundStack
from infra.stack import PROJECT
from tests.conftest import StartStack
from tests.integration.sweeping import audit

SECONDS = 240.0


def loadgen(*arguments: str, token: str = "") -> None:
    """Run the load generator, which must end with 0: all sent, nothing refused as an error, nothing different."""
    command = [sys.executable, "-m", "loadgen", *arguments]
    environment = {**os.environ, "LOADGEN_TOKEN": token}
    ended = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def cash_and_audit(stack: BackgroundStack) -> tuple[dict[str, int], list[tuple[str, dict[str, str]]]]:
    """Return each account's cash and the audit log, of one moment: the ticker may still be firing."""
    with MongoClient[Document](stack.mongo_uri) as client:
        database = client[stack.mongo_database]
        versions, events = None, []
        while versions != (versions := {account["_id"]: account["version"] for account in database["accounts"].find()}):
            cash = {account["_id"]: account["cash"] for account in database["accounts"].find()}
            events = audit(database)
        return cash, events


@pytest.mark.parametrize(
    ("source", "commands", "conserved"), [("simulated:7", 4000, False), ("fixed:250.00", 2000, True)]
)
def test_a_replay_with_triggers_firing_verifies_clean_and_conserves(
    stack: StartStack, tmp_path: Path, source: str, commands: int, conserved: bool
) -> None:
    """The verifier learns from the audit log what fired and when; all answers and accounts must then be as computed.

    Total worth has a meaning at one price only; that cash is what the log adds and removes must hold at any.
    """
    running = stack("--trigger-seconds", "1", "--quote-source", source)
    workload, answers, report = tmp_path / "10users.txt", tmp_path / "answers.jsonl", tmp_path / "report.json"
    size = ["--users", "10", "--commands", str(commands), "--symbols", "10"]
    loadgen("generate", *size, "--seed", "4", "--out", str(workload))
    recorded = [str(workload), "--url", running.url, "--answers", str(answers)]
    loadgen("replay", *recorded, "--verify", "--json", str(report), token=running.operator_token)
    loadgen("verify", *recorded, token=running.operator_token)
    verification = json.loads(report.read_text())["verification"]
    assert (verification["passed"], verification["accounts"]) == (True, 10)
    assert verification["conservation"].startswith("conservation: ") is conserved

    cash, events = cash_and_audit(running)
    firings: Counter[tuple[str, str]] = Counter()
    moved: Counter[str] = Counter(dict.fromkeys(cash, 0))
    for kind, fields in events:
        if kind == "systemEvent" and fields["command"].startswith("SET_"):
            firings[fields["username"], fields["transactionNum"]] += 1
        elif kind == "accountTransaction":
            cents = int(fields["funds"].replace(".", ""))
            moved[fields["username"]] += cents if fields["action"] == "add" else -cents
    assert set(firings.values()) == {1}, "some fired, each once"
    assert cash == dict(moved)
