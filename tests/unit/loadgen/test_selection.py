"""Which commands are sent, with what, and how a run that was interrupted goes on."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from infra.local.stack import PROJECT
from loadgen.cli import main
from loadgen.client.encoding import HeaderError, RequestWriter, parse_header, parse_url
from loadgen.run.session import KEPT_KEYS, resume
from loadgen.workload.files import Command
from loadgen.workload.streams import Shard, owned
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import finished, report_of, start, start_replay, wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer, running, silent_after_the_commands

CERTIFICATE = Path(__file__).with_name("tls.pem")
LINES = """
    ADD,a,1.00
    ADD,b,1.00
    ADD,c,1.00
    ADD,a,2.00
    DUMPLOG,./all
    ADD,b,2.00
    ADD,a,3.00
"""


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7]),
        (("--users", "a"), [1, 4, 7]),
        (("--users", "b,c"), [2, 3, 6]),
        (("--limit", "3"), [1, 2, 3]),
        (("--limit", "99"), [1, 2, 3, 4, 5, 6, 7]),
        (("--from-transaction", "4"), [4, 5, 6, 7]),
        (("--from-transaction", "4", "--limit", "2"), [4, 5]),
        (("--users", "a", "--from-transaction", "4", "--limit", "1"), [4]),
    ],
)
def test_only_the_chosen_commands_are_sent_and_they_verify(
    run: Run, stub: StubServer, options: tuple[str, ...], sent: list[int]
) -> None:
    assert run(LINES, *options, "--verify") == 0
    assert sorted(request.command.transaction for request in stub.commands()) == sent


def test_a_record_remembers_what_was_chosen(
    run: Run, stub: StubServer, tmp_path: Path, write_workload: WriteWorkload
) -> None:
    answers = tmp_path / "answers"
    assert run(LINES, "--users", "a,b", "--limit", "4", "--answers", str(answers)) == 0
    path = write_workload(LINES)
    arguments = ["verify", str(path), "--answers", str(answers), "--url", stub.url, "--token", "t"]
    assert main(arguments) == 0
    stub.exchange.accounts["b"].cash += 1
    assert main(arguments) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--users", "a,nobody"), "has no commands of nobody"),
        (("--from-transaction", "8"), "there is no command [8] in"),
        (("--users", "b", "--from-transaction", "4"), "there is no command [4] among the commands of these users"),
        (("--users", "a", "--shard", "1/1000"), "no commands are left to send"),
    ],
)
def test_a_choice_that_does_not_fit_the_file_is_refused_and_nothing_is_sent(
    run: Run, stub: StubServer, options: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(LINES, *options) == 2
    assert reason in capsys.readouterr().err
    assert stub.connections == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--shard", "0/3"), ("--shard", "4/3"), ("--shard", "1"), ("--shard", "a/b"), ("--limit", "0"),
        ("--users", ","), ("--processes", "0"), ("--rate", "0"), ("--rate", "nan"), ("--rate", "inf"),
        ("--header", "no colon"), ("--header", "a b: c"), ("--header", "Content-Length: 1"),
        ("--header", "X: \r\nY: z"), ("--fail-on", "p99"), ("--ca", "x", "--insecure"),
    ],
)  # fmt: skip
def test_arguments_that_mean_nothing_are_refused(run: Run, stub: StubServer, options: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as raised:
        run(LINES, *options)
    assert raised.value.code == 2
    assert stub.connections == 0


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(
    stub: StubServer, write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload(LINES + "ADD,d,1.00\n" * 20)
    options = ["--dry-run", "--processes", "2", "--rate", "9", "--from-transaction", "2"]
    assert main(["replay", str(path), "--url", f"{stub.url}/prod", *options]) == 0
    said = capsys.readouterr().out
    assert f"26 commands of 4 users would be sent to {stub.url}/prod; nothing was sent." in said
    for text in ("ADD 25, DUMPLOG 1", "1 of them without a user", "9 commands/s: 2.9 s", "by 2 processes"):
        assert text in said
    assert "[2] POST /prod/users/b/add" in said
    assert "[5] POST /prod/dumplog" in said
    assert "and 16 more" in said
    assert stub.connections == 0


def test_a_dry_run_of_a_shard_says_how_its_users_are_parted(
    stub: StubServer, write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [f"user{number}" for number in range(12)]
    path = write_workload("\n".join(f"ADD,{user},1.00" for user in users))
    shares = []
    for shard in (0, 1):
        options = ["--dry-run", "--processes", "2", "--shard", f"{shard + 1}/2"]
        assert main(["replay", str(path), "--url", stub.url, *options]) == 0
        found = re.search(r"by 2 processes: (\d+), (\d+) users", capsys.readouterr().out)
        assert found is not None
        wanted = [sum(map(owned(Shard(shard, 2), Shard(process, 2)), users)) for process in (0, 1)]
        assert [int(share) for share in found.groups()] == wanted
        shares += wanted
    assert sum(shares) == 12
    assert min(shares) > 0


def test_a_run_that_was_interrupted_goes_on_where_it_stopped_and_applies_nothing_twice(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.005)
        return False

    stub.misbehave = slow
    path, out = write_workload("\n".join(f"ADD,user{number % 20},1.00" for number in range(1200))), tmp_path / "out"
    process = start_replay(stub, path, "--json", out)
    wait_until(lambda: len(stub.requests) >= 200, "the run does not begin")
    process.send_signal(signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130
    done = stub.exchange.executions
    assert 200 <= done < 1200
    said = re.search(r"to resume: (--run-id \S+ --from-transaction \d+)(?:; at most (\d+) of a user's)?", errors)
    assert said is not None
    report = report_of(out)
    assert report["resume"]["safe"] is True
    stub.misbehave = None
    process = start_replay(stub, path, *said[1].split(), "--json", out)
    assert finished(process)[0] == 0
    assert stub.exchange.executions == 1200
    assert {account.cash for account in stub.exchange.accounts.values()} == {6000}
    assert report_of(out)["resume"] is None
    assert report_of(out)["replayed"] <= 20 * int(said[2] or 0)


def test_it_is_said_when_going_on_would_repeat_more_than_a_server_remembers() -> None:
    commands = [
        Command(number, "ADD", "late" if number == 1 else "early", None, "1") for number in range(1, KEPT_KEYS + 16)
    ]
    settled = bytearray([0] + [1] * (KEPT_KEYS + 14))
    assert resume(commands, settled, Shard(0, 1), "r") == {
        "run_id": "r", "from_transaction": 1, "repeats": KEPT_KEYS + 14, "safe": False,
    }  # fmt: skip
    settled[0] = 1
    assert resume(commands, settled, Shard(0, 1), "r") is None
    settled[KEPT_KEYS + 14] = 0
    assert resume(commands, settled, Shard(0, 1), "r") == {
        "run_id": "r", "from_transaction": KEPT_KEYS + 15, "repeats": 0, "safe": True,
    }  # fmt: skip


def lines_sent(headers: list[tuple[str, str]]) -> list[str]:
    return (
        RequestWriter(parse_url("http://h:1"), "t", headers)
        .post("/users/u/add", "{}")
        .decode()
        .split("\r\n\r\n")[0]
        .split("\r\n")[1:]
    )


def test_headers_are_added_to_every_request_and_replace_those_of_the_same_name() -> None:
    plain = lines_sent([])
    assert "Authorization: Bearer t" in plain
    assert [line for line in lines_sent([parse_header("X-Api-Key:k: 1 ")]) if line not in plain] == ["X-Api-Key: k: 1"]
    replaced = lines_sent([("authorization", "Basic x"), ("Host", "other"), ("content-type", "application/x")])
    assert {"authorization: Basic x", "Host: other", "Content-Type: application/x"} <= set(replaced)
    assert len(replaced) == len(plain)
    assert "Authorization: Bearer t" not in replaced


@pytest.mark.parametrize(
    "text", ["", ":", ": x", "a", "a b: c", "X: é", "X: a\nb", "Idempotency-Key: 1", "connection: close"]
)
def test_what_cannot_be_a_header_of_the_users_is_refused(text: str) -> None:
    with pytest.raises(HeaderError):
        parse_header(text)


def test_a_header_may_be_all_the_authorization_there_is(
    stub: StubServer, write_workload: WriteWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOADGEN_TOKEN", raising=False)
    path = write_workload("ADD,a,1.00")
    arguments = ["replay", str(path), "--url", stub.url, "--quiet", "--header", "Authorization: Key 7"]
    assert main([*arguments, "--header", "X-More: 1"]) == 0
    assert stub.requests[0].token == "Key 7"


def test_tls_is_verified_against_a_file_or_not_at_all(
    tmp_path: Path, write_workload: WriteWorkload, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload("ADD,a,1.00")
    with running(tmp_path, CERTIFICATE) as server:
        arguments = ["replay", str(path), "--url", server.url, "--token", "t", "--quiet"]
        assert main(arguments) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
        assert main([*arguments, "--ca", str(CERTIFICATE), "--verify"]) == 0
        server.links = True
        out = tmp_path / "out.json"
        assert main([*arguments, "--ca", str(CERTIFICATE), "--verify", "--json", str(out)]) == 0
        assert report_of(out)["verification"]["logged"] == 1
        assert main([*arguments, "--insecure"]) == 0
        assert main([*arguments, "--ca", str(path)]) == 2
        assert main([*arguments, "--ca", str(tmp_path / "missing")]) == 2
    assert main(["replay", str(path), "--url", "http://127.0.0.1:9", "--token", "t", "--insecure"]) == 2


def test_the_first_try_of_a_command_is_its_last_with_no_retries(run: Run, stub: StubServer) -> None:
    def refuse(handler: Handler, _request: Request) -> bool:
        handler.answer(503, {"code": "store_unavailable"})
        return True

    stub.misbehave = refuse
    assert run("ADD,a,1.00\nADD,b,1.00", "--retries", "0") == 1
    assert Counter(request.command.transaction for request in stub.commands()) == {1: 1, 2: 1}


def test_ctrl_c_during_a_verification_exits_130_and_the_replays_report_is_kept(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    path, out, answers = write_workload("ADD,a,1.00"), tmp_path / "out.json", tmp_path / "answers"
    stub.misbehave = silent_after_the_commands
    process = start_replay(stub, path, "--verify", "--json", out, "--answers", answers)
    wait_until(lambda: len(stub.requests) == 3, "the verification does not begin")
    process.send_signal(signal.SIGINT)
    code, shown, errors = finished(process)
    assert code == 130, errors
    assert "the verification was interrupted" in errors
    assert "1 commands" in shown
    assert report_of(out)["commands"] == 1
    process = start("verify", path, "--answers", answers, "--url", stub.url, "--token", "t")
    wait_until(lambda: len(stub.requests) == 4, "the verification does not begin")
    process.send_signal(signal.SIGINT)
    code, _, errors = finished(process)
    assert code == 130, errors
    assert "Traceback" not in errors


def test_a_workload_takes_little_memory_a_line(tmp_path: Path) -> None:
    """1,200,000 lines must fit in 1.5 GB: `loadgen.selftest.bench parse` measures that; a tenth takes a tenth."""
    command = [sys.executable, "-m", "loadgen.selftest.bench", "parse", "--lines", "60000"]
    said = subprocess.run(command, cwd=PROJECT, env=os.environ, check=True, capture_output=True, text=True).stdout
    found = re.search(r"60,000 lines \(2 MB\): [0-9.]+ s \(([0-9.]+) s of CPU\), ([0-9.]+) MB", said)
    assert found is not None, said
    assert float(found[2]) < 75
    assert float(found[1]) < 5
