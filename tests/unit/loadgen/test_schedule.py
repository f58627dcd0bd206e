"""When commands are due, how long a run lasts, and what is said when a schedule cannot be held."""

import time
from pathlib import Path
from typing import Any

import pytest

from loadgen.results.lateness import CAUSES, Delay, Lateness
from loadgen.run.schedule import ConstantRate, ScheduleError, parse_duration, parse_ramp
from loadgen.workload.files import Command
from tests.unit.loadgen.conftest import Run
from tests.unit.loadgen.runs import report_of, undisturbed
from tests.unit.loadgen.stub import Handler, Request, StubServer

ITEM = Command(1, "ADD", "a", None, "1")


def lines_of(users: int, count: int) -> str:
    return "\n".join(f"ADD,user{number % users},1.00" for number in range(count))


def slow_by(seconds: float) -> Any:
    def slow(_handler: Handler, _request: Request) -> bool:
        time.sleep(seconds)
        return False

    return slow


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("0.5s", 0.5), ("250ms", 0.25), ("2m", 120), ("1h", 3600)])
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "5x", "1e3", "nan", "200h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_duration(text)


def test_a_ramp_rises_evenly_and_then_stays() -> None:
    """From 0 to 100/s within 10 s are 500 commands, half of them in the last 3 s; then 100 each second."""
    ramp = parse_ramp("0:100/10s,100/5s")
    due_s = [ramp.due_ns(position, ITEM) / 1e9 for position in range(1001)]
    assert due_s == sorted(due_s)
    assert [sum(second <= moment < second + 1 for moment in due_s) for second in range(10)] == pytest.approx(
        [5, 15, 25, 35, 45, 55, 65, 75, 85, 95], abs=1
    )
    assert due_s[500] == pytest.approx(10.0)
    assert due_s[600] == pytest.approx(11.0)
    assert due_s[999] < 15.0 <= due_s[1000]
    assert (ramp.seconds, str(ramp.words())) == (15.0, "0:100/10s,100/5s commands/s")


def test_a_ramp_may_fall_and_rest() -> None:
    ramp = parse_ramp("100:0/10s,0/5s,10/1s")
    due_s = [ramp.due_ns(position, ITEM) / 1e9 for position in range(510)]
    assert due_s == sorted(due_s)
    assert sum(moment <= 10 for moment in due_s) == pytest.approx(500, abs=1)
    assert not [moment for moment in due_s if 10.01 < moment < 15]


@pytest.mark.parametrize("text", ["", "5", "5/", "0/10s", "a:b/1s", "1:2:3/4s", "1..2/3s", "9999999/1s", "0:1/1s"])
def test_what_is_no_ramp_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_ramp(text)


def test_a_constant_rate_has_its_commands_at_even_distances() -> None:
    schedule = ConstantRate(3000)
    assert [schedule.due_ns(position, ITEM) for position in (0, 1, 3000)] == [0, 333_333, 10**9]
    assert schedule.end_s([ITEM] * 6000) == 2.0


@pytest.mark.parametrize(("in_time", "held"), [(1000, True), (990, True), (989, False), (0, False)])
def test_a_rate_is_held_when_at_most_one_in_a_hundred_is_missed(in_time: int, *, held: bool) -> None:
    lateness = Lateness()
    lateness.planned, lateness.planned_s = 1000, 10.0
    for number in range(1000):
        lateness.record(Delay(order_us=5), in_time=number < in_time)
    assert lateness.held is held
    assert lateness.figures()["sent_rate"] == in_time / 10
    assert Lateness.read(lateness.dump()).figures() == lateness.figures()


def shares(report: dict[str, Any]) -> dict[str, float]:
    """Return the part that each cause has of all lateness."""
    parts: dict[str, float] = report["schedule"]["late_s_by_cause"]
    assert parts.keys() == CAUSES.keys()
    return {cause: part / sum(parts.values()) for cause, part in parts.items()}


@pytest.mark.parametrize(
    ("lines", "options", "seconds", "cause"),
    [
        (lines_of(1, 40), (), 0.02, "order"),
        (lines_of(60, 60), ("--threads", "1"), 0.02, "threads"),
        ("ADD,a,1.00\nDUMPLOG,./log\n" + lines_of(30, 30), (), 0.3, "server"),
    ],
    ids=["order", "threads", "server"],
)
def test_a_rate_that_was_not_held_is_exit_3_and_its_cause_is_named(
    run: Run,
    stub: StubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: str,
    options: tuple[str, ...],
    seconds: float,
    cause: str,
) -> None:
    def measure() -> None:
        stub.misbehave = slow_by(seconds)
        out = tmp_path / "out.json"
        assert run(lines, "--rate", "200", "--json", str(out), *options) == 3
        said = capsys.readouterr().err
        assert "the rate was not held: " in said
        assert f"% {cause}: " in said
        report = report_of(out)
        assert report["errors"] == 0
        assert report["schedule"]["held"] is False
        assert report["schedule"]["asked_rate"] == 200
        assert report["schedule"]["sent_rate"] < 190
        assert shares(report)[cause] > 0.6
        assert run(lines, "--rate", "200", "--allow-missed-rate", *options) == 0

    undisturbed(measure)


def test_the_load_generators_own_processor_is_named_when_that_is_what_is_short(run: Run, tmp_path: Path) -> None:
    """The server runs in this process too, and so takes of the one processor that Python can use."""

    def measure() -> None:
        out = tmp_path / "out.json"
        assert run(lines_of(50, 3000), "--rate", "30000", "--threads", "8", "--json", str(out)) == 3
        report = report_of(out)
        assert shares(report)["generator"] > 0.1  # on a busy machine the others take their share too

    undisturbed(measure)


