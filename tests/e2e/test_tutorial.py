"""The tutorial, followed: every command between its start of the stack and its end, on a stack of the test's own."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from infra.local.stack import PROJECT
from tests.conftest import StartStack

SECONDS = 120.0
TEXT = (PROJECT / "docs" / "tutorial.md").read_text()
ACCOUNT = "curl -K .data/jane.curl $JANE/account"
UNTIL_FIRED = f"until {ACCOUNT} -s | grep -q trigger_fired; do sleep 0.1; done\n"


def commands() -> list[str]:
    """Return the commands, block by block, without those that set up a clone or start another stack."""
    return [
        block for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE) if "make " not in block
    ]


def test_the_tutorial_works_as_it_is_written(
    stack: StartStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is quicker: time-outs are short, triggers are swept every second, and the generated workload is small."""
    for name, value in {"COMMAND_TIMEOUT_MS": "3000", "QUOTE_LIMIT_MS": "2000", "MONGO_TIMEOUT_MS": "1000"}.items():
        monkeypatch.setenv(name, value)
    running = stack("--trigger-seconds", "1", data=tmp_path / ".data")
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    script = "\n".join(commands()).replace("http://127.0.0.1:8000", running.url)
    script = script.replace(ACCOUNT, UNTIL_FIRED + ACCOUNT, 1).replace("--commands 10000", "--commands 500")
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # noqa: T201  # what the tutorial shows, when it is to be brought up to date
    said = iter(done.stdout.splitlines())
    for shown in (
        '"command":"ADD","user":"jane","cash":"10000.00"',
        '"cached":false',
        '"command":"BUY"',
        '"command":"COMMIT_BUY"',
        '"code":"no_pending_buy"',
        '"command":"SET_BUY_TRIGGER"',
        '"kind":"trigger_fired"',
        "HTTP/1.1 503",
        '"code":"store_unavailable"',
        "HTTP/1.1 200",
        "Idempotent-Replayed: true",
        '"location":"users/jane/jane.xml"',
        "the log is sound",
        "409 insufficient_funds │        1",
        "Verified: 2 accounts equal to the cent",
        "Verified: 45 accounts equal to the cent",
    ):
        assert any(shown in line for line in said), f"{shown} is not in, or not in this order:\n{done.stdout}"
    assert (tmp_path / ".data" / "report.html").exists()
