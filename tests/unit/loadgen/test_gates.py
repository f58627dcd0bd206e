"""What a run is worth: gates, comparison, and exit codes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.results.compare import compare, too_low
from loadgen.results.lateness import Delay
from loadgen.results.statistics import Statistics
from loadgen.results.thresholds import GateError, judge, parse_gate
from tests.unit.loadgen.conftest import Run, WriteWorkload
from tests.unit.loadgen.outcomes import outcome
from tests.unit.loadgen.runs import report_of, undisturbed
from tests.unit.loadgen.stub import Handler, Request, StubServer


def report(*, is_open: bool = False) -> dict[str, Any]:
    """Return a report of 100 BUYs that took 1 to 100 ms, one a retry, of which 2 more got no answer, and one ADD."""
    statistics = Statistics(is_open=is_open)
    statistics.start(time.perf_counter_ns() - 10**9)
    for number in range(1, 101):
        tries = 2 if number == 100 else 1
        delay = Delay(server_us=500_000) if is_open else None
        statistics.record("BUY", outcome(latency_us=number * 1000, tries=tries), delay)
    for _ in range(2):
        statistics.record("BUY", outcome(final=False, status=503, code="store_unavailable"))
    statistics.record("ADD", outcome(latency_us=7000), Delay() if is_open else None)
    figures = statistics.figures()
    figures.update(seconds=2.0, rate=50.5, run={"model": "open" if is_open else "closed", "started_at_ms": 1})
    found: dict[str, Any] = json.loads(json.dumps(figures))  # as it is when it was written and read
    return found


@pytest.mark.parametrize(
    ("text", "failed", "said"),
    [
        ("errors>0", True, "errors is 2"),
        ("errors>2", False, "errors is 2"),
        ("errors >= 2", True, "errors is 2"),
        ("error_rate>1%", True, "error_rate is 1.942 %"),
        ("error_rate>0.02", False, "error_rate is 1.942 %"),
        ("retries==1", True, "retries is 1"),
        ("retry_rate>1%", False, "retry_rate is 0.9709 %"),
        ("commands!=103", False, "commands is 103"),
        ("rate<500", True, "rate is 50.5"),
        ("rate<50/s", False, "rate is 50.5"),
        ("seconds>1.5s", True, "seconds is 2"),
        ("replayed>0", False, "replayed is 0"),
        ("p50>51ms", False, "p50 is 50.015 ms"),
        ("p50>=50ms", True, "p50 is 50.015 ms"),
        ("p50>0.049s", True, "p50 is 50.015 ms"),
        ("p50>49000us", True, "p50 is 50.015 ms"),
        ("p99>98ms", True, "p99 is 99.007 ms"),
        ("p99.9<=100ms", True, "p99.9 is 100 ms"),
        ("max>100ms", False, "max is 100 ms"),
        ("mean>51ms", False, "mean is 50.069 ms"),
        ("first_try.max>99ms", False, "first_try.max is 99 ms"),
        ("BUY.p50>50ms", True, "BUY.p50 is 50.015 ms"),
        ("ADD.max>7ms", False, "ADD.max is 7 ms"),
        ("ADD.first_try.p99>6ms", True, "ADD.first_try.p99 is 7 ms"),
        ("SELL.p99>1s", True, "the run has no such figure"),
        ("timeout>0", True, "timeout is 1"),
        ("timeout>1", False, "timeout is 1"),
        ("http_503>0", True, "http_503 is 2"),
        ("http_500>0", False, "http_500 is 0"),
        ("store_unavailable>1%", True, "store_unavailable is 1.94174"),
        ("BUY.store_unavailable>2", False, "BUY.store_unavailable is 2"),
        ("ADD.http_503>0", False, "ADD.http_503 is 0"),
        ("insufficient_funds>0", False, "insufficient_funds is 0"),
        ("connect.max>1s", True, "the run has no such figure"),
        ("late.max>1s", True, "the run has no such figure"),
        ("corrected.p99>1s", True, "the run has no such figure"),
    ],
)
def test_a_gate_says_whether_it_failed_and_what_was_found(text: str, *, failed: bool, said: str) -> None:
    (result,) = judge(report(), [parse_gate(text)])
    assert result["failed"] is failed
    assert said in result["said"]
    assert result["said"].startswith(f"{text}: ")


def test_in_an_open_run_the_latency_that_counts_is_the_corrected_one() -> None:
    gates = [parse_gate(text) for text in ("p50>400ms", "corrected.p50>400ms", "uncorrected.p50>400ms", "ADD.p50>10ms")]
    assert [result["failed"] for result in judge(report(is_open=True), gates)] == [True, True, False, False]


@pytest.mark.parametrize(
    "text",
    [
        "", "p99", "p99>", "p99>5", "p99>5m", "p101>5ms", "p0.0.1>5ms", "errors>1ms", "errors>-1", "rate<5%",
        "NOPE.p99>5ms",
        "insuficient_funds>0", "http_600>0", "timeout>1ms", "BUY.late.p99>1ms", "late.timeout>0",
        "BUY.errors>0", "first_try.rate<5", "speed<5", "p99=5ms", "p99>5ms and more",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(GateError):
        parse_gate(text)


def fail_second(handler: Handler, request: Request) -> bool:
    if request.command.transaction == 2:
        handler.answer(500, {"code": "broken"})
    return request.command.transaction == 2


@pytest.mark.parametrize(
    ("trouble", "gates", "code"),
    [
        (False, ["errors>0", "p99>60s"], 0),
        (False, ["commands<4"], 3),
        (True, [], 1),
        (True, ["errors>0"], 3),
        (True, ["errors>1"], 0),
        (True, ["p99>60s"], 1),
        (True, ["p99>0.001ms"], 3),
    ],
)
def test_the_exit_code_of_a_run_with_gates(
    run: Run,
    stub: StubServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    trouble: bool,
    gates: list[str],
    code: int,
) -> None:
    stub.misbehave = fail_second if trouble else None
    out = tmp_path / "out.json"
    options = [option for gate in gates for option in ("--fail-on", gate)]
    assert run("ADD,a,1.00\nADD,a,1.00\nADD,a,1.00", "--json", str(out), *options) == code
    said = capsys.readouterr().err
    assert ("gate failed: " in said) == (code == 3)
    assert [gate["gate"] for gate in report_of(out).get("gates", [])] == gates
    assert main(["report", str(out), *options]) == code
    if gates:
        assert main(["report", str(out), "--fail-on", *gates]) == code


def test_a_difference_found_by_the_verification_counts_more_than_a_gate(run: Run, stub: StubServer) -> None:
    def steal(request: Request, status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if request.command.transaction == 1:
            stub.exchange.accounts["a"].cash -= 1
        return status, body

    stub.tamper = steal
    assert run("ADD,a,1.00\nADD,a,1.00", "--verify", "--fail-on", "commands>0") == 1


Save = Callable[[str, float], Path]


@pytest.fixture
def save(stub: StubServer, write_workload: WriteWorkload, tmp_path: Path) -> Save:
    """Return a function that runs a small workload at a server with some delay and saves the report."""

    def run_once(name: str, delay_s: float) -> Path:
        def slow(_handler: Handler, _request: Request) -> bool:
            time.sleep(delay_s)
            return False

        stub.misbehave = slow
        out = tmp_path / name
        path = write_workload("ADD,a,1.00\n" * 40)
        assert main(["replay", str(path), "--url", stub.url, "--token", "t", "--quiet", "--json", str(out)]) == 0
        return out

    return run_once


def test_lateness_is_judged_like_a_latency() -> None:
    (late,) = judge(report(is_open=True), [parse_gate("late.p99>400ms")])
    assert late["failed"] is True
    assert late["said"].startswith("late.p99>400ms: late.p99 is 50")


def test_identical_short_runs_compare_as_no_worse(save: Save) -> None:
    """Whatever their noise, of one run a side and of several."""

    def measure() -> None:
        runs = [str(save(f"{number}.json", 0.001)) for number in range(8)]
        for one, other in zip(runs[::2], runs[1::2], strict=True):
            assert main(["compare", one, other, "--fail-below", "0.9"]) == 0
        assert main(["compare", *runs[:4], "--with", *runs[4:], "--fail-below", "0.9"]) == 0

    undisturbed(measure)  # a machine that turns slower between the runs makes them differ


def test_several_runs_a_side_show_a_difference_that_one_run_cannot(save: Save) -> None:
    fast = [str(save(f"fast{number}.json", 0.010)) for number in range(3)]
    slow = [str(save(f"slow{number}.json", 0.030)) for number in range(3)]
    assert main(["compare", *fast, "--with", *slow, "--fail-below", "0.9"]) == 3
    assert main(["compare", *slow, "--with", *fast, "--fail-below", "0.9"]) == 0


def test_a_comparison_of_other_than_two_sides_is_refused(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(save("a.json", 0.0))
    assert main(["compare", path]) == 2
    assert main(["compare", path, path, path]) == 2
    assert "give two reports, or several for each side" in capsys.readouterr().err


def test_two_reports_are_compared_with_ratios_and_a_gate(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    fast, slow = save("fast.json", 0.002), save("slow.json", 0.03)
    assert main(["compare", str(slow), str(fast), "--fail-below", "0.9"]) == 0
    assert main(["compare", str(fast), str(slow)]) == 0
    capsys.readouterr()
    assert main(["compare", str(fast), str(slow), "--fail-below", "0.9"]) == 3
    said = capsys.readouterr()
    assert [line.split(":")[2].strip() for line in said.err.splitlines()] == ["rate", "p50"]
    assert "is below 0.9" in said.err
    for text in ("fast.json", "slow.json", "ADD p99", "ratio"):
        assert text in said.out
    assert main(["compare", str(fast), str(slow), "--fail-below", "0.9", "--metrics", "mean"]) == 3
    assert main(["compare", str(fast), str(fast), "--fail-below", "1.0"]) == 0


def test_a_ratio_is_above_1_where_the_second_run_is_better(save: Save) -> None:
    first, second = report_of(save("a.json", 0.02)), report_of(save("b.json", 0.005))
    metrics = {metric.name: metric for metric in compare([first], [second])}
    for name in ("rate", "p50", "mean"):
        metric = metrics[name]
        assert metric.ratio is not None
        assert metric.low is not None
        assert metric.high is not None
        assert 1 < metric.low < metric.ratio < metric.high
        assert metric.high / metric.low > 1.2  # one run a side says little
    assert metrics["rate"].ratio == pytest.approx(second["rate"] / first["rate"])
    assert metrics["errors"].ratio is None
    assert [said.partition(":")[0] for said in too_low(compare([second], [first]), ["rate", "p50"], 0.9)] == [
        "rate", "p50",
    ]  # fmt: skip


def test_it_is_said_what_two_runs_do_not_share(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    path = save("a.json", 0.0)
    other = report_of(path)
    other["run"]["threads"] = 99
    changed = path.with_name("b.json")
    changed.write_text(json.dumps(other))
    assert main(["compare", str(path), str(changed)]) == 0
    assert "The runs differ: threads 1 and 99." in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--metrics", "speed"], ["--metrics", ","], ["--fail-below", "0"]])
def test_a_comparison_of_nothing_is_refused(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["compare", str(tmp_path), str(tmp_path), *options])
    assert raised.value.code == 2