def test_a_rate_that_is_held_is_said_with_how_late_commands_left(run: Run, tmp_path: Path) -> None:
    def measure() -> None:
        out = tmp_path / "out.json"
        assert run(lines_of(10, 100), "--rate", "200", "--json", str(out)) == 0
        schedule = report_of(out)["schedule"]
        assert (schedule["held"], schedule["missed"], schedule["sent_rate"]) == (True, 0, 200)
        assert 0 < schedule["late_ms"]["p50"] < 20
        assert schedule["late_ms"]["count"] == 100

    undisturbed(measure)


def test_a_stall_shows_where_it_was_and_not_where_it_ended(run: Run, stub: StubServer, tmp_path: Path) -> None:
    def measure() -> None:
        stalled: list[float] = []

        def stall(_handler: Handler, request: Request) -> bool:
            if request.command.transaction == 110:
                stalled.append(time.monotonic())
            if stalled:
                time.sleep(max(0.0, stalled[0] + 1.9 - time.monotonic()))
            return False

        stub.misbehave = stall
        out = tmp_path / "out.json"
        assert run(lines_of(40, 450), "--rate", "100", "--json", str(out)) == 0
        rows = report_of(out)["intervals"]["rows"]
        assert [row["due"] for row in rows[:4]] == [100, 100, 100, 100]
        assert rows[1]["max"] > 1800
        assert rows[1]["max"] > rows[2]["max"] > rows[3]["max"]
        assert rows[3]["p50"] < 200
        assert rows[2]["commands"] == 0 or rows[2]["commands"] < rows[3]["commands"]

    undisturbed(measure)


@pytest.mark.parametrize("options", [(), ("--rate", "50"), ("--rate", "50", "--processes", "2")])
def test_a_run_ends_when_its_time_is_over_and_what_was_sent_verifies(
    run: Run, stub: StubServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    stub.misbehave = slow_by(0.02)
    out = tmp_path / "out.json"
    began = time.monotonic()
    assert run(f"{lines_of(6, 3000)}\nDUMPLOG,./log", "--duration", "1s", "--json", str(out), "--verify", *options) == 0
    assert time.monotonic() - began < 30
    report = report_of(out)
    assert 20 < report["commands"] < 1000
    assert 0.5 < report["seconds"] < 3
    assert report["verification"]["answers"] == report["commands"]
    assert report["run"]["duration_s"] == 1.0


def test_a_workload_is_repeated_with_numbers_of_its_own_and_verifies(
    run: Run, stub: StubServer, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    assert run("ADD,a,1.00\nBUY,a,S,5.00\nDUMPLOG,./log", "--repeat", "3", "--verify", "--json", str(out)) == 0
    assert [request.command.transaction for request in stub.commands()] == list(range(1, 10))
    assert len({request.key for request in stub.commands()}) == 9
    assert report_of(out)["run"]["repeat"] == 3
    assert stub.exchange.accounts["a"].cash == 300


def test_a_repeated_run_goes_on_at_a_command_of_a_later_round(run: Run, stub: StubServer) -> None:
    assert run("ADD,a,1.00\nADD,a,1.00", "--repeat", "3", "--from-transaction", "4") == 0
    assert [request.command.transaction for request in stub.commands()] == [4, 5, 6]


@pytest.mark.parametrize("options", [(), ("--processes", "2"), ("--rate", "100")])
def test_what_is_sent_while_warming_up_is_in_no_figure(
    run: Run, stub: StubServer, tmp_path: Path, options: tuple[str, ...]
) -> None:
    began: list[float] = []

    def slow_at_first(_handler: Handler, _request: Request) -> bool:
        began.append(time.monotonic())
        time.sleep(0.1 if time.monotonic() < began[0] + 0.5 else 0.01)
        return False

    stub.misbehave = slow_at_first
    out = tmp_path / "out.json"
    assert run(lines_of(4, 200), "--warm-up", "700ms", "--json", str(out), "--allow-missed-rate", *options) == 0
    report = report_of(out)
    assert report["commands"] + report["warm_up_commands"] == 200
    assert report["warm_up_commands"] >= 8
    assert (
        report["latency_ms"]["count"]
        == report["commands"]
        == sum(row["commands"] for row in report["intervals"]["rows"])
    )
    assert report["latency_ms"]["p50"] < 90
    assert report["seconds"] < 10


def test_an_error_while_warming_up_is_still_an_error(run: Run, stub: StubServer) -> None:
    def fail_first(handler: Handler, request: Request) -> bool:
        if request.command.transaction == 1:
            handler.answer(500, {"code": "broken"})
        return request.command.transaction == 1

    stub.misbehave = fail_first
    assert run("ADD,a,1.00", "--warm-up", "5s") == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--speed", "2"), "--speed is for --pace recorded"),
        (("--pace", "recorded"), "the lines of this workload have no times"),
        (("--duration", "1s", "--warm-up", "2s"), "a warm-up of 2 s leaves nothing of a run of 1 s"),
        (("--ramp", "1:2/3s", "--warm-up", "3s"), "a warm-up of 3 s leaves nothing of a run of 3 s"),
    ],
)
def test_times_that_do_not_fit_together_are_refused(
    run: Run, stub: StubServer, options: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("ADD,a,1.00", *options) == 2
    assert reason in capsys.readouterr().err
    assert stub.connections == 0


def test_a_run_on_a_ramp_ends_with_the_ramp(run: Run, stub: StubServer, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert run(lines_of(20, 2000), "--ramp", "0:100/1s,100/500ms", "--json", str(out), "--allow-missed-rate") == 0
    assert 80 <= report_of(out)["commands"] <= 102
    assert report_of(out)["schedule"]["planned"] == pytest.approx(100, abs=2)
