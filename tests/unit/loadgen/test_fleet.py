"""One workload sent by several processes, and by several machines."""

import json
import multiprocessing
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from loadgen.cli import main
from loadgen.results.latencies import Latencies
from loadgen.results.report_files import statistics_of
from loadgen.results.statistics import Statistics
from loadgen.run.processes import _work
from loadgen.workload.streams import Shard, owned, owner
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import finished, numbers_by_user, replayed, report_of, start, start_replay, wait_until
from tests.unit.loadgen.stub import Handler, Request, StubServer

USERS = [f"user{number}" for number in range(40)]
ROUNDS = 6
MANY = "\n".join(f"ADD,{user},1.00" for _ in range(ROUNDS) for user in USERS)


def fail_now_and_then(handler: Handler, request: Request) -> bool:
    trouble = request.command.transaction % 5 == 0 and request.attempt == 1
    if trouble:
        handler.answer(503, {"code": "store_unavailable"}, {"Retry-After": "0"})
    return trouble


def test_processes_send_every_command_once_and_each_user_in_order(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    stub.misbehave = fail_now_and_then
    out = tmp_path / "out.json"
    replayed(stub, write_workload(MANY), "--processes", "3", "--threads", "7", "--json", out)
    for user, numbers in numbers_by_user(stub).items():
        assert numbers == sorted(numbers), user
    assert stub.exchange.executions == len(USERS) * ROUNDS
    assert {account.cash for account in stub.exchange.accounts.values()} == {100 * ROUNDS}
    assert stub.connections == 7
    report = report_of(out)
    assert (report["commands"], report["errors"]) == (len(USERS) * ROUNDS, 0)
    assert report["retries"] == len(USERS) * ROUNDS // 5
    assert report["run"]["processes"] == 3
    assert report["latency_ms"]["count"] == sum(row["commands"] for row in report["intervals"]["rows"]) == 240


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_the_record_of_several_processes_is_one_file_and_verifies(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, name: str
) -> None:
    path, answers = write_workload(MANY), tmp_path / name
    replayed(stub, path, "--processes", "2", "--answers", answers, "--verify")
    arguments = ["verify", str(path), "--answers", str(answers), "--url", stub.url, "--token", "t"]
    assert main(arguments) == 0
    stub.exchange.accounts["user1"].cash += 1
    assert main(arguments) == 1
    assert sorted(left.name for left in tmp_path.iterdir()) == sorted([name, "dumps", "workload"])


def test_a_command_without_a_user_waits_for_and_holds_the_users_of_all_processes(
    stub: StubServer, write_workload: WriteWorkload
) -> None:
    def misbehave(_handler: Handler, request: Request) -> bool:
        time.sleep(0.002 * (request.command.transaction % 9))
        return False

    stub.misbehave = misbehave
    adds = "\n".join(f"ADD,{user},1.00" for user in USERS)
    replayed(stub, write_workload(f"{adds}\nDUMPLOG,./one\nDUMPLOG,./two\n{adds}\nDUMPLOG,./three"), "--processes", "3")
    alone = {41, 42, 83}
    for request in stub.commands():
        number = request.command.transaction
        assert request.answered == number - 1 if number in alone else request.answered >= (42 if number > 42 else 0)
    assert stub.exchange.executions == 83


def test_10000_users_are_served_by_two_processes(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    path = write_workload("\n".join(f"ADD,user{number},1.00" for number in range(10_000)))
    replayed(stub, path, "--processes", "2", "--json", out)
    assert len(stub.exchange.accounts) == stub.exchange.executions == 10_000
    assert stub.connections == 64
    assert report_of(out)["run"]["users_sent"] == 10_000


def family(process: Any) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def start_long(stub: StubServer, path: Path, *options: str | Path) -> Any:
    """Start a run of 2 processes that the stub makes last, and return when it is under way."""

    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(0.01)
        return False

    stub.misbehave = slow
    process = start_replay(stub, path, "--processes", "2", *options)
    wait_until(lambda: len(stub.requests) >= 50, "the run does not begin")
    assert len(family(process)) == 2
    return process


def test_an_interrupt_of_the_whole_group_ends_all_processes_with_one_report(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    process = start_long(stub, write_workload(f"{MANY}\n" * 40), "--json", out)
    children = family(process)
    for one in (process, *children):  # as a terminal does it
        one.send_signal(signal.SIGINT)
    code, shown, errors = finished(process)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert errors.count("Stopping after the commands in flight") == 1
    assert shown.count("(interrupted)") == 1
    report = report_of(out)
    assert report["interrupted"] is True
    assert report["commands"] == stub.exchange.executions < 9600
    assert report["errors"] == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_process_that_is_killed_ends_the_run_and_is_named(stub: StubServer, write_workload: WriteWorkload) -> None:
    process = start_long(stub, write_workload(f"{MANY}\n" * 40))
    children = family(process)
    children[1].kill()
    code, _, errors = finished(process)
    assert code == 1
    assert "of the load generator ended unexpectedly" in errors
    assert "Traceback" not in errors
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_processes_end_when_the_first_one_is_killed(stub: StubServer, write_workload: WriteWorkload) -> None:
    process = start_long(stub, write_workload(f"{MANY}\n" * 40))
    children = family(process)
    process.kill()
    finished(process)
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_token_that_is_refused_stops_all_processes(stub: StubServer, write_workload: WriteWorkload) -> None:
    def refuse(handler: Handler, _request: Request) -> bool:
        handler.answer(401, {"code": "unauthorized", "detail": "the token has expired"})
        return True

    stub.misbehave = refuse
    errors = replayed(stub, write_workload(MANY), "--processes", "2", "--threads", "4", code=1)
    assert "does not accept the token: 401 unauthorized (the token has expired)" in errors
    assert len(stub.commands()) <= 4


def test_a_process_that_is_told_to_stop_after_its_end_stays_until_its_results_are_read() -> None:
    """The first process tells so if the last two reports, one of them with the reason to stop, come together."""

    @contextmanager
    def launch(_number: int, _stopping: threading.Event) -> Iterator[Any]:
        yield SimpleNamespace(statistics=Statistics(), answered=bytearray(1))

    context = multiprocessing.get_context("fork")
    link, theirs = context.Pipe()
    process = context.Process(target=_work, args=(0, theirs, [link], launch, [], lambda _user: 0), daemon=True)
    process.start()
    theirs.close()
    link.send(("end",))
    link.send(("stop",))
    while link.recv()[0] != "result":
        pass
    assert not link.poll(0.5), "it has ended"
    link.close()
    process.join(10)
    assert process.exitcode is not None


def test_nobody_at_the_address_is_said_once_by_several_processes(write_workload: WriteWorkload) -> None:
    path = write_workload(MANY)
    code, _, errors = finished(start("replay", path, "--url", "http://127.0.0.1:9", "--token", "t", "--processes", "2"))
    assert code == 1
    assert errors.count("cannot connect to http://127.0.0.1:9") == 1
    assert "Traceback" not in errors


def test_every_user_belongs_to_one_process_of_one_machine_wherever_that_is_asked() -> None:
    names = [f"user{number}" for number in range(3000)]
    counts: Counter[tuple[int, int]] = Counter()
    for name in names:
        places = [
            (machine, process)
            for machine in range(3)
            for process in range(2)
            if owned(Shard(machine, 3), Shard(process, 2))(name)
        ]
        assert len(places) == 1
        counts[places[0]] += 1
    assert len(counts) == 6
    assert max(counts.values()) < 1.3 * min(counts.values())
    assert owner("user0", Shard(0, 1)) == 4216763843  # the split never changes: machines may differ in version


@pytest.fixture
def shards(run: Run, tmp_path: Path) -> list[Path]:
    """Run three shards one after another and return their reports."""
    reports = [tmp_path / f"shard{number}.json" for number in (1, 2, 3)]
    for number, report in enumerate(reports, 1):
        lines = f"{MANY}\nDUMPLOG,./all"
        assert run(lines, "--shard", f"{number}/3", "--run-id", "r", "--json", str(report), "--verify") == 0
    return reports


def test_shards_send_every_command_once_and_their_reports_add_up(
    shards: list[Path], stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = Counter(request.command.transaction for request in stub.commands())
    assert sent == Counter(range(1, 242))
    out, page, rows = tmp_path / "all.json", tmp_path / "all.html", tmp_path / "all.csv"
    outputs = ["--json", str(out), "--html", str(page), "--csv", str(rows)]
    assert main(["merge", *map(str, reversed(shards)), *outputs]) == 0
    assert "241 commands" in capsys.readouterr().out
    merged, parts = report_of(out), [report_of(path) for path in shards]
    assert (merged["commands"], merged["errors"], merged["run"]["users_sent"]) == (241, 0, 40)
    assert merged["run"]["shard"] == "1/3, 2/3, 3/3"
    assert merged["verification"]["passed"] is True
    assert merged["by_command"]["DUMPLOG"]["commands"] == 1
    assert sum(row["commands"] for row in merged["intervals"]["rows"]) == 241
    assert len(rows.read_text().splitlines()) == 1 + len(merged["intervals"]["rows"])
    assert "<svg" in page.read_text()
    every = Latencies()
    for part in parts:
        every.add(statistics_of(part).every()[0])
    assert merged["latency_ms"] == every.summary_ms()
    assert merged["latency_ms"]["max"] == max(part["latency_ms"]["max"] for part in parts)


def test_the_first_shard_sends_the_commands_without_a_user(run: Run, stub: StubServer) -> None:
    lines = "ADD,user0,1.00\nADD,user1,1.00\nADD,user2,1.00\nDUMPLOG,./all\nADD,user0,1.00"
    for number in (3, 2, 1):
        run(lines, "--shard", f"{number}/3")
        assert any(request.command.user is None for request in stub.commands()) == (number == 1)


def spoil(path: Path, **changes: Any) -> Path:
    report = report_of(path)
    for name, value in changes.items():
        (report["run"] if name in report["run"] else report)[name] = value
    spoiled = path.with_name("spoiled.json")
    spoiled.write_text(json.dumps(report))
    return spoiled


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": "other"}, "these are not parts of one run: id differs (r, other)"),
        ({"workload": "other"}, "workload differs"),
        ({"shard": "1/3"}, "shard 1/3 is given twice"),
        ({"shard": "2/2"}, "shards of different divisions, 1/3, 2/2"),
        ({}, "missing shards: 3/3. Give all reports, or --partial"),
        ({"loadgen": 1}, "is not a report of this version"),
        ({"histograms": {"commands": {"ADD": {"first_try": {"histogram": "HISTnonsense"}}}}}, "is not a whole report"),
        ({"intervals": None}, "is not a whole report"),
    ],
)
def test_reports_that_do_not_belong_together_are_refused(
    shards: list[Path], changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(shards[0]), str(spoil(shards[1], **changes))]) == 2
    assert reason in capsys.readouterr().err


def test_some_of_the_shards_are_added_up_when_that_is_asked_for(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "some.json"
    assert main(["merge", "--partial", str(shards[2]), str(shards[0]), "--json", str(out)]) == 0
    assert report_of(out)["run"]["shard"] == "1/3, 3/3"
    assert main(["merge", str(out), str(shards[1]), "--json", str(tmp_path / "all.json")]) == 0
    assert report_of(tmp_path / "all.json")["commands"] == 241


def test_the_clock_of_several_processes_starts_no_earlier_than_they_send(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path
) -> None:
    """In the closed model too: else more commands a second are reported than the server saw."""
    arrived: list[float] = []

    def note(handler: Handler, request: Request) -> bool:
        arrived.append(time.monotonic())
        handler.carry_out(request)
        arrived.append(time.monotonic())
        return True

    stub.misbehave = note
    out = tmp_path / "out.json"
    replayed(stub, write_workload("ADD,user0,1.00\nADD,user1,1.00"), "--processes", "2", "--json", out)
    rounded = 0.0005
    assert report_of(out)["seconds"] + rounded >= max(arrived) - min(arrived)


def test_files_that_are_no_reports_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000):
        path = tmp_path / "report.json"
        path.write_bytes(content)
        assert main(["report", str(path)]) == 2
        assert str(path) in capsys.readouterr().err
    assert main(["report", str(tmp_path / "missing")]) == 2
