"""A short replay while things break, and the judge: it passes what is right and does not pass what is broken."""

import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from chalicelib.store.user_journal import PART_ENTRIES
from infra.faults import archiving, cli
from infra.faults.breakages import KINDS, fill
from infra.faults.cluster import DISK_MB, small_disk
from infra.faults.impact import Effect, Episode, effect
from infra.faults.judge import Check, JudgedSystem, all_well, judge
from infra.faults.proxy import PacedProxy
from infra.faults.report import Run, lines, verdict, write
from infra.faults.run import _plan, _run_loadgen
from infra.host.ports import HOST, free_port, reserve
from infra.local import process as parts
from infra.local.parts import GROUPED_WRITES, why_not_healthy
from infra.local.process import Part, RunningPart
from infra.local.stack import DUMPS, PROJECT
from infra.tokens import operator_token

SECRET = "a secret of the tests, 32 bytes or more"
RIGHT, BROKEN = "app:app", "tests.faults.unguarded:app"


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("haproxy_program")
def test_a_replay_survives_faults_alone_and_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The short version of `make faults`."""
    size = ["--commands", "1800", "--users", "30", "--symbols", "20", "--rounds", "1"]
    status = cli.main(
        ["--only", "primary-killed,sent-twice,clock-stepped,late-request", *size, "--data", str(tmp_path)]
    )
    report: dict[str, Any] = json.loads((tmp_path / "seed-1" / "report.json").read_text())
    assert status == 0, report
    assert sorted(len(episode["kinds"]) for episode in report["episodes"]) == [1, 1, 1, 1, 3]
    assert {episode["verdict"] for episode in report["episodes"]} == {"survived"}
    assert len(report["checks"]) == 8
    assert report["checks"][-1]["name"].startswith("journals were archived (")
    assert report["sent_twice"] > 0
    stalls = [one["effect"]["longest_seconds"] for one in report["episodes"] if "primary-killed" in one["kinds"]]
    assert 0 < max(stalls) < 15
    page = (tmp_path / "seed-1" / "report.html").read_text()
    assert "primary-killed" in page
    assert "src=" not in page
    assert "href=" not in page
    assert "seed 1: 1,800 commands of 30 users" in capsys.readouterr().out


@contextmanager
def serving(app: str, mongo_uri: str, database: str, redis_url: str, folder: Path) -> Iterator[JudgedSystem]:
    """Run two servers of an app that share nothing but the database, and a port: Linux deals the connections out."""
    port = free_port()
    environment = os.environ | {
        "MONGO_URI": mongo_uri,
        "MONGO_DATABASE": database,
        "REDIS_URL": redis_url,
        "QUOTE_SOURCE": "fixed:10.00",
        "AUTH_SECRET": SECRET,
        "DUMP_PLACE": str(folder),
        "GROUP_COMMIT": GROUPED_WRITES,
    }
    command = [sys.executable, "-m", "infra.servers.gateway", "--port", str(port), "--app", app]
    processes: list[RunningPart] = []

    def why_not_ready() -> str | None:
        sockets = [one for process in processes for one in psutil.Process(process.pid).net_connections()]
        listening = sum(one.status == psutil.CONN_LISTEN for one in sockets)
        return why_not_healthy(port) if listening == len(processes) else "one does not listen yet"

    with reserve(port):
        try:
            for name in ("gateway-1", "gateway-2"):
                part = Part(name, [*command, "--name", name], environment, why_not_ready, folder=PROJECT)
                processes.append(parts.start(part, folder))
                processes[-1].wait_until_ready()
            yield JudgedSystem(f"http://{HOST}:{port}", operator_token(SECRET), mongo_uri, database, folder)
        finally:
            for process in processes:
                process.stop()


@pytest.mark.parametrize(("app", "is_well", "give_up_seconds"), [(RIGHT, True, 60), (BROKEN, False, 15)])
def test_the_judge_passes_the_store_and_catches_one_without_its_guard(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path, app: str, is_well: bool, give_up_seconds: int
) -> None:
    """Every request is sent twice at the same time; without the guard some are carried out twice.

    No user gives so many commands that a part of its journal is closed: without the guard such an account can no more
    be read, and there would be nothing to judge.
    """
    workload, report, answers = tmp_path / "workload.txt", tmp_path / "report.json", tmp_path / "answers.jsonl"
    assert _run_loadgen("generate", "--users=16", "--commands=600", "--symbols=5", "--seed=3", f"--out={workload}") == 0
    with serving(app, mongo_uri, mongo_database, redis_url, tmp_path) as target:
        proxy = PacedProxy(int(target.url.rpartition(":")[2]))
        proxy.twice = True
        with proxy.running():
            status = _run_loadgen(
                *("replay", str(workload), f"--url={proxy.url}", f"--token={target.token}", "--threads=8", "--quiet"),
                *(
                    f"--json={report}",
                    f"--answers={answers}",
                    "--verify",
                    "--timeout=3",
                    f"--give-up={give_up_seconds}",
                ),
            )
        assert proxy.doubled >= 600
        said = json.loads(report.read_text())
        checks = judge(target, workload, answers, said, status, tmp_path, {})
        logless = judge(
            replace(target, url="http://127.0.0.1:1"), workload, answers, said, status, tmp_path, {"nobody": 5}
        )
    assert {check.name for check in logless if check.wrong} >= {
        "the audit log is sound",
        "acknowledged commands are in the log once",
        "late requests were done once",
    }
    wrong = {check.name: check.wrong for check in checks if check.wrong}
    assert all_well(checks) is is_well, wrong
    if not is_well:
        assert "worth is what was added" in wrong
        assert "the load generator's verification" in wrong
        assert "the audit log is sound" in wrong


def test_archives_are_made_meanwhile_and_what_they_hold_is_judged(
    mongo_uri: str, mongo_database: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "_PACE_SECONDS", 0.0)
    with serving(RIGHT, mongo_uri, mongo_database, redis_url, tmp_path / DUMPS) as target:
        facts = {name: getattr(target, name) for name in ("url", "mongo_uri", "mongo_database")}
        stack: Any = SimpleNamespace(data=tmp_path, operator_token=target.token, **facts)
        tried = archiving.Archiving(stack)
        assert "0 entries were archived" in tried.wrong(0)
        with tried.running():
            pass  # it goes on until there is enough
        with MongoClient[Any](mongo_uri) as client:
            cash = cash_of(client[mongo_database]["accounts"].find_one({"_id": archiving.KEYLESS}))
            assert client[mongo_database]["archives"].count_documents({"state": "done"}) >= 1
    assert (tried.entries % PART_ENTRIES, tried.failed) == (0, 0)
    assert tried.entries >= 2 * PART_ENTRIES
    assert tried.wrong(cash) == ""
    assert (
        tried.wrong(cash + 1)
        == f"{archiving.KEYLESS} has {cash + 1} cents, of {cash} that were sent and {cash} acknowledged"
    )
    assert tried.wrong(cash - 1) != ""


def cash_of(account: Any) -> int:
    return int(state_of(account)["cash"])


def test_each_fault_comes_alone_and_those_that_come_together_hit_different_things() -> None:
    kinds = list(KINDS.values())
    for seed in range(50):
        plan = _plan(kinds, 3, random.Random(seed))
        assert sorted(kind.name for (kind,) in plan[: len(kinds)]) == sorted(KINDS)
        assert [len(together) for together in plan[len(kinds) :]] == [3, 3, 3]
        for together in plan:
            assert len({kind.thing for kind in together}) == len(together)
        assert plan == _plan(kinds, 3, random.Random(seed))
    orders = {tuple(kind.name for (kind,) in _plan(kinds, 0, random.Random(seed))) for seed in range(10)}
    assert len(orders) == 10


def answer(sent: int, received: int, tries: int = 1, *, final: bool = True) -> dict[str, Any]:
    return {"sent": sent, "received": received, "tries": tries, "final": final}


def episode(*kinds: str, trouble: str = "") -> Episode:
    return Episode(list(kinds), ["x"], 1_000, 2_000, None if trouble else 3_000, trouble)


def test_an_effect_counts_the_commands_that_met_the_fault() -> None:
    before, slow, lost, after = (
        answer(0, 900),
        answer(950, 4_000, 3),
        answer(1_500, 1_600, final=False),
        answer(3_001, 9_000),
    )
    found = effect(episode("primary-killed"), [before, slow, answer(1_000, 1_200), lost, after])
    assert found == Effect(commands=3, errors=1, retried=1, longest_seconds=3.05, silent_seconds=2.8)


def test_what_the_faults_before_and_after_did_to_a_command_is_not_the_effect_of_this_one() -> None:
    answers = [answer(500, 1_100, 2), answer(950, 1_200), answer(1_500, 1_600), answer(2_900, 9_000, 2)]
    found = effect(episode("primary-killed"), answers, since_ms=900, until_ms=3_100)
    assert found == Effect(commands=4, errors=0, retried=0, longest_seconds=0.25, silent_seconds=0.4)


@pytest.mark.parametrize(
    ("kinds", "trouble", "longest", "errors", "says"),
    [
        (["primary-killed"], "", 14.9, 0, "survived"),
        (["primary-killed"], "", 15.0, 0, "a command took 15.0 s"),
        (["server-paused"], "", 15.0, 0, "survived"),
        (["server-paused"], "", 1.0, 2, "2 commands without an answer"),
        (["redis-killed"], "redis is dead", 1.0, 0, "not whole again: redis is dead"),
    ],
)
def test_the_verdict_on_a_fault(kinds: list[str], trouble: str, longest: float, errors: int, says: str) -> None:
    assert verdict(episode(*kinds, trouble=trouble), Effect(9, errors, 1, longest, 1.0)) == says


def test_a_small_disk_is_mounted_where_that_is_allowed_and_said_to_be_missing_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder) as disk:
        assert folder.is_mount() is (disk is not None)
        if disk is not None:
            assert shutil.disk_usage(disk).total == DISK_MB * 1024 * 1024
            fill(disk / "ballast")
            assert shutil.disk_usage(disk).free == 0
    assert not folder.is_mount()


def test_a_fault_that_was_skipped_is_in_the_report(tmp_path: Path) -> None:
    done = Run(1, 10, 2, 0, 1.0, [], [Check("all is well")], ["disk-full: no small file system"], 0, {})
    write(done, tmp_path)
    assert "skipped: disk-full: no small file system" in lines(done)
    assert "Skipped: disk-full" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["skipped"] == ["disk-full: no small file system"]
    assert done.passed
    assert not replace(done, trouble="the replay ended early").passed
    assert not replace(done, checks=[Check("all is well", "it is not")]).passed


def test_an_unknown_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--only", "earthquake"])
    assert "there is no fault earthquake" in capsys.readouterr().err


def test_every_kind_of_fault_is_in_the_documentation() -> None:
    page = (PROJECT / "docs" / "faults.md").read_text()
    assert [name for name in KINDS if f"`{name}`" not in page] == []
