"""The benchmark on the real stack, with tiny sizes: that it works, never how fast."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from pymongo import MongoClient

from chalicelib.store.documents import state_of
from infra.bench import page, replays
from infra.bench import record as records
from infra.bench.processes import BenchFailedError
from infra.bench.replays import LOADGEN, Replayed, Setting, bench_stack, replay_on, write_workload
from infra.bench.run import FOLDER
from infra.bench.sizes import QUICK
from infra.local.background import BackgroundStack
from infra.local.stack import PROJECT
from loadgen.workload.generate import generate
from tests.conftest import StartStack

SECONDS = 240.0


def command(out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.bench", "run", "--quick", "--out", str(out), *arguments]


def measured(out: Path, rounds: int, *sections: str) -> dict[str, Any]:
    """Run these sections and return the record."""
    only = [word for section in sections for word in ("--only", section)]
    subprocess.run(
        command(out, "--rounds", str(rounds), *only),
        cwd=PROJECT,
        timeout=SECONDS,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return records.read(out)


def values(record: dict[str, Any]) -> dict[str, list[float]]:
    """Return the values of each figure by section and key."""
    return {
        f"{name} {key}": figure["rounds"]
        for name, section in record["sections"].items()
        for key, figure in section["figures"].items()
    }


def test_rounds_of_replays_give_a_record_with_every_figure_of_every_round(tmp_path: Path) -> None:
    record = measured(tmp_path / "record.json", 2, "replay", "cost", "memory", "quotes", "pages")
    assert record["complete"]
    assert record["settings"]["quick"]
    assert len(record["rounds"]) == 2
    found = values(record)
    assert {"replay rate.5", "cost cpu.gateway", "memory peak.mongod.5", "quotes cold"} <= found.keys()
    assert {len(rounds) for rounds in found.values()} == {2}
    for key, rounds in found.items():
        least = 0.0 if "cpu." in key or "others" in key else 1e-9  # a tick of the CPU clock is longer than some take
        assert all(value >= least for value in rounds), key
    assert all(value > 0 for value in found["cost cpu.gateway"] + found[f"cost cpu.{LOADGEN}"])
    assert "**Verified**" in page.page(record)


def test_the_floor_and_the_growth_are_measured_on_accounts_of_the_true_form(tmp_path: Path) -> None:
    """The floor counts the writes that were applied, and the replays on accounts made in bulk verify."""
    record = measured(tmp_path / "record.json", 1, "floor", "growth", "large")
    assert record["complete"]
    found = values(record)
    assert {
        "floor rate.single",
        "floor rate.grouped",
        "growth past.100.p50",
        "growth accounts.200.sweep",
        "large triggers.5",
        "large orders.20",
    } <= found.keys()
    assert all(value > 0 for key in found if "mongod" not in key and "gateway" not in key for value in found[key])


def test_containers_and_long_replays_are_measured_beside_what_they_are_compared_with(tmp_path: Path) -> None:
    """A container reads what another has written, a container alone does not; and each part of a replay has a rate."""
    record = measured(tmp_path / "record.json", 1, "functions", "sustained")
    assert record["complete"]
    found = {key: rounds[0] for key, rounds in values(record).items()}
    for name in ("wall", "cpu", "wire"):
        for key in ("driver", "driver.1", "driver.2", "driver.2.zlib", "1", "2", "2.zlib"):
            assert found[f"functions {name}.{key}"] > 0, (name, key)
    assert found["functions wire.2.zlib"] < 0.9 * found["functions wire.2"]
    drivers = ("driver", "driver.1", "driver.2", "driver.2.zlib")
    assert {found[f"functions {name}.{key}"] for name in ("reads", "writes") for key in drivers} == {1}
    assert found["functions reads.1"] < 0.2 < found["functions reads.2"]
    assert found["functions writes.1"] == 1
    assert min(found["functions cold.import"], found["functions cold.answer"]) > 0
    with_memory = [
        found[f"functions memory.512.{key}"] for key in ("import", "answer", "billed", "p99", "busy", "wire")
    ]
    assert min(with_memory) > 0
    assert [key for key in found if key.startswith("sustained rate.")] == [
        f"sustained rate.{count}" for count in range(30, 301, 30)
    ]


def test_servers_that_share_users_or_not_are_measured_side_by_side(tmp_path: Path) -> None:
    record = measured(tmp_path / "record.json", 1, "any-server")
    assert record["complete"]
    found = values(record)
    for key in ("workers.1", "workers.2", "balance.request", "forgetful"):
        assert found[f"any-server rate.{key}"][0] > 0
        assert found[f"any-server cpu.{key}"][0] > 0


def test_a_run_that_is_interrupted_leaves_no_process_and_a_record_of_what_was_done(tmp_path: Path) -> None:
    out = tmp_path / "partial.json"
    with subprocess.Popen(
        command(out, "--rounds", "1000", "--only", "quotes", "--only", "dump"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("round 2 of 1000, dump"):
                break
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "interrupted; 1 whole rounds were done" in said
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    assert not (PROJECT / FOLDER / f"run-{process.pid}").exists()
    record = records.read(out)
    assert (record["complete"], record["ended"]) == (False, "interrupted")
    found = values(record)
    assert len(found["quotes warm"]) == 2
    assert len(found["dump events"]) == 1


def test_a_replay_that_does_not_verify_fails_the_benchmark(stack: StartStack, tmp_path: Path) -> None:
    """Its second time the accounts are not empty, though the load generator was told to take them so."""
    running = stack("--quote-source", "fixed:10.00")
    workload = tmp_path / "workload.txt"
    write_workload(workload, generate(3, 40, 3, 1))
    replayed = replay_on(running, tmp_path, workload, more=("--no-baseline",))
    assert replayed.commands == 40
    with pytest.raises(BenchFailedError, match="NOT VERIFIED"):
        replay_on(running, tmp_path, workload, more=("--no-baseline",))
    assert json.loads((tmp_path / "report.json").read_text())["commands"] == 40


def test_a_replay_makes_the_accounts_while_its_clock_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions: dict[str, int] = {}

    def replay_and_look(stack: BackgroundStack, *arguments: Any, **options: Any) -> Replayed:
        found = replay_on(stack, *arguments, **options)
        with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
            versions.update((one["_id"], state_of(one)["version"]) for one in client["day_trading"]["accounts"].find())
        return found

    monkeypatch.setattr(replays, "replay_on", replay_and_look)
    replays.replay(tmp_path, QUICK, Setting(3, 40))
    given = Counter(line.user for line in generate(3, 40, QUICK.symbols, QUICK.seed) if line.user is not None)
    assert {user: versions[user] for user in given} == dict(given), "what prepares and verifies a run leaves nothing"


def test_a_stack_that_somebody_stops_during_a_replay_is_named_as_the_reason(tmp_path: Path) -> None:
    workload = tmp_path / "workload.txt"
    write_workload(workload, generate(3, 40, 3, 1))

    def stop_and_replay() -> None:
        with bench_stack(tmp_path / "stack", "--mongo-cache-gb", "0.25", "--mongo-oplog-mb", "64") as running:
            running.stop()
            replay_on(running, tmp_path, workload)

    with pytest.raises(BenchFailedError, match="The stack had ended by then, with exit status 0"):
        stop_and_replay()


def test_what_traders_notice_of_a_long_log_is_measured(tmp_path: Path) -> None:
    """And nothing is left behind."""
    sizes = ["--users=2", "--commands=40", "--slices=1", "--log=300"]
    ended = subprocess.run(
        [sys.executable, "-m", "infra.bench.beside", *sizes],
        cwd=PROJECT,
        timeout=SECONDS,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    first, second, ratio = ended.stdout.splitlines()
    assert first.startswith("without a DUMPLOG: ")
    assert second.startswith("beside a DUMPLOG of 300 commands: ")
    assert ratio.startswith("p99 beside / without: ")
    assert not list(tmp_path.glob("day-trading-beside-*"))
