"""The data of a local stack are taken over while it does not run."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from pymongo import MongoClient

from chalicelib.store.documents import STATE
from infra.local.stack import DATABASE, PROJECT
from tests.conftest import StartStack


def run(data: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra.migrate", "--data", str(data)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


def test_a_stack_with_older_data_is_taken_over_and_starts_again(stack: StartStack) -> None:
    """A running one is left alone; and the folder's own database is started for it, and stopped again."""
    first = stack("--quote-source", "fixed:10.00")
    request = urllib.request.Request(  # noqa: S310  # our own server
        f"{first.url}/users/jane/add",
        b'{"amount": "5.00"}',
        {"Authorization": f"Bearer {first.operator_token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert json.loads(answer.read())["cash"] == "5.00"
    refused = run(first.data)
    assert (refused.returncode, "is in use by the stack" in refused.stderr) == (1, True), refused.stderr
    with MongoClient[dict[str, object]](first.mongo_uri) as client:  # as the build before would have left them
        client[DATABASE]["accounts"].update_one({"_id": "jane"}, {"$rename": {STATE: "state"}})
        client[DATABASE]["meta"].drop()
    assert first.stop() == 0
    done = run(first.data)
    assert done.returncode == 0, done.stderr
    assert "1 accounts of version 2; the data have version 3" in done.stdout
    again = stack("--quote-source", "fixed:10.00", data=first.data)
    request.full_url = f"{again.url}/users/jane/add"
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert json.loads(answer.read())["cash"] == "10.00"
