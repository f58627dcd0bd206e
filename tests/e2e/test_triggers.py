"""Triggers in the whole stack: a replay with the ticker running, proved against the independent model."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pymongo import MongoClient

from chalicelib.store.documents import Document, state_of
from infra.local.background import BackgroundStack
from infra.local.stack import PROJECT
from tests.conftest import StartStack
from tests.integration.shop import settings_for
from tests.integration.sweeping import AUDITOR, audit

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
    """Return each user's cash and the audit log, of one moment: the ticker may still be firing."""
    before: dict[str, int] | None = None
    events: list[tuple[str, dict[str, str]]] = []
    while True:
        with MongoClient[Document](stack.mongo_uri) as client:
            accounts = list(client[stack.mongo_database]["accounts"].find({"_id": {"$ne": AUDITOR}}))
        versions = {account["_id"]: state_of(account)["version"] for account in accounts}
        if versions == before:
            return {account["_id"]: state_of(account)["cash"] for account in accounts}, events
        before, events = versions, audit(settings_for(stack.mongo_uri, stack.mongo_database))


@pytest.mark.parametrize(
    ("source", "commands", "conserved"), [("simulated:7", 3000, False), ("fixed:250.00", 2000, True)]
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
    paced = [*recorded, "--rate", "400", "--allow-missed-rate"]  # else a fast machine is done before the first sweep
    loadgen("replay", *paced, "--verify", "--json", str(report), token=running.operator_token)
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
