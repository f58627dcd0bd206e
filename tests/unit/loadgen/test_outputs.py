"""The files that a run writes: checked before anything is sent, and lost only with a word about it."""

import csv
import json
from pathlib import Path

import pytest

from loadgen.cli import main
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.runs import replayed, report_of
from tests.unit.loadgen.stub import Handler, Request, StubServer

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the platform has no /dev/full")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--json", "workload"], "--json {0}/workload would overwrite the input {0}/workload"),
        (["--answers", "workload"], "--answers {0}/workload would overwrite"),
        (["--html", "link"], "--html {0}/link would overwrite the input {0}/workload"),
        (["--json", "out", "--csv", "out"], "--json and --csv are the same file"),
        (["--json", "out", "--answers", "../{1}/out"], "--json and --answers are the same file"),
        (["--json", "."], "is a folder, not a file"),
        (["--json", "no/out"], "there is no folder {0}/no"),
        (["--answers", "-"], "--answers cannot be standard output (-)"),
        (["--json", "-", "--csv", "-"], "--json and --csv are the same file"),
    ],
)
def test_an_output_that_would_cost_something_is_refused_before_anything_is_sent(
    run: Run,
    stub: StubServer,
    write_workload: WriteWorkload,
    tmp_path: Path,
    options: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = "ADD,a,1.00"
    before = write_workload(lines).read_text()
    (tmp_path / "link").symlink_to(tmp_path / "workload")
    places = [one if one.startswith("-") else str(tmp_path / one.format("", tmp_path.name)) for one in options]
    assert run(lines, *places) == 2
    assert reason.format(tmp_path) in capsys.readouterr().err
    assert stub.connections == 0
    assert (tmp_path / "workload").read_text() == before


def test_a_folder_in_which_nothing_may_be_written_is_found_out_before_anything_is_sent(
    run: Run, stub: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ADD,a,1.00", "--json", "/proc/report.json") == 2
    assert "/proc/report.json cannot be written: " in capsys.readouterr().err
    assert stub.connections == 0


def test_what_stood_there_before_stays_until_the_new_report_is_whole(
    run: Run, stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    out.write_text("before")
    seen: list[str] = []

    def look(_handler: Handler, _request: Request) -> bool:
        seen.append(out.read_text())
        return False

    stub.misbehave = look
    assert run("ADD,a,1.00", "--json", str(out)) == 0
    assert seen == ["before"]
    assert report_of(out)["commands"] == 1
    assert main(["report", str(out), "--json", str(out)]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dumps", "out.json", "workload"]


def test_a_dash_is_standard_output_and_nothing_else_is_written_there(
    stub: StubServer, write_workload: WriteWorkload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_workload("ADD,a,1.00")
    assert main(["replay", str(path), "--url", stub.url, "--token", "t", "--json", "-"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["commands"] == 1
    assert "Outcomes" in said.err
    assert not Path("-").exists()


def test_a_pipe_without_a_name_is_refused_for_the_dash(stub: StubServer, write_workload: WriteWorkload) -> None:
    said = replayed(stub, write_workload("ADD,a,1.00"), "--json", "/dev/stdout", code=2)
    assert "a pipe without a name, and a complete output is renamed to its name; use - for standard output" in said


@needs_full
def test_a_full_disk_loses_neither_the_report_nor_the_other_outputs(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    assert run("ADD,a,1.00", "--json", str(FULL), "--csv", str(rows)) == 1
    said = capsys.readouterr()
    assert "cannot write /dev/full: No space left on device" in said.err
    assert json.loads(said.out)["commands"] == 1
    assert len(rows.read_text().splitlines()) == 2


@needs_full
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_disk_that_fills_up_with_answers_ends_the_run_with_a_report(
    run: Run, stub: StubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: str
) -> None:
    out = tmp_path / "out.json"
    lines = "\n".join(f"ADD,{'a' * 60}{number % 3},1.00" for number in range(6000))
    options = ["--answers", str(FULL), "--json", str(out), "--verify", "--processes", processes]
    assert run(lines, *options, "--no-baseline") == 1
    assert "the answers cannot be written to /dev/full: No space left on device" in capsys.readouterr().err
    report = report_of(out)
    assert "No space left on device" in report["stopped"]
    assert report["commands"] > 0


def test_figures_by_command_are_rows(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "commands.csv"
    assert run("ADD,a,1.00\nADD,a,-1.00\nQUOTE,a,S", "--csv-by-command", str(out)) == 0
    with out.open(newline="") as file:
        rows = {row["command"]: row for row in csv.DictReader(file)}
    assert {name: (row["commands"], row["errors"]) for name, row in rows.items()} == {
        "ADD": ("2", "0"), "QUOTE": ("1", "0"), "all": ("3", "0"),
    }  # fmt: skip
    assert float(rows["ADD"]["p50_ms"]) <= float(rows["ADD"]["p99.99_ms"]) <= float(rows["ADD"]["max_ms"])


def test_a_report_says_which_system_was_tested_and_what_its_user_notes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    labels = ("--label", "build=123", "--label", "where= here")
    assert run("ADD,a,1.00", "--json", str(out), *labels, "--title", "Night") == 0
    found = report_of(out)["run"]
    assert (found["system_version"], found["title"]) == ("7.1", "Night")
    assert found["labels"] == {"build": "123", "where": "here"}
    assert run("ADD,a,1.00", "--json", str(out), "--system-version", "8") == 0
    assert report_of(out)["run"]["system_version"] == "8"
